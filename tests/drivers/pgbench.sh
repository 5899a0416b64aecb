#!/usr/bin/env bash
# pgbench in each of its modes.
#
#   PG_BIN   the directory of pgbench
set -euo pipefail
pgbench() { "$PG_BIN/pgbench" "$@" 2>&1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
checks=0

# run TRANSACTIONS OPTION...: all of them must be done, and none may fail.
run() {
  local wanted=$1 said; shift
  said=$(pgbench -n "$@") || { echo "pgbench $*: $said"; exit 1; }
  grep -qE "number of transactions actually processed: $wanted(/$wanted)?$" <<<"$said" || { echo "pgbench $*: $said"; exit 1; }
  grep -qE "number of failed transactions: 0 " <<<"$said" || { echo "pgbench $*: $said"; exit 1; }
  checks=$((checks + 1))
}

pgbench -q -i -s 1 >/dev/null
pgbench -q -i -s 1 -I dtGvpf --partitions=3 >/dev/null
pgbench -q -i -s 1 >/dev/null
for mode in simple extended prepared; do
  run 100 -M "$mode" -c 4 -j 2 -t 25
  run 400 -M "$mode" -S -c 4 -j 2 -t 100
  run 100 -M "$mode" -N -c 2 -t 50
done
run 20 -S -C -c 2 -t 10

cat >"$scratch/pipeline.sql" <<'SQL'
\set aid random(1, 100000)
\startpipeline
begin;
update pgbench_accounts set abalance = abalance + 1 where aid = :aid;
select abalance from pgbench_accounts where aid = :aid;
insert into pgbench_history (tid, bid, aid, delta, mtime) values (1, 1, :aid, 1, current_timestamp);
commit;
\endpipeline
select 1;
SQL
for mode in extended prepared; do run 100 -M "$mode" -c 2 -t 50 -f "$scratch/pipeline.sql"; done

# Several results at once, variables from results, and errors that are tried again.
cat >"$scratch/retried.sql" <<'SQL'
select 1 as a \; select 2 as b \aset
\set bid :a
begin isolation level serializable;
update pgbench_branches set bbalance = bbalance + 1 where bid = :bid;
select sum(bbalance) from pgbench_branches;
commit;
SQL
run 40 -c 4 -j 2 -t 10 --max-tries=1000 -f "$scratch/retried.sql"
echo "ok $checks runs"
