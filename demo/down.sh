#!/usr/bin/env bash
# Stops the demo. Its audit log and recordings stay in .demo/data until the next start.
set -euo pipefail
cd "$(dirname "$0")/.."

# stop NAME ARGUMENT: ends the program whose process number is in .demo/NAME.pid, and who has this argument: a process number may have
# been given to somebody else since.
stop() {
  [[ -f .demo/$1.pid ]] || return 0
  local pid _; pid=$(cat ".demo/$1.pid")
  rm ".demo/$1.pid"
  if cat "/proc/$pid/cmdline" 2>/dev/null | tr '\0' '\n' | grep -xF "$2" >/dev/null; then
    kill "$pid" || true
    for _ in {1..100}; do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    ! kill -0 "$pid" 2>/dev/null || kill -9 "$pid"
  fi
}

stop claviger "$PWD/.demo/config"
stop model tests/drivers/model_server.py
[[ ! -d .demo/postgres ]] || scripts/postgres.sh remove .demo/postgres
rm -f .demo/env .demo/bank-password .demo/model-key
