# libpq's own test of pipelines, with libpq as it comes with the server.
SERVERS="15 18"

obtain() {
  need cc build-essential
  local major
  for major in $SERVERS; do postgres_source "$major" modules/libpq_pipeline || return 1; done
}

suite() {
  local out=$1 bin name program=$WORLD/libpq_pipeline
  bin=$(scripts/postgres.sh find "$MAJOR")
  build_against_server "$bin" -no-pie -o "$program" "$CACHE/postgresql-$MAJOR/src/test/modules/libpq_pipeline/libpq_pipeline.c" \
    -L"$("$bin/pg_config" --libdir)" -L"$("$bin/pg_config" --pkglibdir)" -lpq -lpgcommon -lpgport -lm -Wl,-rpath,"$("$bin/pg_config" --libdir)"
  for name in $("$program" tests); do
    if timeout 120 "$program" -r 700 "$name" "dbname=postgres" >&2; then echo "ok	$name"; else echo "not ok	$name"; fi >>"$out"
  done
}
