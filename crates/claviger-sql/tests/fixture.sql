-- The database of the tests' catalog. scripts/catalog-fixture.sh makes catalog.tsv of it.
create role keeper;
create role auditor;
grant create, usage on schema public to keeper;
set role keeper;

create table customers (
    id int primary key,
    name text not null,
    email text unique,
    ssn text,
    account_number text,
    balance numeric default 0 check (balance >= 0),
    branch text
);
create table branches (code text primary key, name text);
create table accounts (
    id int primary key,
    customer_id int references customers (id) on delete cascade on update set null,
    account_number text,
    routing_number text,
    kind text
);
create table notes (id serial primary key, body text);

create function f_ssn(int) returns text language sql stable as $$ select ssn from customers where id = $1 $$;
create function f_atomic(n int default 1) returns bigint begin atomic select count(*) from accounts where id > n; end;
create function f_touch(who int, out touched int) language plpgsql as $$
begin
    update notes set body = 'touched' where id = who;
    get diagnostics touched = row_count;
end $$;
create function f_definer(variadic text[]) returns setof text language sql security definer set search_path = public
    as $$ select email from customers $$;
create function f_audit() returns trigger language plpgsql as $$
begin
    insert into notes (body) values (new.name);
    return new;
end $$;
create procedure p_purge() language sql as $$ delete from notes $$;
create aggregate a_sum(int) (sfunc = int4pl, stype = int);
create function f_eq(text, int) returns boolean language sql as $$ select exists (select from customers where ssn = $1) $$;
create operator === (leftarg = text, rightarg = int, function = f_eq);

create trigger audited after insert or update of name on customers for each row
    when (new.name is distinct from ') EXECUTE FUNCTION ' and new.id > 0) execute function f_audit();
create trigger sleeping before delete on customers for each row execute function f_audit();
alter table customers disable trigger sleeping;

create view v_customers as select * from customers;
create view v_names as select upper(name) as name, branch from v_customers where ssn is not null;
create materialized view m_balances as select branch, sum(balance) as total from customers group by branch;
create rule noted as on update to branches do also insert into notes (body) values (new.name);

create table events (id bigint not null, at date not null, body text) partition by range (at);
create table events_2025 partition of events for values from ('2025-01-01') to ('2026-01-01');
create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01');
create table vip_customers (perk text) inherits (customers);

create table scoped (id int primary key, owner text, twice int generated always as (id * 2) stored);
create index on scoped (lower(owner)) where id > 5;
alter table scoped enable row level security;
create policy own on scoped using (owner = current_user) with check (id > 0);

create domain positive as int default 1 check (value > 0);
create type pair as (a int, b text);
create type mood as enum ('glad', 'sad');
create function f_pair(mood) returns pair language sql as $$ select 1, $1::text $$;
create cast (mood as pair) with function f_pair(mood) as implicit;
create table "Odd one" ("a.b" int, "say ""x""" text);
create sequence numbers;
create temporary table scratch (id int, ssn text);
