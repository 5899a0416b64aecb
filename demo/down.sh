#!/usr/bin/env bash
# Stops the demo. Its audit log and recordings stay in .demo/data until the next start.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ -f .demo/claviger.pid ]]; then
  pid=$(cat .demo/claviger.pid)
  rm .demo/claviger.pid
  # A process number may have been given to somebody else since.
  if cat "/proc/$pid/cmdline" 2>/dev/null | tr '\0' '\n' | grep -xF "$PWD/.demo/config" >/dev/null; then
    kill "$pid" || true
    for _ in {1..100}; do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    ! kill -0 "$pid" 2>/dev/null || kill -9 "$pid"
  fi
fi
[[ ! -d .demo/postgres ]] || scripts/postgres.sh remove .demo/postgres
rm -f .demo/env .demo/bank-password
