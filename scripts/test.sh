#!/usr/bin/env bash
# Runs every test: units, architecture, and the gateway between real clients and real servers. Arguments go to the runner.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$(scripts/setup-tests.sh)
eval "$tools"

# The same cases each time, so that a change is judged by what it changed; `bench/soak` draws new ones.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED-20261126}

# nextest comes as a prebuilt program or not at all: building it takes longer than the tests.
if type -P cargo-nextest >/dev/null; then
  exec cargo nextest run --workspace --no-fail-fast "$@"
fi
exec cargo test --workspace --no-fail-fast "$@"
