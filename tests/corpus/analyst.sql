-- What an analyst, or an AI agent acting for one, asks of the demo's bank.
--
-- Each query has a name, and after a colon what of its answer is not as it would be without a gateway: `masks` names columns none of whose
-- values comes through, `finds` those in which something may be found that nobody has labelled. All else comes through byte for byte, but where
-- rows are sorted alike (`ties`) and their order would tell of masked values: there are as many of them.

-- # Finding out what there is, as agents and their libraries begin

-- tables-of-schema
select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE' order by table_name;
-- columns-of-customers
SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'customers' ORDER BY ordinal_position;
-- columns-of-all
select table_name, string_agg(column_name || ' ' || data_type, ', ' order by ordinal_position) as columns from information_schema.columns where table_schema = 'public' group by table_name order by table_name;
-- primary-keys
SELECT tc.table_name, kcu.column_name FROM information_schema.table_constraints tc JOIN information_schema.key_column_usage kcu ON tc.constraint_name = kcu.constraint_name AND tc.table_schema = kcu.table_schema WHERE tc.constraint_type = 'PRIMARY KEY' AND tc.table_schema = 'public' ORDER BY 1, 2;
-- foreign-keys
SELECT conrelid::regclass AS child, confrelid::regclass AS parent, pg_get_constraintdef(oid) AS definition FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace ORDER BY 1, 3;
-- indexes
select tablename, indexname, indexdef from pg_indexes where schemaname = 'public' order by tablename, indexname;
-- checks
select conname, pg_get_constraintdef(oid) from pg_constraint where contype = 'c' and conrelid = 'accounts'::regclass;
-- estimated-sizes
select relname, reltuples::bigint as estimate from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by reltuples desc, relname;
-- table-size
select pg_size_pretty(pg_total_relation_size('transactions')) as size;
-- comments
select c.relname, obj_description(c.oid, 'pg_class') as comment from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and c.relkind = 'r' order by 1;
-- attributes
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'public.accounts'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;
-- version
select version();
-- who-and-where
select current_database(), current_schema(), current_user;
-- show-settings
show timezone;
-- search-path
select current_setting('search_path') as path, current_setting('server_encoding') as encoding;
-- what-may-i-read
select table_name, has_table_privilege(quote_ident(table_name), 'select') as readable from information_schema.tables where table_schema = 'public' order by 1;

-- # A first look at the rows

-- peek-customers: masks email, phone, ssn, date_of_birth
SELECT * FROM customers LIMIT 10;
-- peek-accounts: masks account_number; finds routing_number
SELECT * FROM accounts LIMIT 5;
-- peek-transactions: masks card_number; finds memo
SELECT * FROM transactions LIMIT 3;
-- peek-branches
SELECT * FROM branches LIMIT 10;
-- peek-quoted: masks email, phone, ssn, date_of_birth
SELECT * FROM "public"."customers" LIMIT 100;
-- peek-newest: finds memo; masks card_number
select * from transactions order by at desc limit 10;
-- peek-offset: masks account_number; finds routing_number
select * from accounts order by id offset 200 limit 20;
-- peek-fetch-first: masks email
select id, name, email from customers order by created_at fetch first 7 rows only;
-- peek-table-keyword
table branches;
-- peek-aliased: masks email, phone, ssn, date_of_birth
select c.* from customers as c where c.branch = 'SEA' limit 15;
-- peek-random-ish: finds memo; masks card_number
select * from transactions where id % 9973 = 0 order by id;
-- peek-some-columns
select id, account_id, at, amount, currency, merchant from transactions order by id limit 25;
-- peek-two-tables: masks account_number
select c.name, a.account_number, a.kind, a.balance from customers c, accounts a where a.customer_id = c.id order by a.id limit 10;
-- distinct-kinds
select distinct kind from accounts;
-- distinct-currencies
select distinct currency from transactions order by currency;
-- distinct-merchants
select distinct merchant from transactions order by 1;
-- distinct-states
select distinct state from branches order by state desc;
-- ranges
select min(at) as first, max(at) as last, count(*) as n from transactions;
-- nulls-per-column
select count(*) as rows, count(memo) as with_memo, count(*) - count(memo) as without_memo from transactions;
-- sample
select id, merchant, amount from transactions tablesample bernoulli (1) repeatable (7) order by id limit 20;

-- # Looking up

-- customer-by-id: masks email, phone, ssn, date_of_birth
select * from customers where id = 42;
-- customer-by-name: masks email, phone
select id, name, email, phone, branch from customers where name = 'Alice Garcia' order by id;
-- customers-by-part-of-name
select id, name, branch from customers where name ilike '%nakamura%' order by name, id limit 20;
-- customers-by-initial
select count(*) from customers where name like 'Z%';
-- customers-by-regex
select id, name from customers where name ~ '^(Leo|Mei) ' order by id limit 10;
-- customers-by-lower-name: masks email
select id, name, email from customers where lower(name) = 'emma lopez' order by id;
-- customers-by-ids: masks phone
select id, name, phone from customers where id in (1, 5, 17, 3999) order by id;
-- customers-by-any
select id, name from customers where id = any(array[10, 20, 30]) order by id;
-- customers-between: masks date_of_birth
select id, name, date_of_birth from customers where id between 100 and 110 order by id;
-- accounts-of-customer: masks account_number
select id, account_number, kind, balance, opened_at from accounts where customer_id = 7 order by id;
-- account-by-id: masks account_number; finds routing_number
select * from accounts where id = 1234;
-- accounts-by-customer-name: masks account_number
select a.id, a.account_number, a.balance from accounts a join customers c on c.id = a.customer_id where c.name = 'Alice Garcia' order by a.id;
-- accounts-by-subquery: masks account_number
select account_number, balance from accounts where customer_id in (select id from customers where name like 'Noah %') order by balance desc, id limit 10;
-- transactions-of-account: masks card_number; finds memo
select * from transactions where account_id = 321 order by at desc limit 20;
-- transaction-by-id: masks card_number; finds memo
select * from transactions where id = 99999;
-- transactions-of-customer
select t.at, t.merchant, t.amount from transactions t join accounts a on a.id = t.account_id where a.customer_id = 250 order by t.at desc, t.id limit 15;
-- transactions-by-merchant
select id, at, amount from transactions where merchant = 'Northwind Air' and amount < -200 order by amount, id limit 10;
-- transactions-by-merchant-pattern
select merchant, count(*) from transactions where merchant ilike '%coffee%' or merchant ilike '%books%' group by merchant order by merchant;
-- transactions-in-currencies
select currency, count(*) n from transactions where currency in ('CAD', 'EUR') group by currency order by n desc;
-- branch-by-code
select * from branches where code = 'NYC';
-- branches-of-state
select code, name from branches where state = 'CA' order by code;
-- large-withdrawals: masks account_number
select t.id, t.amount, a.account_number from transactions t join accounts a on a.id = t.account_id where t.amount < -290 order by t.amount, t.id limit 5;
-- gifts: finds memo
select id, amount, memo from transactions where memo = 'gift' order by id limit 10;
-- memos-with-words: finds memo
select id, memo from transactions where memo like '%declined%' order by id limit 10;
-- no-memo
select count(*) from transactions where memo is null and amount > 0;
-- balance-range
select id, kind, balance from accounts where balance between 1000 and 1010 order by balance, id;
-- missing-customer
select * from customers where id = 100000;
-- last-customer: masks email
select id, name, email, created_at from customers order by id desc limit 1;
-- home-of-customer
select c.name, b.name as branch, b.state from customers c join branches b on b.code = c.branch where c.id = 77;
-- full-profile: masks email, phone, account_number
select c.id, c.name, c.email, c.phone, b.name as branch_name, a.account_number, a.kind, a.balance
from customers c
left join branches b on b.code = c.branch
left join accounts a on a.customer_id = c.id
where c.id = 1001
order by a.id;

-- # Counting and adding up

