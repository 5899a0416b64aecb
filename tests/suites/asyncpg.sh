# asyncpg: its source package brings its tests along. Beside them it would be taken for the installed package.
SERVERS="15 18"
DATABASES="asyncpg_intro_test testdb"
ASYNCPG=0.32.0

obtain() {
  python_suite asyncpg "asyncpg==$ASYNCPG" pytest==9.2.0 pytest-timeout==2.4.0 distro==1.9.0 uvloop==0.23.0 || return 1
  SOURCE=$CACHE/asyncpg-$ASYNCPG
  [[ -d $SOURCE/tests ]] || source_of_pypi asyncpg "$ASYNCPG" tests pyproject.toml README.rst
}

suite() {
  local out=$1; shift
  ((${#@})) || set -- tests
  pytest_suite "$SOURCE" "$out" "$@"
}
