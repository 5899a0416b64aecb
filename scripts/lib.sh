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
