#!/usr/bin/env bash
# psql, as people use it. Prints all that psql prints, so that two ways to a server can be compared byte for byte.
#
#   PG_BIN   the directory of psql
set -euo pipefail
# Without what differs from run to run: process ids, and the time of day.
psql() { "$PG_BIN/psql" -X "$@" 2>&1 | sed -E 's/PID [0-9]+/PID/; s/^.* \(every 0\.1s\)$/(every 0.1s)/'; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PGAPPNAME=psql

echo "== describing"
psql -v ON_ERROR_STOP=1 <<'SQL'
create schema psql;
set search_path to psql, public;
create type mood as enum ('sad', 'fine');
create domain positive as int check (value > 0);
create table people (id int generated always as identity primary key, name text not null unique, mood mood default 'fine', n positive);
create table orders (id bigint, person int references people on delete cascade, at timestamptz) partition by range (at);
create table orders_2024 partition of orders for values from ('2024-01-01') to ('2025-01-01');
create index on people (lower(name)) where n > 5;
create view fine as select id, name from people where mood = 'fine';
create materialized view counted as select mood, count(*) from people group by mood;
create function twice(n int) returns int language sql immutable as 'select n * 2';
create procedure nothing() language plpgsql as 'begin end';
create sequence counter start 5;
comment on table people is 'who there is';
\d
\d people
\d+ orders
\d fine
\dt psql.*
\di psql.*
\dv+ fine
\dm
\ds
\df psql.*
\dT+ mood
\dD
\dn psql
\dn+ psql
\dp people
\ddp
\dRp
\dy
\dx
\dE
\db
\dc psql.*
\dC mood
\do psql.*
\dF
\dFd simple
\dL
\dO psql.*
\dP
\dd
\dA
\des
\dX
\sf twice
\sv fine
\encoding
SQL

echo "== running"
psql <<'SQL'
set search_path to psql, public;
insert into people (name, n) select 'p' || i, i from generate_series(1, 20) i returning id;
select * from people where id < 4;
select 1 as a \; select 2 as b \; select 3 as c;
\gset
select count(*) as many from people \gset
\echo :many
select format('select %s as generated', i) from generate_series(1, 3) i \gexec
select id, name from people order by id limit 2 \gx
select mood, n % 3 as rest, count(*) from people group by 1, 2 order by 1, 2 \crosstabview
select name, n from people order by id limit 3 \gdesc
\set FETCH_COUNT 7
select id from people order by id;
\unset FETCH_COUNT
\timing off
select nextval('counter') / (8 - nextval('counter')) as watched \watch 0.1
\x
table counted;
\x
prepare by_id (int) as select name from people where id = $1;
execute by_id (3);
deallocate by_id;
declare c cursor for select 1;
do $$ begin raise notice 'noticed'; raise warning 'warned' using hint = 'and hinted'; end $$;
explain (costs off) values (1);
listen bells;
notify bells, 'ding';
select lo_from_bytea(4242, '\x00ff41') as made;
select lo_get(4242);
\lo_list
select lo_unlink(4242);
SQL

echo "== errors, in transactions and out of them"
psql <<'SQL'
\set VERBOSITY verbose
set search_path to psql, public;
\set VERBOSITY sqlstate
selec 1;
\set VERBOSITY verbose
select 1 / 0;
insert into people (name) values ('p1');
insert into people (name, n) values ('negative', -1);
begin;
insert into people (name) values ('kept out');
savepoint here;
\set VERBOSITY sqlstate
select * from nowhere;
\set VERBOSITY verbose
select 1;
rollback to here;
select count(*) from people;
\set VERBOSITY sqlstate
select * from nowhere;
\set VERBOSITY verbose
commit;
select count(*) from people;
select 1; select 2 / 0; select 3;
\errverbose
\set ON_ERROR_ROLLBACK on
begin;
select 1 / 0;
insert into people (name) values ('kept after all');
commit;
select count(*) from people;
\set AUTOCOMMIT off
insert into people (name) values ('never committed');
SQL
psql -c 'select count(*) from psql.people'
psql -1 -c 'insert into psql.people (name) values (1)' -c 'select 1 / 0' -c 'select 2' || echo "ended with $?"
psql -v ON_ERROR_STOP=1 -f <(echo 'select 1; select 1 / 0; select 2;') || echo "ended with $?"

echo "== copying"
seq 1 5000 | sed 's/.*/&\trow &/' >"$scratch/in.tsv"
psql <<SQL
create table psql.copied (id int, body text);
\copy psql.copied from '$scratch/in.tsv'
\copy (select * from psql.copied order by id) to '$scratch/out.tsv'
\copy (select * from psql.copied order by id) to '$scratch/out.csv' csv header
\copy psql.copied to '$scratch/out.bin' binary
truncate psql.copied;
\copy psql.copied from '$scratch/out.csv' csv header
\copy psql.copied from '$scratch/out.bin' binary
select count(*), sum(id) from psql.copied;
copy psql.copied from stdin;
x	not a number
\.
copy (select * from psql.copied order by id limit 3) to stdout;
copy psql.copied from stdin \; select 1 as after_it;
7	seven
\.
begin;
copy psql.copied from stdin;
8
\.
commit;
copy psql.copied from stdin with (format csv, header);
id,body
9,"nine
lines"
\.
copy psql.copied to program 'false';
SQL
cmp "$scratch/in.tsv" "$scratch/out.tsv" && echo "the same rows came back"
cksum <"$scratch/out.csv"
cksum <"$scratch/out.bin"
psql -c '\copy psql.copied from stdin' <"$scratch/in.tsv"

if (($("$PG_BIN/psql" --version | sed -E 's/.* ([0-9]+)\..*/\1/') >= 18)); then
  echo "== the extended protocol, and pipelines"
  psql <<'SQL'
select $1 as one, $2 as two \bind 1 'two' \g
select $1::int + 1 as parsed \parse twice
\bind_named twice 41 \g
\close_prepared twice
\set VERBOSITY sqlstate
\bind_named twice 41 \g
\set VERBOSITY default
\startpipeline
select $1 as first \bind 1 \sendpipeline
select $1::int / 0 as second \bind 2 \sendpipeline
select $1 as skipped \bind 3 \sendpipeline
\syncpipeline
select $1 as after \bind 4 \sendpipeline
\flushrequest
\getresults
\endpipeline
begin \bind \g
select 1 \bind \sendpipeline
commit \bind \g
SQL
fi

psql -qc 'drop schema psql cascade' >/dev/null
