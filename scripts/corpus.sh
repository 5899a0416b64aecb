#!/usr/bin/env bash
# Plays a corpus of statements through a fresh gateway before a fresh server, and prints a line for each case and one for all.
#
#   make corpus FILE=tests/corpus/policy.yaml
#
# FIXTURE=FILE   what the database holds, if it is not the fixture.sql beside the corpus
# MAJOR=15|18    the server's version
#
# Ends with a status other than 0 if a case does not come out as it is to.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup-build.sh

file=${1:-}
[[ -n $file ]] || die "make corpus FILE=... (see docs/corpus.md)"
# Make runs here; its caller may have meant his own directory.
file=$(realpath "$file")
[[ -r $file ]] || die "there is no $file"
CORPUS_FILE=$file
CORPUS_FIXTURE=$(realpath "${FIXTURE:-$(dirname "$file")/fixture.sql}")
[[ -r $CORPUS_FIXTURE ]] || die "there is no $CORPUS_FIXTURE"
CORPUS_MAJOR=${MAJOR:-15}
need openssl openssl
CLAVIGER_TEST_PG15_BIN=$(scripts/postgres.sh find 15 2>/dev/null || scripts/postgres.sh find)
if [[ $CORPUS_MAJOR == 18 ]]; then CLAVIGER_TEST_PG18_BIN=$(scripts/postgres.sh find 18); export CLAVIGER_TEST_PG18_BIN; fi
export CORPUS_FILE CORPUS_FIXTURE CORPUS_MAJOR CLAVIGER_TEST_PG15_BIN

say "building"
cargo test --quiet -p claviger --test it --no-run >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The report comes here line by line; what the test's own frame says is of interest only if the test did not get to its end.
status=0
CORPUS_REPORT=/dev/fd/3 cargo test --quiet -p claviger --test it -- --ignored --exact --nocapture corpus::of_a_file 3> >(tee "$log.report") >"$log" 2>&1 || status=$?
wait
if ! grep -q '^[0-9]* cases, ' "$log.report"; then tail -n 40 "$log" >&2; fi
rm -f "$log.report"
exit $status
