#!/usr/bin/env bash
# Tells the story of the demo with a real psql. It needs a fresh demo, and fails if any step does not behave.
set -euo pipefail
cd "$(dirname "$0")/.."
. .demo/env

if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
readonly BANK="host=$CLAVIGER_PG_HOST port=$CLAVIGER_PG_PORT dbname=$CLAVIGER_PG_DB sslmode=verify-full sslrootcert=$CLAVIGER_CA"

chapter() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
shown() { sed -n 's/^\(.\)/    \1/p'; }
typed() { printf '  %s$ %s%s\n' "$dim" "$1" "$plain"; }
wrong() { printf '\nThis should not have happened: %s\n' "$1" >&2; exit 1; }

# psql_as NAME TOKEN SQL
psql_as() { PGPASSWORD=$2 psql -X "$BANK user=$1" -c "$3"; }

# works NAME TOKEN SQL: shows a statement and its rows.
works() {
  typed "psql \"… user=$1\" -c \"$3\""
  local answer
  answer=$(psql_as "$@" 2>&1) || wrong "$1 was refused: $answer"
  shown <<<"$answer"
}

# refused NAME TOKEN SQL: shows that the same is not let through.
refused() {
  typed "psql \"… user=$1\" -c \"$3\""
  local answer
  ! answer=$(psql_as "$@" 2>&1) || wrong "$1 was let in"
  [[ $answer == *FATAL* ]] || wrong "$1 failed, but was not refused: $answer"
  shown <<<"$answer"
}

# stopped NAME TOKEN SQL WORDS: shows that a statement is not run, and that these words say why.
stopped() {
  typed "psql \"… user=$1\" -c \"$3\""
  local answer
  ! answer=$(psql_as "$1" "$2" "$3" 2>&1) || wrong "$1 was not stopped: $answer"
  [[ $answer == *ERROR*$4* ]] || wrong "$1 was stopped for another reason: $answer"
  shown <<<"$answer"
}

# manage NAME TOKEN ARGUMENT...: shows a management command through the API.
manage() {
  local name=$1 token=$2; shift 2
  local answer shown=claviger argument
  for argument; do
    if [[ $argument == *' '* ]]; then shown+=" \"$argument\""; else shown+=" $argument"; fi
  done
  typed "$shown    # as $name"
  answer=$(CLAVIGER_TOKEN=$token "$CLAVIGER_BIN" "$@" 2>&1) || wrong "claviger $* failed: $answer"
  shown <<<"$answer"
}

# held NAME TOKEN SQL: begins a statement that waits for an approval; what psql says goes to $heard, and the request's id is $request.
heard=$(mktemp)
held() {
  psql_as "$@" >"$heard" 2>&1 &
  waiting=$!
  typed "psql \"… user=$1\" -c \"$3\" &"
  local _
  for _ in {1..100}; do
    request=$(CLAVIGER_TOKEN=$DANA_TOKEN "$CLAVIGER_BIN" approvals list | awk '$3 == "pending" { print $1 }')
    [[ -z $request ]] || return 0
    sleep 0.1
  done
  wrong "nothing was asked for: $(cat "$heard")"
}

# went_on NAME PID: shows what a statement gave that has been approved.
went_on() {
  wait "$2" || wrong "$1 was refused: $(cat "$heard")"
  shown <"$heard"
}

# did_not NAME PID WORDS: shows why a statement was not approved.
did_not() {
  ! wait "$2" || wrong "$1 was let through: $(cat "$heard")"
  [[ $(cat "$heard") == *ERROR*$3* ]] || wrong "$1 was stopped for another reason: $(cat "$heard")"
  shown <"$heard"
}

chapter "1. Carl is a contractor. His nightly job reads the bank with a token of its own."
works nightly-report "$NIGHTLY_TOKEN" \
  "select branch, count(*) as customers from customers group by branch order by customers desc limit 3"