-- count-customers
select count(*) from customers;
-- count-all-tables
select (select count(*) from branches) as branches, (select count(*) from customers) as customers, (select count(*) from accounts) as accounts, (select count(*) from transactions) as transactions;
-- customers-per-branch
select branch, count(*) as customers from customers group by branch order by customers desc, branch;
-- customers-per-state
select b.state, count(*) from customers c join branches b on b.code = c.branch group by b.state order by 2 desc, 1;
-- balance-per-kind
select kind, count(*) as n, sum(balance) as total, round(avg(balance), 2) as average, min(balance), max(balance) from accounts group by kind order by kind;
-- deposits-per-branch
select c.branch, sum(a.balance) as deposits from accounts a join customers c on c.id = a.customer_id where a.kind <> 'credit' group by c.branch order by deposits desc limit 10;
-- total-deposits
select sum(balance) from accounts where kind in ('checking', 'savings');
-- spend-per-merchant
select merchant, count(*) as n, -sum(amount) as spent from transactions where amount < 0 group by merchant order by spent desc;
-- average-ticket
select merchant, round(avg(-amount), 2) as ticket from transactions where amount < 0 group by merchant having count(*) > 1000 order by ticket desc;
-- income-and-spending
select sum(case when amount > 0 then amount else 0 end) as income, sum(case when amount < 0 then -amount else 0 end) as spending from transactions;
-- income-with-filter
select count(*) filter (where amount > 0) as deposits, count(*) filter (where amount < 0) as payments, sum(amount) filter (where merchant = 'Payroll deposit') as payroll from transactions;
-- per-currency
select currency, count(*), sum(amount), avg(amount)::numeric(10, 2) from transactions group by currency order by currency;
-- currency-and-merchant
select currency, merchant, count(*) from transactions group by currency, merchant having count(*) < 300 order by 3, 1, 2;
-- accounts-per-customer
select n, count(*) as customers from (select customer_id, count(*) as n from accounts group by customer_id) per_customer group by n order by n;
-- customers-with-many-accounts
select c.id, c.name, count(a.id) as accounts from customers c join accounts a on a.customer_id = c.id group by c.id, c.name having count(a.id) >= 4 order by accounts desc, c.id limit 20;
-- customers-without-second-account
select count(*) from (select customer_id from accounts group by customer_id having count(*) = 1) single;
-- average-balance-per-state-and-kind
select b.state, a.kind, round(avg(a.balance)) as average from accounts a join customers c on c.id = a.customer_id join branches b on b.code = c.branch group by b.state, a.kind order by b.state, a.kind;
-- deviation
select kind, stddev_pop(balance)::numeric(14, 4), variance(balance)::numeric(18, 2) from accounts group by kind order by kind;
-- correlation
select corr(balance::float8, extract(epoch from opened_at)::float8)::numeric(8, 5) as correlation from accounts;
-- distinct-customers-active
select count(distinct a.customer_id) as active from transactions t join accounts a on a.id = t.account_id where t.at >= '2025-01-01';
-- distinct-merchants-per-account
select account_id, count(distinct merchant) as merchants from transactions group by account_id order by merchants desc, account_id limit 10;
-- share-of-kind
select kind, round(100.0 * count(*) / sum(count(*)) over (), 1) as percent from accounts group by kind order by percent desc;
-- share-of-branch
select branch, round(count(*) * 100.0 / (select count(*) from customers), 2) as share from customers group by branch order by share desc, branch limit 5;
-- modes
select kind, mode() within group (order by round(balance, -3)) as usual from accounts group by kind order by kind;
-- any-overdrawn
select bool_or(balance < 0) as any_negative, bool_and(balance >= 0) as all_positive from accounts;
-- rollup-state-branch
select b.state, c.branch, count(*) from customers c join branches b on b.code = c.branch where b.state in ('CA', 'TX') group by rollup (b.state, c.branch) order by 1 nulls last, 2 nulls last;
-- cube-kind-year
select kind, extract(year from opened_at)::int as year, count(*) from accounts where opened_at >= '2020-01-01' group by cube (kind, extract(year from opened_at)::int) order by 1, 2;
-- grouping-sets
select kind, case when grouping(kind) = 1 then 'all' else 'one' end as level, count(*), sum(balance) from accounts group by grouping sets ((kind), ()) order by grouping(kind), kind;
-- having-average
select branch, count(*) from customers group by branch having count(*) > (select avg(n) from (select count(*) as n from customers group by branch) x) order by 2 desc, 1;
-- net-per-account
select account_id, sum(amount) as net from transactions group by account_id having sum(amount) < -1000 order by net, account_id limit 10;
-- greatest-single
select max(amount) as biggest_deposit, min(amount) as biggest_payment from transactions;
-- weekday-average
select round(avg(n), 1) as per_day from (select at::date, count(*) as n from transactions group by 1) daily;
-- merchants-per-currency
select currency, count(distinct merchant) from transactions group by 1 order by 1;
-- credit-utilization
select round(avg(balance), 2) as mean, percentile_cont(0.5) within group (order by balance) as median from accounts where kind = 'credit';
-- quartiles
select kind, percentile_cont(array[0.25, 0.5, 0.75]) within group (order by balance) as quartiles from accounts group by kind order by kind;
-- percentile-disc
select percentile_disc(0.99) within group (order by -amount) as p99 from transactions where amount < 0;
-- approximate-histogram
select width_bucket(balance, 0, 25000, 10) as bucket, count(*) from accounts group by bucket order by bucket;
-- accounts-total-and-customers
select count(*) as accounts, count(distinct customer_id) as customers, count(*)::float8 / count(distinct customer_id) as ratio from accounts;
-- pairs-of-kinds
select a.kind as one, b.kind as other, count(*) from accounts a join accounts b on a.customer_id = b.customer_id and a.id < b.id group by 1, 2 order by 3 desc, 1, 2;
-- branches-above
select c.branch, avg(a.balance)::int as average from customers c join accounts a on a.customer_id = c.id group by c.branch having avg(a.balance) > 12800 order by average desc;

-- # Dates

