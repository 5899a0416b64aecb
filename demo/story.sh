#!/usr/bin/env bash
# Tells the story of the demo with a real psql, and an agent made with LangChain. It needs a fresh demo, and fails if any step does not behave.
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

# agent STATUS ARGUMENT...: runs the agent, shows what it says as it says it, and leaves that in $heard.
agent() {
  local status=$1 argument got=0; shift
  typed "OPENAI_BASE_URL=$CLAVIGER_LLM_URL/v1 OPENAI_API_KEY=… DATABASE_URL=… agent.py $1${2:+ \"$2\"}"
  OPENAI_BASE_URL=$CLAVIGER_LLM_URL/v1 OPENAI_API_KEY=$AGENT_TOKEN OPENAI_MODEL=$CLAVIGER_LLM_MODEL PYTHONWARNINGS=ignore \
    DATABASE_URL="postgresql+psycopg://assistant:$AGENT_TOKEN@$CLAVIGER_PG_HOST:$CLAVIGER_PG_PORT/$CLAVIGER_PG_DB?sslmode=verify-full&sslrootcert=$CLAVIGER_CA" \
    "$DEMO_AGENT" demo/agent.py "$@" 2>&1 | tee "$heard" || got=$?
  [[ $got == "$status" ]] || wrong "the agent ended with $got"
}

# without WORDS...: fails if any of these is in what is read.
without() {
  local words all; all=$(cat)
  for words; do [[ $all != *"$words"* ]] || wrong "\"$words\" has come through"; done
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

if [[ -n ${CLAVIGER_LLM_URL:-} ]]; then
  chapter "9. The agent asks a language model, too: the same way in, the same token, and an address and a key are all that it knows."
  record=$(mktemp)
  CLAVIGER_TOKEN=$AUDRA_TOKEN "$CLAVIGER_BIN" sessions tail >"$record" &
  tail=$!
  trap 'rm -f "$report" "$heard" "$record"; kill "$tail" 2>/dev/null || true' EXIT
  agent 0 summarize "Grace (grace.hopper@example.com, SSN 536-90-4399) asks why card 4111 1111 1111 1111 was declined."
  [[ $(cat "$heard") == *Rows:*\[masked\]* ]] || wrong "the rows are not masked"

  chapter "10. What the model says is masked, though it comes in pieces. Here it has no choice but to say an address."
  agent 0 recite ada.lovelace@example.com
  without ada.lovelace@ lovelace@example <"$heard"

  chapter "11. What the model was told stands in its server's own log: neither who Grace is, nor any key but the gateway's."
  typed "grep -o 'A note by a colleague[^<]*' .demo/model.log"
  answer=$(grep -o 'A note by a colleague[^<]*' .demo/model.log | tail -n 1) || wrong "the model was told nothing"
  [[ $answer == *\[email\]*\[ssn\]*\[credit_card\]* ]] || wrong "the note is not masked: $answer"
  shown <<<"${answer//\\n/$'\n'}"
  without grace.hopper@example.com 536-90-4399 "4111 1111 1111 1111" "$AGENT_TOKEN" <.demo/model.log

  chapter "12. The model calls a tool that it must not call. Nor may the agent look at what others ask of the model's server."
  agent 3 pay
  [[ $(cat "$heard") == *"agents move no money"* ]] || wrong "the call was stopped for another reason"
  typed "curl -H \"Authorization: Bearer …\" $CLAVIGER_LLM_URL/slots    # as the agent"
  answer=$(curl -sS -H "Authorization: Bearer $AGENT_TOKEN" "$CLAVIGER_LLM_URL/slots") || wrong "no answer"
  [[ $answer == *"agents run nothing"* || $answer == *"agents call only"* ]] || wrong "the agent was not stopped, or for another reason: $answer"
  shown <<<"$answer"

  chapter "13. Both ways are in one record: who asked for whom, what was decided, what was masked. Audra looks."
  manage audra "$AUDRA_TOKEN" sessions list --who assistant@local --connection model --all
  typed "claviger sessions tail | demo/record.py    # as audra"
  sleep 1
  kill "$tail" && ! wait "$tail" 2>/dev/null
  answer=$("$DEMO_AGENT" demo/record.py <"$record")
  for words in "public.customers.ssn 2" "invoke transfer_money" "unknown GET /slots" "email 1" "deny by agents-move-no-money"; do
    [[ $answer == *"$words"* ]] || wrong "\"$words\" is not on record"
  done
  shown <<<"$answer"
fi

chapter "$([[ -n ${CLAVIGER_LLM_URL:-} ]] && echo 14 || echo 9). All of it is on record, and anybody with the files can check that nothing was changed."
# A checkpoint is signed every second: wait for one over all of the above.
sleep 1.5
typed "claviger audit verify --data \$CLAVIGER_DATA"
answer=$("$CLAVIGER_BIN" audit verify --data "$CLAVIGER_DATA" 2>&1) || wrong "the audit log does not verify: $answer"
shown <<<"$answer"
echo
