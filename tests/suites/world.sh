# A fresh server of the version $MAJOR, and Claviger before it in mode `record`. Source it after scripts/lib.sh, from the root.

WORLD=${WORLD:-$PWD/target/suites}
readonly WORLD
# Suites and what they need are kept from run to run, where the account that runs a server can read them.
CACHE=$(scripts/postgres.sh cache)/suites
readonly CACHE

build() {
  CLAVIGER=${CLAVIGER_BIN:-}
  if [[ -n $CLAVIGER ]]; then return; fi
  . scripts/setup-build.sh
  say "building Claviger"
  cargo build --release --quiet -p claviger
  CLAVIGER=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/claviger
}

world_up() {
  world_down
  rm -rf "$WORLD/gateway"
  (umask 077; mkdir -p "$WORLD/gateway/policies")
  chmod 711 "$WORLD"
  SERVER_PORT=$(scripts/postgres.sh free-port 27432)
  PG_BIN=$(scripts/postgres.sh find "$MAJOR") scripts/postgres.sh start "$WORLD/server" "$SERVER_PORT" \
    -c fsync=off -c max_connections=200 -c max_prepared_transactions=20 -c wal_level=logical
  GATEWAY_PORT=$(scripts/postgres.sh free-port $((SERVER_PORT + 1)))
  local tls=disable
  SERVER_CA=$WORLD/server/data/server.crt
  if [[ -f $SERVER_CA ]]; then tls=require; else SERVER_CA=; fi
  cat >"$WORLD/gateway/claviger.toml" <<CONF
data = "data"
[tls]
certificate = "cert.pem"
key = "key.pem"
[issuer]
url = "https://claviger.internal"
audience = "claviger"
[recording]
response = "first 256KiB"
[[listeners]]
kind = "postgres"
listen = "127.0.0.1:$GATEWAY_PORT"
plaintext = true
CONF
  local database
  for database in postgres ${DATABASES:-}; do
    cat >>"$WORLD/gateway/claviger.toml" <<CONF
[[connections]]
name = "$database"
kind = "postgres"
mode = "record"
address = "127.0.0.1:$SERVER_PORT"
database = "$database"
user = "postgres"
password = "file:$WORLD/server/password"
tls = "$tls"
CONF
  done
  : >"$WORLD/gateway/policies/none.cedar"
  claviger tls self-signed --out "$WORLD/gateway" --host localhost --host 127.0.0.1 >/dev/null
  claviger check --config "$WORLD/gateway" >/dev/null
  claviger principals add user postgres --config "$WORLD/gateway" >/dev/null
  TOKEN=$(claviger token issue postgres --ttl 12h --config "$WORLD/gateway")
  setsid "$CLAVIGER" serve --config "$WORLD/gateway" >"$WORLD/gateway/claviger.log" 2>&1 </dev/null &
  GATEWAY=$!
  local _
  for _ in {1..100}; do
    if (client through; "$(scripts/postgres.sh psql)" -qXc 'select 1') >"$WORLD/setup.log" 2>&1; then return; fi
    sleep 0.1
  done
  cat "$WORLD/setup.log" "$WORLD/gateway/claviger.log" >&2
  die "the gateway does not serve"
}

claviger() { "$CLAVIGER" "$@" 2>"$WORLD/setup.log" || { cat "$WORLD/setup.log" >&2; return 1; }; }

# client direct|through: what every PostgreSQL client reads.
client() {
  unset "${!PG@}"
  export PGHOST=localhost PGUSER=postgres PGDATABASE=postgres PGSSLMODE=disable MAJOR
  if [[ $1 == direct ]]; then
    export PGPORT=$SERVER_PORT PGPASSWORD PGSSLROOTCERT=$SERVER_CA
    PGPASSWORD=$(cat "$WORLD/server/password")
  else
    export PGPORT=$GATEWAY_PORT PGPASSWORD=$TOKEN PGSSLROOTCERT=$WORLD/gateway/ca.pem
  fi
  if [[ -n $SERVER_CA ]]; then export PGSSLMODE=verify-full; else unset PGSSLROOTCERT; fi
}