-- per-month
select date_trunc('month', at) as month, count(*), sum(amount) from transactions group by 1 order by 1;
-- per-month-text
select to_char(at, 'YYYY-MM') as month, round(sum(amount), 2) as net from transactions where at >= '2025-01-01' group by month order by month;
-- per-weekday
select extract(dow from at)::int as weekday, to_char(min(at), 'FMDay') as name, count(*) from transactions group by 1 order by 1;
-- per-hour
select extract(hour from at at time zone 'America/New_York') as hour, count(*) as n from transactions group by hour order by n desc, hour limit 5;
-- per-quarter
select extract(year from at) as year, extract(quarter from at) as quarter, sum(-amount) filter (where amount < 0) as spent from transactions group by 1, 2 order by 1, 2;
-- january: finds memo
select id, at, amount, memo from transactions where at >= '2024-01-01' and at < '2024-02-01' order by at limit 50;
-- one-day
select count(*), sum(amount) from transactions where at::date = date '2024-06-15';
-- between-dates
select merchant, count(*) from transactions where at between timestamp '2024-03-01' and timestamp '2024-03-31 23:59:59' group by merchant order by 2 desc, 1 limit 3;
-- last-week-of-data
select date(at) as day, count(*) from transactions where at > (select max(at) from transactions) - interval '7 days' group by day order by day;
-- relative-to-now
select count(*) from transactions where at >= now() - interval '10 years';
-- since-current-date
select count(*) from accounts where opened_at < current_date - 30;
-- opened-per-year
select extract(year from opened_at) as y, kind, count(*) from accounts group by y, kind order by y, kind;
-- signups-per-year
select date_part('year', created_at) as year, count(*) as signups from customers group by 1 order by 1;
-- signups-per-branch-2020
select branch, count(*) from customers where created_at >= '2020-01-01'::timestamptz and created_at < '2021-01-01'::timestamptz group by branch order by count(*) desc, branch limit 5;
-- calendar-months
select m::date as month, count(t.id) as n from generate_series(timestamptz '2025-01-01', timestamptz '2025-12-01', interval '1 month') m left join transactions t on date_trunc('month', t.at) = m group by m order by m;
-- calendar-days
with days as (select generate_series(date '2024-02-25', date '2024-03-05', interval '1 day')::date as day)
select d.day, coalesce(sum(t.amount), 0) as net, count(t.id) as n
from days d left join transactions t on t.at >= d.day and t.at < d.day + 1 and t.merchant = 'Wire transfer'
group by d.day order by d.day;
-- tenure
select c.id, c.name, age(timestamptz '2026-01-01', c.created_at) as tenure from customers c order by c.created_at limit 5;
-- tenure-years
select width_bucket(extract(year from age(timestamptz '2026-01-01', created_at)), 0, 15, 5) as bucket, count(*) from customers group by 1 order by 1;
-- account-delay
select avg(a.opened_at - c.created_at) as delay from accounts a join customers c on c.id = a.customer_id where a.id <= 4000;
-- weekend-spend
select case when extract(isodow from at) in (6, 7) then 'weekend' else 'weekday' end as part, round(avg(-amount), 2) as ticket from transactions where amount < 0 group by 1 order by 1;
-- month-names
select to_char(date_trunc('month', at), 'Mon YYYY') as month, count(distinct account_id) as accounts from transactions group by date_trunc('month', at) order by date_trunc('month', at) desc limit 6;
-- busiest-days
select at::date as day, count(*) as n, sum(amount) as net from transactions group by day order by n desc, day limit 5;
-- first-and-last-of-account
select account_id, min(at), max(at), max(at) - min(at) as span from transactions where account_id < 10 group by account_id order by account_id;
-- inactive-accounts
select a.id, a.kind, max(t.at) as last from accounts a left join transactions t on t.account_id = a.id group by a.id, a.kind having max(t.at) < '2025-06-01' or max(t.at) is null order by last nulls first, a.id limit 10;
-- year-over-year
select merchant, sum(-amount) filter (where at < '2025-01-01') as y2024, sum(-amount) filter (where at >= '2025-01-01') as y2025 from transactions where amount < 0 group by merchant order by merchant;
-- iso-week
select to_char(at, 'IYYY-"W"IW') as week, count(*) from transactions where at >= '2024-12-20' and at < '2025-01-15' group by 1 order by 1;
-- epoch
select floor(extract(epoch from at) / 604800)::bigint as week, count(*) from transactions group by week order by week limit 4;
-- date-bin
select date_bin('15 days', at, timestamptz '2024-01-01') as bin, count(*) from transactions group by bin order by bin limit 6;
-- end-of-month
select (date_trunc('month', opened_at) + interval '1 month - 1 day')::date as month_end, count(*) from accounts where opened_at >= '2022-06-01' group by 1 order by 1;
-- make-date
select count(*) from customers where created_at >= make_date(2019, 7, 1) and created_at < make_date(2019, 8, 1);
-- overlaps
select count(*) from accounts where (opened_at, opened_at + interval '30 days') overlaps (timestamptz '2015-01-01', timestamptz '2015-02-01');
-- night-transactions: masks card_number
select id, at, merchant, card_number from transactions where extract(hour from at) between 2 and 3 and merchant = 'Metro Fuel' order by at limit 5;
-- days-between-transactions
select account_id, round(avg(gap)) as days from (select account_id, extract(day from at - lag(at) over (partition by account_id order by at)) as gap from transactions where account_id <= 50) g where gap is not null group by account_id order by days desc, account_id limit 5;
-- ytd
select sum(amount) as ytd from transactions where at >= date_trunc('year', timestamptz '2025-08-20') and at < '2025-08-20';

-- # Joining

-- accounts-and-customers: masks account_number
SELECT a.id, a.account_number, c.name FROM accounts a INNER JOIN customers c ON a.customer_id = c.id WHERE a.balance > 24900 ORDER BY a.balance DESC LIMIT 10;
-- four-tables
select b.state, t.currency, count(*) from transactions t join accounts a on a.id = t.account_id join customers c on c.id = a.customer_id join branches b on b.code = c.branch group by b.state, t.currency order by 3 desc, 1, 2 limit 10;
-- left-join-null
select b.code, b.name from branches b left join customers c on c.branch = b.code where c.id is null;
-- using
select count(*) from (select id as customer_id, name from customers) c join accounts using (customer_id);
-- self-join-same-name
select one.id, other.id, one.name from customers one join customers other on other.name = one.name and other.id > one.id where one.branch = other.branch order by one.id limit 10;
-- cross-join
select b.code, k.kind, count(a.id) from branches b cross join (values ('checking'), ('savings'), ('credit')) k(kind) left join customers c on c.branch = b.code left join accounts a on a.customer_id = c.id and a.kind = k.kind where b.state = 'TX' group by 1, 2 order by 1, 2;
-- full-join
select coalesce(x.merchant, y.merchant) as merchant, x.n as first_day, y.n as second_day from (select merchant, count(*) n from transactions where at::date = '2024-05-01' group by 1) x full join (select merchant, count(*) n from transactions where at::date = '2024-05-02' group by 1) y on x.merchant = y.merchant order by 1;
-- join-on-account-number: masks account_number
with top as (select account_number, balance from accounts order by balance desc limit 20)
select top.account_number, count(t.id) as n from top join accounts a on a.account_number = top.account_number left join transactions t on t.account_id = a.id group by top.account_number, top.balance order by top.balance desc;
-- same-account-number-twice
select count(*) from accounts x join accounts y on x.account_number = y.account_number where x.id <> y.id;
-- account-number-in: masks account_number
select id, account_number, kind from accounts where account_number in (select account_number from accounts where balance > 24990) order by id;
-- account-number-exists
select count(*) from accounts a where exists (select 1 from accounts o where o.account_number = a.account_number and o.kind = 'savings');
-- shared-cards
select t.account_id, count(distinct u.account_id) as others from transactions t join transactions u on u.card_number = t.card_number and u.account_id <> t.account_id where t.account_id < 20 group by t.account_id order by 1;
-- card-to-account: masks card_number
select distinct on (a.id) a.id, a.kind, t.card_number from accounts a join transactions t on t.account_id = a.id where t.card_number is not null and a.id <= 10 order by a.id, t.id;
-- customers-sharing-phone
select count(*) from customers c join customers d on c.phone = d.phone and c.id < d.id;
-- same-routing
select routing_number is not null as known, count(*) from accounts group by 1;
-- per-customer-totals: masks email
select c.id, c.name, c.email, sum(a.balance) as total from customers c join accounts a on a.customer_id = c.id group by c.id order by total desc, c.id limit 10;
-- per-customer-totals-grouped-by-masked: masks email
select c.id, c.name, c.email, count(*) as accounts from customers c join accounts a on a.customer_id = c.id group by c.id, c.name, c.email order by accounts desc, c.id limit 10;
-- volume-per-account-number: masks account_number
select a.account_number, sum(t.amount) as volume, count(*) as n from accounts a join transactions t on t.account_id = a.id where t.at >= '2025-10-01' group by a.account_number order by volume desc, n limit 10;
-- volume-per-account-and-number: masks account_number
select a.id, a.account_number, sum(abs(t.amount)) as volume from accounts a join transactions t on t.account_id = a.id group by a.id, a.account_number order by volume desc, a.id limit 5;
-- statement-of-account: masks account_number, card_number; finds memo
select a.account_number, t.at, t.merchant, t.amount, t.currency, t.card_number, t.memo
from accounts a
join transactions t on t.account_id = a.id
where a.id = 55 and t.at >= '2024-01-01' and t.at < '2025-01-01'
order by t.at;
-- branch-league
select b.name, b.state, count(distinct c.id) as customers, count(a.id) as accounts, coalesce(sum(a.balance), 0) as deposits from branches b left join customers c on c.branch = b.code left join accounts a on a.customer_id = c.id group by b.code, b.name, b.state order by deposits desc;
-- wires-by-branch
select c.branch, count(*) as wires, sum(t.amount) as total from transactions t join accounts a on a.id = t.account_id join customers c on c.id = a.customer_id where t.merchant = 'Wire transfer' group by c.branch order by total desc limit 8;
-- payroll-customers: masks phone
select distinct c.id, c.name, c.phone from customers c join accounts a on a.customer_id = c.id join transactions t on t.account_id = a.id where t.merchant = 'Payroll deposit' and t.amount > 6100 order by c.id limit 10;
-- joined-subquery
select c.branch, max(per.n) from customers c join (select customer_id, count(*) as n from accounts group by customer_id) per on per.customer_id = c.id group by c.branch order by 2 desc, 1 limit 5;
-- lateral-last: finds memo
select c.id, c.name, last.at, last.amount, last.memo from customers c join lateral (select t.* from transactions t join accounts a on a.id = t.account_id where a.customer_id = c.id order by t.at desc limit 1) last on true where c.id <= 8 order by c.id;
-- lateral-top-two
select b.code, top.name, top.n from branches b, lateral (select c.name, count(a.id) as n from customers c join accounts a on a.customer_id = c.id where c.branch = b.code group by c.id, c.name order by n desc, c.id limit 2) top order by b.code limit 12;
-- natural
select count(*) from (select code as branch, state from branches) b natural join customers;
-- inequality-join
select a.id, count(t.id) as above from accounts a left join transactions t on t.account_id = a.id and t.amount > a.balance where a.id between 60 and 80 group by a.id order by a.id;
-- values-join
select v.label, count(a.id) from (values ('low', 0, 1000), ('middle', 1000, 15000), ('high', 15000, 1000000)) v(label, low, high) left join accounts a on a.balance >= v.low and a.balance < v.high group by v.label, v.low order by v.low;
-- nested-parentheses
select count(*) from (customers c join accounts a on a.customer_id = c.id) join branches b on b.code = c.branch where b.state = 'NY';

