#!/usr/bin/env bash
# Fuzzes every target for so many seconds each.
set -euo pipefail
cd "$(dirname "$0")/.."
for target in fuzz/fuzz_targets/*.rs; do
  fuzz/run "$(basename "$target" .rs)" "${1:-20}"
done
