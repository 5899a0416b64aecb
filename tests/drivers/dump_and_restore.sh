#!/usr/bin/env bash
# pg_dump and pg_restore, in every format. What they make is put into one directory, so that two ways to a server can be compared
# byte for byte.
#
#   PG_BIN   the directory of the programs
#   OUT      where to put the dumps
set -euo pipefail
dump() { "$PG_BIN/pg_dump" "$@"; }
restore() { "$PG_BIN/pg_restore" "$@"; }
psql() { "$PG_BIN/psql" -Xq -v ON_ERROR_STOP=1 "$@"; }
# Newer ones put a random word about a plain dump.
steady() { sed -E '/^\\(un)?restrict /d'; }

psql <<'SQL'
create schema kept;
create table kept.people (id int primary key, name text, born date, photo bytea);
insert into kept.people select i, 'person ' || i, date '1980-01-01' + i, decode(md5(i::text), 'hex') from generate_series(1, 3000) i;
create table kept.orders (id bigint primary key, person int references kept.people, at timestamptz, more jsonb);
insert into kept.orders select i, i % 3000 + 1, timestamptz '2024-01-01 00:00:00Z' + i * interval '1 minute', jsonb_build_object('n', i) from generate_series(1, 5000) i;
create index on kept.orders (at);
create view kept.recent as select * from kept.orders where at > '2024-01-02';
create function kept.twice(n int) returns int language sql as 'select n * 2';
create sequence kept.counter start 77;
SQL
mkdir -p "$OUT"
dump --schema=kept | steady >"$OUT/plain.sql"
dump --schema=kept --inserts --rows-per-insert=100 | steady >"$OUT/inserts.sql"
dump --schema=kept -Fc >"$OUT/custom.dump"
dump --schema=kept -Fd -j 2 -f "$OUT/directory.dump"

# Each is restored in place of what there was; afterwards it must all be there again.
for format in plain custom directory; do
  psql -c 'drop schema kept cascade' >/dev/null 2>&1
  case $format in
    plain) psql -f "$OUT/plain.sql" >/dev/null ;;
    custom) restore --exit-on-error -d "$PGDATABASE" --single-transaction "$OUT/custom.dump" ;;
    directory) restore --exit-on-error -d "$PGDATABASE" -j 2 "$OUT/directory.dump" ;;
  esac
  dump --schema=kept | steady | cmp - "$OUT/plain.sql"
  psql -Atc "select count(*), sum(length(photo)) from kept.orders join kept.people on people.id = person" | grep -qx '5000|80000'
done
# Without the objects' numbers in the catalog, which each making of them draws anew.
restore -l "$OUT/custom.dump" | sed -E '/^;/d; s/^([0-9]+;) [0-9]+ [0-9]+/\1/' >"$OUT/contents"
restore -f - "$OUT/custom.dump" | steady >"$OUT/custom.sql"
restore -f - "$OUT/directory.dump" | steady >"$OUT/directory.sql"
psql -c 'drop schema kept cascade' >/dev/null 2>&1
echo "ok 7 dumps"
