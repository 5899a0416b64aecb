#!/usr/bin/env bash
# Makes sure that the tests can run here, and prints the variables that name the tools. Running it again changes nothing.
#
#   eval "$(scripts/setup-tests.sh)"
#
# CLAVIGER_TEST_PG15_BIN   programs of the oldest PostgreSQL that is tested (15, or what the system has)
# CLAVIGER_TEST_PG18_BIN   programs of the newest
# CLAVIGER_TEST_PYTHON     a Python with the drivers of tests/drivers/requirements.txt
# CLAVIGER_TEST_OIDC       a directory with the OpenID provider of tests/oidc/package.json; `node` is on the PATH
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup-build.sh

need openssl openssl
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

need_node
provider=$(cache)/oidc-$(sha256sum tests/oidc/package-lock.json | cut -c1-16)
if [[ ! -d $provider/node_modules ]]; then
  say "installing the OpenID provider into $provider"
  mkdir -p "$provider"
  cp tests/oidc/package.json tests/oidc/package-lock.json "$provider"
  npm ci --prefix "$provider" --no-audit --no-fund --ignore-scripts --loglevel=error >&2
fi

printf 'export %s=%q\n' CLAVIGER_TEST_PG15_BIN "$older" CLAVIGER_TEST_PG18_BIN "$newer" CLAVIGER_TEST_PYTHON "$PWD/.venv/bin/python" CLAVIGER_TEST_OIDC "$provider" PATH "$PATH"
