#!/usr/bin/env bash
# Makes sure that Claviger can be built here: a C compiler and a recent enough Rust. Prints nothing if all is there.
#
# Source it, so that a Rust that it installs is on the PATH.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rust_wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "${BASH_SOURCE[0]}")/../Cargo.toml")

rust_suffices() {
  local have; have=$(cargo --version 2>/dev/null | cut -d' ' -f2) && [[ -n $have ]] \
    && [[ $(printf '%s\n' "$rust_wanted" "$have" | sort -V | head -1) == "$rust_wanted" ]]
}

need cc build-essential
if ! rust_suffices && [[ -x $HOME/.cargo/bin/cargo ]]; then export PATH=$HOME/.cargo/bin:$PATH; fi
if ! rust_suffices; then
  need curl curl ca-certificates
  say "installing Rust with rustup into ~/.cargo"
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y -q --profile minimal -c rustfmt -c clippy --no-modify-path >&2 || true
  export PATH=$HOME/.cargo/bin:$PATH
  rust_suffices || die "Rust $rust_wanted or newer is needed: https://rustup.rs"
fi
