#!/usr/bin/env bash
# Makes crates/claviger-sql/tests/catalog.tsv: what a PostgreSQL 18 answers for the database of fixture.sql beside it. To be run when
# the question to the server or that database changes.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'scripts/postgres.sh remove "$dir/server"; rm -rf "$dir"' EXIT
PG_BIN=$(scripts/postgres.sh find 18)
export PG_BIN
scripts/postgres.sh start "$dir/server" "$(scripts/postgres.sh free-port)" >&2
url=$(scripts/postgres.sh url "$dir/server")

# As catalog/question.rs puts them together; where a row has line breaks, they are between JSON's own words.
catalog=crates/claviger-sql/src/catalog
{
  echo "select k || chr(9) || replace(f, chr(10), '') from (select 'fingerprint', ("
  cat "$catalog/fingerprint.sql"
  echo ") union all select q.kind, q.facts::pg_catalog.text from ("
  cat "$catalog/question.sql"
  echo ") q) a (k, f) order by 1"
} >"$dir/question.sql"
"$(scripts/postgres.sh psql)" "$url" --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 \
  --file=crates/claviger-sql/tests/fixture.sql --file="$dir/question.sql" >crates/claviger-sql/tests/catalog.tsv