-- # Top and bottom

-- richest-accounts: masks account_number
select account_number, kind, balance from accounts order by balance desc limit 5;
-- poorest-accounts: masks account_number
select id, account_number, balance from accounts where kind = 'checking' order by balance asc, id limit 5;
-- biggest-payments: masks card_number
select id, merchant, amount, card_number from transactions order by amount limit 10;
-- top-spenders
select c.id, c.name, -sum(t.amount) as spent from customers c join accounts a on a.customer_id = c.id join transactions t on t.account_id = a.id where t.amount < 0 group by c.id, c.name order by spent desc limit 10;
-- top-spenders-contacts: masks email, phone
select c.name, c.email, c.phone, s.spent from customers c join (select a.customer_id, -sum(t.amount) as spent from accounts a join transactions t on t.account_id = a.id where t.amount < 0 group by a.customer_id order by 2 desc limit 5) s on s.customer_id = c.id order by s.spent desc;
-- top-merchants-with-ties
select merchant, count(*) as n from transactions group by merchant order by n desc fetch first 3 rows with ties;
-- newest-customers: masks email
select name, email, created_at::date as joined from customers order by created_at desc limit 10;
-- oldest-accounts
select id, kind, opened_at from accounts order by opened_at, id limit 10;
-- top-per-branch-rank
select branch, name, total from (select c.branch, c.name, sum(a.balance) as total, rank() over (partition by c.branch order by sum(a.balance) desc) as r from customers c join accounts a on a.customer_id = c.id group by c.id) ranked where r = 1 order by branch;
-- second-highest
select max(balance) from accounts where balance < (select max(balance) from accounts);
-- nth-value
select distinct kind, nth_value(balance, 3) over (partition by kind order by balance desc rows between unbounded preceding and unbounded following) as third from accounts order by kind;
-- top-day-per-merchant
select distinct on (merchant) merchant, at::date as day, count(*) as n from transactions group by merchant, at::date order by merchant, n desc, day;
-- bottom-branches
select c.branch, count(*) n from customers c group by c.branch order by n, c.branch limit 3;
-- top-customer-of-top-branch
select c.id, c.name from customers c join accounts a on a.customer_id = c.id where c.branch = (select branch from customers group by branch order by count(*) desc, branch limit 1) group by c.id, c.name order by sum(a.balance) desc, c.id limit 1;
-- order-by-name
select id, name from customers order by name, id limit 10 offset 30;
-- order-by-case
select id, kind, balance from accounts where customer_id < 30 order by case kind when 'credit' then 0 when 'savings' then 1 else 2 end, balance desc limit 12;
-- order-by-position: masks phone
select name, phone, created_at from customers where branch = 'DEN' order by 3 desc limit 4;
-- keyset-page
select id, at, amount from transactions where (at, id) > (timestamptz '2024-04-01', 0) order by at, id limit 10;
-- top-percent
select count(*) from (select ntile(100) over (order by balance desc) as p from accounts) x where p = 1;
-- largest-by-abs
select id, amount from transactions order by abs(amount) desc, id limit 3;
-- top-accounts-and-holders: masks account_number
with top as (
    select a.account_number, sum(t.amount) as total, count(*) as n
    from accounts a join transactions t on t.account_id = a.id
    group by a.account_number order by total desc limit 10
)
select top.account_number, c.name, top.total, top.n
from top join accounts a on a.account_number = top.account_number join customers c on c.id = a.customer_id
order by top.total desc;
-- holders-of-busiest-accounts
select c.name from customers c join accounts a on a.customer_id = c.id where a.account_number in (select a.account_number from accounts a join transactions t on t.account_id = a.id group by a.account_number order by count(*) desc, min(t.at) limit 5) order by c.id;
-- numbered-accounts: masks account_number
select row_number() over (order by sum(t.amount) desc) as place, a.account_number, sum(t.amount) as total from accounts a join transactions t on t.account_id = a.id group by a.account_number order by place limit 10;

-- # Windows

