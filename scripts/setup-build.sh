#!/usr/bin/env bash
# Makes sure that Claviger can be built here: a C compiler, libclang and a recent enough Rust. Prints nothing if all is there.
#
# Source it, so that a Rust that it installs is on the PATH.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rust_wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "${BASH_SOURCE[0]}")/../Cargo.toml")

rust_suffices() {
  local have; have=$(cargo --version 2>/dev/null | cut -d' ' -f2) && [[ -n $have ]] \
    && [[ $(printf '%s\n' "$rust_wanted" "$have" | sort -V | head -1) == "$rust_wanted" ]]
}

# PostgreSQL's grammar is C, and libclang reads what it declares. libclang-cpp, which LLVM's own tools bring along, is another library.
libclang() {
  local place
  [[ -z ${LIBCLANG_PATH:-} ]] || return 0
  for place in /usr/lib/llvm-*/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/local/lib /opt/homebrew/opt/llvm/lib /Library/Developer/CommandLineTools/usr/lib; do
    if compgen -G "$place/libclang.*" >/dev/null || compgen -G "$place/libclang-[0-9]*" >/dev/null; then return 0; fi
  done
  return 1
}

# From PyPI for who may not install packages: the library without its headers, for which the compiler's own do.
libclang_from_pypi() {
  local dir; dir=$(cache)/libclang
  venv "$dir" && "$dir/bin/pip" install --quiet libclang==18.1.1 >&2 || return 1
  LIBCLANG_PATH=$(echo "$dir"/lib/python3*/site-packages/clang/native)
  BINDGEN_EXTRA_CLANG_ARGS="-I$(cc -print-file-name=include)"
  export LIBCLANG_PATH BINDGEN_EXTRA_CLANG_ARGS
}

need cc build-essential
libclang || packages libclang-dev || libclang_from_pypi || die "libclang is needed (Debian: apt-get install libclang-dev)"
if ! rust_suffices && [[ -x $HOME/.cargo/bin/cargo ]]; then export PATH=$HOME/.cargo/bin:$PATH; fi
if ! rust_suffices; then
  need curl curl ca-certificates
  say "installing Rust with rustup into ~/.cargo"
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y -q --profile minimal -c rustfmt -c clippy --no-modify-path >&2 || true
  export PATH=$HOME/.cargo/bin:$PATH
  rust_suffices || die "Rust $rust_wanted or newer is needed: https://rustup.rs"
fi
