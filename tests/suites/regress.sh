# PostgreSQL's own regression tests, from Debian's source package of the same major version. They need a superuser.
SERVERS="15"
DATABASES="regression"

obtain() {
  need cc build-essential
  local major
  for major in $SERVERS; do postgres_source "$major" regress || return 1; done
}

suite() {
  local out=$1 bin shared work=$WORLD/server/regress
  bin=$(scripts/postgres.sh find "$MAJOR")
  # The server reads and writes files too, as another user.
  work=$(mktemp -d /var/tmp/claviger-regress.XXXXXX)
  chmod 777 "$work"
  mkdir "$work/results"
  chmod 777 "$work/results"
  cp -r "$CACHE/postgresql-$MAJOR/src/test/regress" "$work/source"
  # What some tests load beside it.
  cp "$("$bin/pg_config" --pkglibdir)"/{autoinc,refint}.so "$work"
  build_against_server "$bin" -shared -fPIC -o "$work/regress.so" "$work/source/regress.c"
  chmod -R a+rX "$work"
  regression_database "$bin" regression
  export PG_ABS_SRCDIR=$work/source PG_ABS_BUILDDIR=$work PG_LIBDIR=$work PG_DLSUFFIX=.so
  python3 tests/suites/regress.py "$out" "$work/source" "$work/results" parallel_schedule sql \
    "$bin/psql" -X -a -q -d regression -v HIDE_TABLEAM=on -v HIDE_TOAST_COMPRESSION=on
  rm -rf "$out.files"
  mkdir "$out.files"
  cp "$work"/results/*.out "$work"/results/*.diff "$out.files" 2>/dev/null || true
  rm -rf "$work"
}