-- running-balance
select at, amount, sum(amount) over (order by at rows unbounded preceding) as running from transactions where account_id = 11 order by at;
-- row-numbers
select row_number() over (order by balance desc, id) as place, id, balance from accounts order by place limit 10;
-- dense-rank
select branch, n, dense_rank() over (order by n desc) as place from (select branch, count(*) as n from customers group by branch) x order by place, branch;
-- lag-month
select month, total, total - lag(total) over (order by month) as change from (select date_trunc('month', at) as month, sum(amount) as total from transactions group by 1) monthly order by month;
-- growth-percent
with monthly as (select date_trunc('month', at)::date as month, count(*) as n from transactions group by 1)
select month, n, round(100.0 * (n - lag(n) over w) / nullif(lag(n) over w, 0), 2) as growth from monthly window w as (order by month) order by month;
-- moving-average
select day, n, round(avg(n) over (order by day rows between 6 preceding and current row), 2) as week_average from (select at::date as day, count(*) as n from transactions where at >= '2025-11-01' group by 1) d order by day;
-- cumulative-signups
select year, sum(n) over (order by year) as cumulative from (select extract(year from created_at) as year, count(*) as n from customers group by 1) y order by year;
-- first-value
select distinct account_id, first_value(merchant) over (partition by account_id order by at, id) as first_merchant from transactions where account_id <= 6 order by account_id;
-- last-value
select distinct account_id, last_value(amount) over (partition by account_id order by at range between unbounded preceding and unbounded following) as latest from transactions where account_id <= 6 order by 1;
-- percent-rank
select id, balance, round(percent_rank() over (order by balance)::numeric, 4) as p from accounts where kind = 'savings' order by balance desc, id limit 5;
-- cume-dist
select kind, max(balance) filter (where c <= 0.9) as p90 from (select kind, balance, cume_dist() over (partition by kind order by balance) as c from accounts) x group by kind order by kind;
-- share-within
select c.branch, a.kind, count(*) as n, round(count(*) / sum(count(*)) over (partition by c.branch), 3) as share from customers c join accounts a on a.customer_id = c.id group by c.branch, a.kind order by c.branch, a.kind limit 12;
-- difference-to-mean
select id, balance, balance - avg(balance) over (partition by kind) as above_mean from accounts where id <= 20 order by id;
-- lead-next: masks card_number
select id, at, lead(at) over (order by at) - at as until_next, card_number from transactions where account_id = 19 order by at;
-- gaps
select id, gap from (select id, at - lag(at) over (partition by account_id order by at) as gap from transactions where account_id in (1, 2, 3)) g where gap > interval '60 days' order by id;
-- count-over
select id, name, count(*) over () as of_total from customers where branch = 'PDX' order by id limit 3;
-- number-within-customer: masks account_number
select customer_id, account_number, row_number() over (partition by customer_id order by opened_at, id) as nth from accounts where customer_id in (select customer_id from accounts group by customer_id having count(*) > 4) order by customer_id, nth limit 20;
-- latest-per-account: masks card_number
select account_id, at, amount, card_number from (select t.*, row_number() over (partition by account_id order by at desc, id desc) as rn from transactions t where account_id between 100 and 110) x where rn = 1 order by account_id;
-- ranked-with-masked: masks email
select * from (select c.id, c.email, rank() over (order by c.created_at) as r from customers c) x where r <= 5 order by r;
-- frame-range-interval
select at, sum(amount) over (order by at range between interval '30 days' preceding and current row) as last_30_days from transactions where account_id = 23 order by at;
-- frame-exclude
select id, avg(balance) over (order by id rows between 1 preceding and 1 following exclude current row)::numeric(12, 2) as neighbours from accounts where id < 9 order by id;
-- named-windows
select merchant, month, spent, rank() over by_month as place, sum(spent) over by_merchant as so_far from (select merchant, date_trunc('month', at)::date as month, -sum(amount) as spent from transactions where amount < 0 and at >= '2025-10-01' group by 1, 2) m window by_month as (partition by month order by spent desc), by_merchant as (partition by merchant order by month) order by month, place limit 20;
-- islands
select account_id, min(day) as begins, max(day) as ends, count(*) as days from (select account_id, day, day - (row_number() over (partition by account_id order by day))::int as island from (select distinct account_id, at::date as day from transactions where account_id < 400) d) i group by account_id, island having count(*) >= 3 order by days desc, account_id, begins limit 10;
-- median-by-window
select distinct kind, percentile_disc(0.5) within group (order by balance) over_none from (select kind, balance from accounts) a group by kind order by kind;
-- window-filter
select day, count(*) filter (where amount > 0) as deposits, sum(count(*) filter (where amount > 0)) over (order by day) as so_far from (select at::date as day, amount from transactions where at < '2024-01-10') d group by day order by day;

-- # Steps and cohorts

-- cte-simple
with big as (select * from accounts where balance > 20000) select kind, count(*) from big group by kind order by kind;
-- cte-two
with spend as (select account_id, -sum(amount) as spent from transactions where amount < 0 group by account_id), top as (select * from spend order by spent desc, account_id limit 10)
select c.name, top.spent from top join accounts a on a.id = top.account_id join customers c on c.id = a.customer_id order by top.spent desc;
-- cte-masked-through: masks email, account_number
with people as (select id, name, email from customers where branch = 'SFO'), theirs as (select p.id, p.name, p.email, a.account_number, a.balance from people p join accounts a on a.customer_id = p.id)
select name, email, account_number, balance from theirs order by balance desc, id limit 10;
-- cte-materialized
with t as materialized (select account_id, amount from transactions where merchant = 'Stone Gym') select count(*), avg(amount)::numeric(10, 3) from t;
-- recursive-numbers
with recursive n(i) as (select 1 union all select i + 1 from n where i < 12) select i, (select count(*) from transactions where extract(month from at) = i) as n from n order by i;
-- recursive-months
with recursive months(m) as (select date '2025-01-01' union all select (m + interval '1 month')::date from months where m < date '2025-06-01') select m, count(a.id) from months left join accounts a on a.opened_at >= m and a.opened_at < m + interval '1 month' group by m order by m;
-- cohort-retention
with firsts as (select a.customer_id, min(date_trunc('month', t.at)) as cohort from transactions t join accounts a on a.id = t.account_id group by a.customer_id),
activity as (select distinct a.customer_id, date_trunc('month', t.at) as month from transactions t join accounts a on a.id = t.account_id)
select f.cohort::date, (extract(year from age(x.month, f.cohort)) * 12 + extract(month from age(x.month, f.cohort)))::int as months_later, count(*) as customers
from firsts f join activity x using (customer_id) where f.cohort < '2024-03-01' and x.month < '2024-08-01' group by 1, 2 order by 1, 2;
-- cohort-by-signup-year
select extract(year from c.created_at)::int as cohort, count(distinct c.id) as customers, round(avg(a.balance), 2) as average_balance from customers c join accounts a on a.customer_id = c.id group by 1 order by 1;
-- month-over-month
with m as (select merchant, date_trunc('month', at) as month, sum(-amount) as spent from transactions where amount < 0 group by 1, 2)
select merchant, month::date, spent, lag(spent) over (partition by merchant order by month) as before from m where month >= '2025-09-01' order by merchant, month limit 30;
-- pareto
with spend as (select merchant, -sum(amount) as spent from transactions where amount < 0 group by merchant), running as (select merchant, spent, sum(spent) over (order by spent desc) / sum(spent) over () as share from spend) select merchant, round(share, 4) from running where share <= 0.8 order by share;
-- rfm
with base as (select a.customer_id, max(t.at) as last, count(*) as frequency, -sum(t.amount) as monetary from transactions t join accounts a on a.id = t.account_id where t.amount < 0 group by a.customer_id),
scored as (select customer_id, ntile(5) over (order by last, customer_id) as r, ntile(5) over (order by frequency, customer_id) as f, ntile(5) over (order by monetary, customer_id) as m from base)
select r, f, m, count(*) from scored group by r, f, m order by count(*) desc, r, f, m limit 10;
-- rfm-best-customers: masks email
with s as (select a.customer_id, count(*) as n from transactions t join accounts a on a.id = t.account_id group by 1) select c.id, c.email, s.n from s join customers c on c.id = s.customer_id where s.n > 60 order by s.n desc, c.id limit 10;
-- churn
with last as (select account_id, max(at) as at from transactions group by account_id) select date_trunc('quarter', last.at)::date as quarter, count(*) from last group by 1 order by 1;
-- funnel
select count(*) as customers, count(*) filter (where exists (select 1 from accounts a where a.customer_id = c.id and a.kind = 'savings')) as with_savings, count(*) filter (where exists (select 1 from accounts a where a.customer_id = c.id and a.kind = 'credit')) as with_credit from customers c;
-- outliers
with s as (select avg(amount) as mean, stddev_samp(amount) as dev from transactions where amount < 0) select t.id, t.amount from transactions t, s where t.amount < s.mean - 4.2 * s.dev order by t.amount, t.id limit 10;
-- z-scores
select id, round((balance - avg(balance) over ()) / stddev_pop(balance) over (), 3) as z from accounts where kind = 'credit' order by z desc, id limit 5;
-- pivot-kinds
select c.branch, count(*) filter (where a.kind = 'checking') as checking, count(*) filter (where a.kind = 'savings') as savings, count(*) filter (where a.kind = 'credit') as credit from customers c join accounts a on a.customer_id = c.id group by c.branch order by c.branch;
-- pivot-case
select extract(year from at)::int as year, sum(case when currency = 'USD' then amount end) as usd, sum(case when currency = 'EUR' then amount end) as eur from transactions group by 1 order by 1;
-- duplicates
select account_id, merchant, amount, count(*) from transactions group by account_id, merchant, amount having count(*) > 1 order by count(*) desc, account_id, merchant, amount limit 10;
-- duplicate-names
select name, count(*) as n, array_agg(id order by id) as ids from customers group by name having count(*) > 4 order by n desc, name limit 10;
-- velocity: masks card_number
select card_number, count(*) as n, min(at), max(at) from transactions where card_number is not null and at >= '2025-12-01' group by card_number having count(*) >= 4 order by n desc, min(at) limit 10;
-- regr
select regr_slope(n, d)::numeric(12, 6) as slope from (select extract(doy from at)::int as d, count(*) as n from transactions where at >= '2025-01-01' group by 1) x;
-- cte-chain
with a as (select customer_id, sum(balance) as total from accounts group by 1), b as (select c.branch, a.total from a join customers c on c.id = a.customer_id), s as (select branch, avg(total) as mean from b group by branch) select branch, round(mean, 2) from s order by mean desc limit 3;
-- scalar-subqueries
select c.name, (select count(*) from accounts a where a.customer_id = c.id) as accounts, (select max(t.at) from transactions t join accounts a on a.id = t.account_id where a.customer_id = c.id) as last from customers c where c.id between 500 and 510 order by c.id;

