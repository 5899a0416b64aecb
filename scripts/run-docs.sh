#!/usr/bin/env bash
# Runs the examples of the documentation that are marked `sh demo`, file by file, against a fresh demo that is up.
#
# In an example, `! command` means that the command is refused; the shell itself would not mind if it were not.
set -euo pipefail
cd "$(dirname "$0")/.."
[[ -f .demo/env ]] || { echo "start the demo first: DETACH=1 make demo" >&2; exit 1; }

for file in README.md docs/*.md; do
  script=$(awk '/^```sh demo$/ { on = 1; next } /^```$/ { on = 0 } on' "$file" \
    | sed -e ':join' -e '/\\$/ { N; s/\\\n//; b join' -e '}' -e 's/^! \(.*\)$/if \1; then echo "this should have been refused" >\&2; exit 1; fi/')
  [[ -n $script ]] || continue
  echo "== $file"
  bash -euo pipefail -c "$script" </dev/null
done