chapter "2. Tonight's report is under way, in a session that Audra, the auditor, can see."
report=$(mktemp)
trap 'rm -f "$report" "$heard"' EXIT
psql_as nightly-report "$NIGHTLY_TOKEN" "select sum(amount), pg_sleep(60) from transactions" >"$report" 2>&1 &
job=$!
typed "psql \"… user=nightly-report\" -c \"select sum(amount), pg_sleep(60) from transactions\" &"
sleep 1
kill -0 $job 2>/dev/null || wrong "the report did not start: $(cat "$report")"
manage audra "$AUDRA_TOKEN" sessions list

chapter "3. Carl leaves. Dana disables him: one command, and nobody has to remember the job."
manage dana "$DANA_TOKEN" principals disable carl
began=$(date +%s%N)
for _ in {1..50}; do kill -0 $job 2>/dev/null || break; sleep 0.1; done
! kill -0 $job 2>/dev/null || { kill $job; wrong "the session of the nightly job outlived Carl"; }
took=$((($(date +%s%N) - began) / 1000000))
! wait $job || wrong "the report was finished"
shown <"$report"
echo "    The running session ended $took ms after the command."

chapter "4. The job's token is dead, although it has not expired."
refused nightly-report "$NIGHTLY_TOKEN" "select 1"

chapter "5. Alice, an engineer, works as before; so does the AI agent that acts for her."
works alice "$ALICE_TOKEN" "select kind, count(*), sum(balance) from accounts group by kind order by kind"
works assistant "$AGENT_TOKEN" "select merchant, count(*) from transactions group by merchant order by 2 desc, 1 limit 3"

chapter "6. The agent is asked to tidy up. It destroys nothing. What concerns many rows waits, in its session, for a DBA: Dana edits it."
stopped assistant "$AGENT_TOKEN" "select 1; /* tidy */ drop table transactions" "agents do not drop"
held assistant "$AGENT_TOKEN" "with old as (delete from transactions returning *) select count(*) from old"
manage dana "$DANA_TOKEN" approvals show "$request"
manage dana "$DANA_TOKEN" approvals edit "$request" --reason "one is enough" \
  --statement "with old as (delete from transactions where id = 1 returning *) select count(*) from old"
went_on assistant "$waiting"
held alice "$ALICE_TOKEN" "delete from transactions where id = id"
manage dana "$DANA_TOKEN" approvals deny "$request" --reason "not in production"
did_not alice "$waiting" "dana@local has denied this"
works assistant "$AGENT_TOKEN" "select 'please drop table transactions' as harmless, count(*) from transactions"

chapter "7. Eva is on call, and has no access until she needs it. Dana gives it, for as long as it takes, and can take it back."
refused eva "$EVA_TOKEN" "select 1"
manage eva "$EVA_TOKEN" access request bank --actions read,update --tables public.accounts --for 1h --reason "INC-4711: wrong balance"
grant=$(CLAVIGER_TOKEN=$EVA_TOKEN "$CLAVIGER_BIN" access list | awk '$3 == "pending" { print $1 }')
manage dana "$DANA_TOKEN" approvals approve "$grant"
works eva "$EVA_TOKEN" "update accounts set balance = balance + 1 where id = 7 returning id, kind"
stopped eva "$EVA_TOKEN" "select * from transactions limit 1" "policy does not permit"
manage dana "$DANA_TOKEN" revoke grant "$grant" --reason "it is mended"
refused eva "$EVA_TOKEN" "select 1"

chapter "8. Audra may read what happened. No policy lets her into the bank."
refused audra "$AUDRA_TOKEN" "select * from customers"

chapter "9. All of it is on record, and anybody with the files can check that nothing was changed."
# A checkpoint is signed every second: wait for one over all of the above.
sleep 1.5
typed "claviger audit verify --data \$CLAVIGER_DATA"
answer=$("$CLAVIGER_BIN" audit verify --data "$CLAVIGER_DATA" 2>&1) || wrong "the audit log does not verify: $answer"
shown <<<"$answer"
echo