-- # Cases, conditions and buckets

-- balance-bands
select case when balance < 1000 then '0-1k' when balance < 5000 then '1k-5k' when balance < 15000 then '5k-15k' else '15k+' end as band, count(*) from accounts group by band order by min(balance);
-- case-in-sum
select sum(case kind when 'credit' then -balance else balance end) as net_worth from accounts;
-- coalesce-memo: finds memo
select id, coalesce(memo, 'none') as memo from transactions where id <= 40 order by id;
-- nullif
select merchant, sum(amount) / nullif(count(*) filter (where amount > 0), 0) as per_deposit from transactions group by merchant order by merchant;
-- greatest-least
select id, greatest(balance, 5000) as at_least, least(balance, 5000) as at_most from accounts where id < 6 order by id;
-- boolean-columns
select id, balance > 10000 as rich, kind = 'credit' as is_credit from accounts where id <= 10 order by id;
-- not-in
select count(*) from transactions where merchant not in ('Payroll deposit', 'Wire transfer', 'ACH utilities');
-- is-distinct-from
select count(*) from transactions where memo is distinct from 'gift';
-- between-symmetric
select count(*) from accounts where balance between symmetric 2000 and 1000;
-- or-and
select count(*) from accounts where (kind = 'checking' and balance > 20000) or (kind = 'savings' and balance < 100);
-- not-like
select count(*) from customers where name not like '% %a%';
-- similar-to
select count(*) from transactions where merchant similar to '%(Fuel|Transit)%';
-- any-like
select merchant, count(*) from transactions where merchant like any(array['%Books', '%Gym']) group by 1 order by 1;
-- all-comparison
select count(*) from accounts where balance >= all(select balance from accounts where kind = 'credit');
-- row-comparison
select id, kind from accounts where (kind, customer_id) = ('savings', 12) order by id;
-- modulo
select id % 10 as digit, count(*) from accounts group by 1 order by 1;
-- rounding
select round(balance / 1000) * 1000 as thousand, count(*) from accounts group by 1 order by 2 desc, 1 limit 5;
-- casts
select balance::int, balance::text || ' USD' as shown, cast(opened_at as date) from accounts where id = 3;

-- # Texts, lists, JSON, sets

-- first-names
select split_part(name, ' ', 1) as first_name, count(*) from customers group by 1 order by 2 desc, 1 limit 10;
-- last-initial
select left(split_part(name, ' ', 2), 1) as initial, count(*) from customers group by 1 order by 1;
-- name-lengths
select length(name) as len, count(*) from customers group by len order by len;
-- upper-names
select upper(name) as name, initcap(lower(branch)) as branch from customers where id < 5 order by id;
-- concat
select concat_ws(', ', split_part(name, ' ', 2), split_part(name, ' ', 1)) as sorted from customers where branch = 'SLC' order by 1 limit 8;
-- format
select format('%s (%s)', name, state) as label from branches order by code limit 5;
-- replace
select replace(merchant, ' ', '_') as slug from (select distinct merchant from transactions) m order by 1;
-- position
select merchant, position('o' in merchant) as at from (select distinct merchant from transactions) m order by merchant limit 5;
-- regexp-replace
select regexp_replace(name, '^(\w+) (\w+)$', '\2, \1') as turned from customers where id in (9, 10) order by id;
-- trim-pad
select lpad(id::text, 6, '0') as number, rpad(kind, 10, '.') as kind, btrim(kind, 'c') as cut from accounts where id < 4 order by id;
-- string-agg-branches
select state, string_agg(name, ', ' order by name) as branches from branches group by state having count(*) > 1 order by state;
-- array-agg
select customer_id, array_agg(kind order by id) as kinds from accounts where customer_id <= 10 group by customer_id order by 1;
-- array-length
select cardinality(array_agg(id)) as n, kind from accounts group by kind order by kind;
-- unnest
select unnest(array['checking', 'savings']) as kind, 1 as one;
-- unnest-join
select k.kind, count(a.id) from unnest(array['credit', 'loan']) as k(kind) left join accounts a on a.kind = k.kind group by 1 order by 1;
-- json-row
select row_to_json(b) from branches b where state = 'TX' order by code;
-- json-object
select json_build_object('code', code, 'name', name) as branch from branches order by code limit 3;
-- json-agg
select state, json_agg(json_build_object('code', code, 'name', name) order by code) from branches group by state order by state limit 4;
-- jsonb-object-agg
select jsonb_object_agg(kind, n) as counts from (select kind, count(*) as n from accounts group by kind) x;
-- json-of-account
select to_jsonb(a) - 'account_number' - 'routing_number' ->> 'kind' as kind from (select id, kind from accounts) a where id = 4;
-- union-all
select 'customers' as what, count(*) from customers union all select 'accounts', count(*) from accounts union all select 'branches', count(*) from branches order by 1;
-- union-distinct
select state from branches where code like 'B%' union select state from branches where code like 'P%' order by 1;
-- intersect
select customer_id from accounts where kind = 'savings' intersect select customer_id from accounts where kind = 'credit' order by 1 limit 10;
-- except
select code from branches except select branch from customers where created_at > '2022-10-01' order by 1;
-- except-count
select count(*) from (select customer_id from accounts where kind = 'checking' except select customer_id from accounts where kind = 'savings') x;
-- union-of-lookups: masks email
(select id, name, email from customers order by id limit 2) union all (select id, name, email from customers order by id desc limit 2);
-- values-only
values (1, 'one'), (2, 'two');
-- constants
select 1 + 1 as two, 'x' || 'y' as xy, now() is not null as now;
-- md5-of-name
select md5(name) from customers where id = 6;
-- generate-numbers
select n, n * n as square from generate_series(1, 5) n;
-- explain
explain (costs off) select count(*) from branches where state = 'TX';

-- # What is and is not there

-- no-credit
select c.id, c.name from customers c where not exists (select 1 from accounts a where a.customer_id = c.id and a.kind = 'credit') order by c.id limit 10;
-- left-anti-join
select a.id from accounts a left join transactions t on t.account_id = a.id and t.at >= '2025-07-01' where t.id is null order by a.id limit 10;
-- never-used
select count(*) from accounts a where not exists (select from transactions t where t.account_id = a.id);
-- exists-expensive: masks phone
select c.id, c.name, c.phone from customers c where exists (select 1 from accounts a join transactions t on t.account_id = a.id where a.customer_id = c.id and t.amount < -298) order by c.id limit 5;
-- in-and-not-in
select count(*) from customers where id in (select customer_id from accounts where kind = 'savings') and id not in (select customer_id from accounts where kind = 'checking');
-- both-kinds
select c.id, c.name from customers c join accounts s on s.customer_id = c.id and s.kind = 'savings' join accounts k on k.customer_id = c.id and k.kind = 'credit' group by c.id, c.name order by c.id limit 5;
-- above-own-average
select t.id, t.amount from transactions t where t.amount > (select avg(u.amount) + 5000 from transactions u where u.account_id = t.account_id) and t.account_id < 300 order by t.id limit 10;
-- every-merchant
select account_id from transactions group by account_id having count(distinct merchant) = (select count(distinct merchant) from transactions) order by account_id limit 10;
-- distinct-on-latest
select distinct on (account_id) account_id, at, merchant, amount from transactions where account_id <= 12 order by account_id, at desc, id desc;
-- distinct-on-branch: masks email
select distinct on (branch) branch, name, email from customers order by branch, created_at desc limit 10;
-- lateral-left
select c.id, x.n from customers c left join lateral (select count(*) as n from accounts a where a.customer_id = c.id and a.balance > 15000) x on true where c.id <= 10 order by c.id;
-- limit-zero: masks email, phone, ssn, date_of_birth
select * from customers limit 0;

