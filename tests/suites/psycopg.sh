# psycopg 3: its own tests, with libpq as its binary package ships it.
#
# They are in no package of PyPI's, so they come from its repository. PSYCOPG_SOURCE names a checkout, where that is out of reach.
SERVERS="15 18"
PSYCOPG=3.3.4

obtain() {
  python_suite psycopg "psycopg[binary]==$PSYCOPG" pytest==9.2.0 pytest-timeout==2.4.0 anyio==4.16.0 pproxy==2.7.9 || return 1
  SOURCE=${PSYCOPG_SOURCE:-$CACHE/psycopg-$PSYCOPG}
  [[ -d $SOURCE/tests ]] || git clone --quiet --depth 1 --branch "$PSYCOPG" https://github.com/psycopg/psycopg "$SOURCE" 2>/dev/null
}

suite() {
  local out=$1; shift
  ((${#@})) || set -- tests
  PSYCOPG_TEST_DSN="host=$PGHOST port=$PGPORT user=$PGUSER password=$PGPASSWORD dbname=$PGDATABASE" \
    pytest_suite "$SOURCE" "$out" -m 'not slow' --ignore=tests/pool --ignore=tests/crdb "$@"
}
