#!/usr/bin/env bash
# Every relative link in our Markdown leads to a file.
set -euo pipefail
cd "$(dirname "$0")/.."
broken=0
while IFS=: read -r file link; do
  target=${link%%#*}
  if [[ -n $target && ! -e $(dirname "$file")/$target ]]; then
    echo "$file: no such file: $target" >&2
    broken=1
  fi
done < <(git ls-files -co --exclude-standard '*.md' | xargs grep -oHE '\]\([^)]+\)' | sed -E 's/\]\(([^)]+)\)$/\1/' | grep -vE ':(https?|mailto):' || true)
exit $broken