-- # Columns that are masked, on purpose

-- count-emails
select count(email) from customers;
-- count-cards
select count(*) as n, count(card_number) as with_card, count(*) - count(card_number) as without_card from transactions;
-- no-card-merchants
select merchant, count(*) from transactions where card_number is null group by merchant order by 2 desc, 1;
-- card-present-share
select round(100.0 * count(card_number) / count(*), 1) as percent from transactions;
-- card-filter-null
select count(*) filter (where card_number is null) as cash, count(*) filter (where card_number is not null) as card from transactions;
-- case-null
select case when card_number is null then 'transfer' else 'card' end as way, count(*), sum(amount) from transactions group by 1 order by 1;
-- is-null-column
select id, card_number is not null as has_card from transactions where account_id = 17 order by id;
-- contacts-of-branch: masks email, phone
select name, email, phone from customers where branch = 'BOS' order by name, id limit 20;
-- mailing-list: masks email
select email from customers where branch = 'LAX' and created_at >= '2022-01-01' order by created_at limit 50;
-- ssn-of-one: masks ssn
select name, ssn from customers where id = 12;
-- births-of-some: masks date_of_birth
select id, name, date_of_birth from customers where id in (1, 2, 3) order by id;
-- cards-of-account: masks card_number
select distinct card_number from transactions where account_id = 3 and card_number is not null;
-- cards-per-account
select account_id, count(distinct card_number) as cards from transactions where account_id < 20 group by account_id order by account_id;
-- distinct-account-numbers
select count(distinct account_number) = count(*) as unique from accounts;
-- distinct-emails
select count(distinct email) from customers;
-- duplicate-phones
select count(*) - count(distinct phone) as duplicates from customers;
-- shared-phones
select count(*) from (select phone from customers group by phone having count(*) > 1) x;
-- accounts-with-card: masks account_number, card_number
select distinct a.account_number, t.card_number from accounts a join transactions t on t.account_id = a.id where a.id = 21 and t.card_number is not null;
-- numbers-listed: masks numbers
select customer_id, string_agg(account_number, ', ' order by id) as numbers from accounts where customer_id < 6 group by customer_id order by customer_id;
-- last-four: masks last_four
select id, right(account_number, 4) as last_four from accounts where id < 5 order by id;
-- domain: masks domain
select id, split_part(email, '@', 2) as domain from customers where id < 5 order by id;
-- age: masks age
select id, extract(year from age(timestamptz '2026-01-01', date_of_birth)) as age from customers where id < 5 order by id;
-- youngest: masks youngest
select max(date_of_birth) as youngest from customers;
-- masked-json: masks profile
select jsonb_build_object('name', name, 'email', email) as profile from customers where id = 8;
-- masked-concat: masks contact
select id, name || ' <' || email || '>' as contact from customers where branch = 'MIA' order by id limit 5;
-- masked-coalesce: masks card
select id, coalesce(card_number, 'none') as card from transactions where id <= 20 order by id;
-- email-lookup
select id, name from customers where email = 'alice.garcia17@example.com';
-- account-lookup
select id, kind, balance from accounts where account_number = '4005000015';
-- by-email-domain
select split_part(email, '@', 2) as domain, count(*) from customers group by 1 order by 2 desc;
-- by-age-band
select extract(decade from date_of_birth) as decade, count(*) from customers group by 1 order by 1;
-- oldest-customers
select name, date_of_birth from customers order by date_of_birth limit 10;

-- # More of accounts and cards