# The gateway has outlived the suite, and its record is whole.
still_sound() {
  kill -0 "$GATEWAY" 2>/dev/null || { tail -n 30 "$WORLD/gateway/claviger.log" >&2; die "the gateway has died"; }
  stop_gateway
  "$CLAVIGER" audit verify --data "$WORLD/gateway/data" >"$WORLD/verified" || { tail -n 30 "$WORLD/verified" >&2; die "the record is not sound"; }
}

stop_gateway() {
  [[ -n ${GATEWAY:-} ]] || return 0
  kill "$GATEWAY" 2>/dev/null || true
  wait "$GATEWAY" 2>/dev/null || true
  GATEWAY=
}

world_down() {
  stop_gateway
  [[ ! -d $WORLD/server ]] || scripts/postgres.sh remove "$WORLD/server"
}

# python_suite NAME REQUIREMENT...: a Python of its own for a suite, in $PYTHON.
python_suite() {
  local venv=$CACHE/$1; shift
  venv "$venv"
  if [[ $(cat "$venv/installed" 2>/dev/null) != "$*" ]]; then
    say "installing $*"
    "$venv/bin/pip" install --quiet "$@" >&2 || return 1
    echo "$*" >"$venv/installed"
  fi
  PYTHON=$venv/bin/python
}

# pytest_suite DIR OUT ARGUMENT...: runs pytest there, with the outcome of each test written to OUT.
pytest_suite() {
  local dir=$1 out=$2; shift 2
  (cd "$dir" && PYTHONPATH=$OLDPWD/tests/suites OUTCOMES=$out timeout 1200 "$PYTHON" -m pytest -p outcomes -q --tb=native --timeout=120 "$@")
}

# source_of_pypi NAME VERSION PART...: unpacks these parts of a source package of PyPI's into $CACHE.
source_of_pypi() {
  local dir name=$1-$2 package=$1==$2; shift 2
  dir=$(mktemp -d)
  "$PYTHON" -m pip download --quiet --no-deps --no-binary :all: --dest "$dir" "$package" >&2 && tar -xf "$dir"/*.tar.gz -C "$CACHE" "${@/#/$name/}"
  local status=$?
  rm -rf "$dir"
  return $status
}

# postgres_source MAJOR PART: unpacks a part of src/test of Debian's source package into $CACHE/postgresql-MAJOR.
postgres_source() {
  local dir=$CACHE/postgresql-$1 apt=$CACHE/apt suite
  [[ -d $dir/src/test/$2 ]] && return
  # A new release of Debian has the newest server's source, an old one the oldest's; neither needs to be the machine's own.
  mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$dir"
  for suite in bookworm trixie forky sid; do
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main"
  done >"$apt/sources.list"
  local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$apt/lists"
    -o "Dir::Cache=$apt" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" -qq update || true
  (cd "$apt" && apt-get "${options[@]}" -qq --download-only source "postgresql-$1") >&2 || return 1
  tar -xf "$apt/postgresql-$1"_*.orig.tar.* -C "$dir" --strip-components 1 --wildcards "*/src/test/$2" || return 1
}

# build_against_server BIN ARGUMENT...: the C compiler, with the server's headers.
build_against_server() {
  local config=$1/pg_config; shift
  [[ -f $("$config" --includedir-server)/postgres.h ]] || packages postgresql-server-dev-15 libpq-dev
  cc -O1 -w -I"$("$config" --includedir-server)" -I"$("$config" --includedir)" -I"$("$config" --pkgincludedir)/internal" "$@"
}

# regression_database BIN NAME: the database that pg_regress makes, and its settings.
regression_database() {
  export PGTZ=America/Los_Angeles PGDATESTYLE="Postgres, MDY" PGOPTIONS="-c intervalstyle=postgres_verbose" LC_MESSAGES=C LANG=C
  [[ $MAJOR != 15 ]] || PGTZ=PST8PDT
  unset LC_ALL LANGUAGE
  "$1/psql" -qX -c "create database $2 template template0" -c "alter database $2 set lc_messages to 'C'" \
    -c "alter database $2 set lc_monetary to 'C'" -c "alter database $2 set lc_numeric to 'C'" -c "alter database $2 set lc_time to 'C'" \
    -c "alter database $2 set bytea_output to 'hex'" -c "alter database $2 set timezone_abbreviations to 'Default'"
}
