# PostgreSQL's own isolation tests: several sessions at once, and who waits for whom. Debian ships their runner for its own version.
SERVERS="15"
DATABASES="isolation"

obtain() {
  ISOLATIONTESTER=/usr/lib/postgresql/15/lib/pgxs/src/test/isolation/isolationtester
  [[ -x $ISOLATIONTESTER ]] || packages postgresql-client-15 && [[ -x $ISOLATIONTESTER ]] && postgres_source 15 isolation
}

suite() {
  local out=$1 source=$CACHE/postgresql-15/src/test/isolation
  regression_database "$(scripts/postgres.sh find 15)" isolation
  rm -rf "$out.files"
  python3 tests/suites/regress.py "$out" "$source" "$out.files" isolation_schedule spec "$ISOLATIONTESTER" dbname=isolation
}