-- account-overview: masks account_number
SELECT a.account_number, a.kind, a.balance, COUNT(t.id) AS transaction_count, SUM(t.amount) AS net_flow FROM accounts a LEFT JOIN transactions t ON a.id = t.account_id WHERE a.customer_id = 100 GROUP BY a.account_number, a.kind, a.balance ORDER BY a.kind;
-- spenders-by-account: masks account_number
SELECT c.name, a.account_number, SUM(t.amount) AS total_spent FROM customers c JOIN accounts a ON c.id = a.customer_id JOIN transactions t ON a.id = t.account_id WHERE t.amount < 0 AND t.at >= '2025-01-01' GROUP BY c.name, a.account_number ORDER BY total_spent ASC LIMIT 10;
-- months-of-accounts: ties; masks account_number
SELECT a.account_number, DATE_TRUNC('month', t.at) AS month, COUNT(*) AS tx_count, ROUND(AVG(t.amount), 2) AS avg_amount FROM accounts a JOIN transactions t ON t.account_id = a.id WHERE a.id IN (1, 2, 3) GROUP BY a.account_number, month ORDER BY month DESC, tx_count DESC LIMIT 20;
-- busiest-cards: ties; masks card_number
SELECT t.card_number, COUNT(*) AS uses, MAX(t.at) AS last_used, SUM(ABS(t.amount)) AS volume FROM transactions t WHERE t.card_number IS NOT NULL GROUP BY t.card_number ORDER BY uses DESC LIMIT 10;
-- cards-at-merchants: masks card_number
WITH card_usage AS (SELECT card_number, merchant, COUNT(*) AS n FROM transactions WHERE card_number IS NOT NULL AND at >= '2025-11-01' GROUP BY card_number, merchant) SELECT card_number, merchant, n FROM card_usage WHERE n >= 4 ORDER BY n DESC, merchant LIMIT 10;
-- ranked-accounts: masks account_number
SELECT account_number, balance, RANK() OVER (ORDER BY balance DESC) AS balance_rank FROM accounts ORDER BY balance_rank LIMIT 10;
-- top-numbered-inside: masks account_number
SELECT x.account_number, x.total FROM (SELECT a.account_number, SUM(t.amount) AS total, ROW_NUMBER() OVER (ORDER BY SUM(t.amount) DESC) AS rn FROM accounts a JOIN transactions t ON t.account_id = a.id GROUP BY a.account_number) x WHERE x.rn <= 5 ORDER BY x.total DESC;
-- rich-contacts: masks email, account_number
SELECT DISTINCT c.name, c.email, a.account_number FROM customers c JOIN accounts a ON a.customer_id = c.id WHERE a.balance > 24800 ORDER BY c.name LIMIT 20;
-- counted-numbers
SELECT COUNT(DISTINCT a.account_number) AS accounts, COUNT(DISTINCT c.id) AS customers FROM accounts a JOIN customers c ON c.id = a.customer_id WHERE c.branch IN ('NYC', 'BOS');
-- idle-accounts: masks account_number
SELECT a.account_number FROM accounts a LEFT JOIN transactions t ON t.account_id = a.id AND t.at >= '2025-12-01' WHERE t.id IS NULL ORDER BY a.id LIMIT 10;
-- dormant-accounts: masks account_number
SELECT a.account_number, MAX(t.at) AS last_activity FROM accounts a LEFT JOIN transactions t ON t.account_id = a.id GROUP BY a.account_number HAVING MAX(t.at) < '2025-03-01' ORDER BY last_activity LIMIT 10;
-- differences-of-accounts: masks account_number
SELECT a.account_number, a.balance, a.balance - LAG(a.balance) OVER (ORDER BY a.opened_at) AS diff FROM accounts a WHERE a.customer_id IN (SELECT id FROM customers WHERE branch = 'DAL') ORDER BY a.opened_at LIMIT 15;
-- credits-and-debits: masks account_number
SELECT a.account_number, COALESCE(SUM(CASE WHEN t.amount > 0 THEN t.amount END), 0) AS credits, COALESCE(SUM(CASE WHEN t.amount < 0 THEN t.amount END), 0) AS debits FROM accounts a LEFT JOIN transactions t ON t.account_id = a.id WHERE a.kind = 'savings' GROUP BY a.account_number ORDER BY credits DESC LIMIT 5;
-- cards-per-state
SELECT b.state, COUNT(DISTINCT t.card_number) AS cards FROM transactions t JOIN accounts a ON a.id = t.account_id JOIN customers c ON c.id = a.customer_id JOIN branches b ON b.code = c.branch GROUP BY b.state ORDER BY cards DESC, b.state;
-- shared-routing
SELECT COUNT(*) AS shared FROM (SELECT routing_number FROM accounts GROUP BY routing_number HAVING COUNT(*) > 250) r;
-- shared-phones-with-names: ties; masks phone
SELECT phone, COUNT(*) AS customers, STRING_AGG(name, ', ' ORDER BY name) AS names FROM customers GROUP BY phone HAVING COUNT(*) > 5 ORDER BY customers DESC LIMIT 5;
-- top-three-per-kind: masks account_number
SELECT kind, account_number, balance FROM (SELECT kind, account_number, balance, ROW_NUMBER() OVER (PARTITION BY kind ORDER BY balance DESC) AS rn FROM accounts) ranked WHERE rn <= 3 ORDER BY kind, balance DESC;
-- accounts-per-customer-per-branch
SELECT c.branch, AVG(cnt) AS avg_accounts FROM (SELECT customer_id, COUNT(*) AS cnt FROM accounts GROUP BY customer_id) s JOIN customers c ON c.id = s.customer_id GROUP BY c.branch ORDER BY avg_accounts DESC, c.branch LIMIT 5;
-- accounts-per-email: masks email
SELECT c.email, COUNT(a.id) FROM customers c JOIN accounts a ON a.customer_id = c.id GROUP BY c.email ORDER BY COUNT(a.id) DESC LIMIT 10;
-- customer-summary: masks email
SELECT c.id, c.name, c.email, COUNT(DISTINCT a.id) AS num_accounts, COUNT(t.id) AS num_tx, MAX(t.at) AS last_tx FROM customers c LEFT JOIN accounts a ON c.id = a.customer_id LEFT JOIN transactions t ON a.id = t.account_id GROUP BY c.id, c.name, c.email ORDER BY num_tx DESC, c.id LIMIT 10;
-- duplicate-ssns: masks ssn
SELECT ssn, COUNT(*) FROM customers GROUP BY ssn HAVING COUNT(*) > 1;
-- births-of-branch: masks date_of_birth
SELECT name, date_of_birth, branch FROM customers WHERE branch = 'MIA' ORDER BY name, id LIMIT 10;
-- uses-per-card
SELECT AVG(n)::numeric(10,2) AS avg_tx_per_card, MAX(n) AS max_tx FROM (SELECT card_number, COUNT(*) AS n FROM transactions WHERE card_number IS NOT NULL GROUP BY card_number) x;
-- card-buckets
SELECT bucket, COUNT(*) FROM (SELECT CASE WHEN COUNT(*) < 10 THEN 'low' WHEN COUNT(*) < 20 THEN 'mid' ELSE 'high' END AS bucket FROM transactions GROUP BY card_number) b GROUP BY bucket ORDER BY bucket;
-- flights-with-cards: masks account_number, card_number
SELECT a.account_number, t.card_number, t.merchant, t.amount, t.at FROM transactions t INNER JOIN accounts a ON t.account_id = a.id WHERE t.merchant = 'Northwind Air' AND t.at BETWEEN '2025-06-01' AND '2025-06-30' ORDER BY t.amount ASC, t.id LIMIT 20;
-- far-above-average: masks account_number
SELECT src.account_number, src.balance, cmp.avg_balance FROM accounts src JOIN (SELECT kind, AVG(balance) AS avg_balance FROM accounts GROUP BY kind) cmp ON src.kind = cmp.kind WHERE src.balance > 1.94 * cmp.avg_balance ORDER BY src.balance DESC LIMIT 5;
-- other-accounts: masks account_number
SELECT a1.account_number AS account_number, a2.kind AS other_kind FROM accounts a1 JOIN accounts a2 ON a1.customer_id = a2.customer_id AND a1.account_number <> a2.account_number WHERE a1.id < 20 ORDER BY a1.id, a2.id;
-- same-routing-pairs
SELECT COUNT(*) FROM accounts a1 JOIN accounts a2 ON a1.routing_number = a2.routing_number AND a1.id < a2.id WHERE a1.id < 50;
-- busy-account-numbers: masks account_number
SELECT account_number, kind FROM accounts WHERE account_number IN (SELECT account_number FROM accounts a JOIN transactions t ON t.account_id = a.id GROUP BY account_number HAVING COUNT(*) > 32) ORDER BY id;
-- first-account-of-each: masks account_number
SELECT DISTINCT ON (a.customer_id) a.customer_id, a.account_number, a.balance FROM accounts a ORDER BY a.customer_id, a.balance DESC LIMIT 10;
-- running-by-number: masks account_number
WITH monthly AS (SELECT a.account_number, DATE_TRUNC('month', t.at) AS m, SUM(t.amount) AS net FROM accounts a JOIN transactions t ON t.account_id = a.id WHERE a.id <= 5 GROUP BY a.account_number, m) SELECT account_number, m, net, SUM(net) OVER (PARTITION BY account_number ORDER BY m) AS running FROM monthly ORDER BY m, net LIMIT 20;
-- previous-month-by-number: masks account_number
WITH monthly AS (SELECT a.id, a.account_number, DATE_TRUNC('month', t.at) AS m, SUM(t.amount) AS net FROM accounts a JOIN transactions t ON t.account_id = a.id WHERE a.id <= 5 GROUP BY a.id, a.account_number, m) SELECT account_number, m, net, LAG(net) OVER (PARTITION BY id ORDER BY m) AS previous FROM monthly ORDER BY id, m LIMIT 20;
-- share-of-total: masks account_number
SELECT account_number, SUM(balance) OVER () AS total, ROUND(100 * balance / SUM(balance) OVER (), 4) AS pct FROM accounts ORDER BY balance DESC LIMIT 5;
-- phone-by-hand: masks masked_phone
SELECT name, CONCAT('***', RIGHT(phone, 4)) AS masked_phone FROM customers WHERE id <= 5 ORDER BY id;
-- memo-lengths
SELECT LENGTH(memo) AS len, COUNT(*) FROM transactions WHERE memo IS NOT NULL AND memo <> '' GROUP BY LENGTH(memo) ORDER BY 2 DESC, 1 LIMIT 5;
-- people-as-json
SELECT json_agg(json_build_object('id', id, 'name', name)) AS people, MIN(branch) AS b, COUNT(email) AS email FROM customers WHERE id <= 3;
-- busiest-joined-back: masks account_number
SELECT a.account_number, t.n FROM accounts a JOIN (SELECT account_id, COUNT(*) AS n FROM transactions GROUP BY account_id ORDER BY n DESC, account_id LIMIT 10) t ON t.account_id = a.id ORDER BY t.n DESC, a.id;
-- richest-of-all: masks account_number
SELECT account_number, balance FROM accounts WHERE balance = (SELECT MAX(balance) FROM accounts);
-- incomplete-contacts
SELECT EXISTS (SELECT 1 FROM customers WHERE email IS NULL OR phone IS NULL) AS incomplete;
-- missing-contacts
SELECT 'email' AS field, COUNT(*) FILTER (WHERE email IS NULL OR email = '') AS missing FROM customers UNION ALL SELECT 'phone', COUNT(*) FILTER (WHERE phone IS NULL OR phone = '') FROM customers UNION ALL SELECT 'card', COUNT(*) FILTER (WHERE card_number IS NULL) FROM transactions;
