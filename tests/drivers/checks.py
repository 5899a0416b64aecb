"""What the driver programs share: where to connect, and a count of what was checked.

The programs know nothing of a gateway. They read the PG* variables that every PostgreSQL client reads, and must behave the
same directly and through one.
"""

import os
import sys
import traceback

HOST = os.environ.get("PGHOST", "127.0.0.1")
PORT = int(os.environ.get("PGPORT", "5432"))
USER = os.environ["PGUSER"]
PASSWORD = os.environ["PGPASSWORD"]
DATABASE = os.environ["PGDATABASE"]
SSLMODE = os.environ.get("PGSSLMODE", "prefer")
SSLROOTCERT = os.environ.get("PGSSLROOTCERT")

_passed = 0


def check(what, got, expected):
    """Counts one check, or ends the program."""
    global _passed
    if got != expected:
        raise AssertionError(f"{what}: expected {expected!r}, got {got!r}")
    _passed += 1


def refused(what, error, sqlstate):
    """Checks that an error of the driver carries this SQLSTATE."""
    check(what, getattr(error, "sqlstate", None), sqlstate)


def run(main):
    """Runs a program to its final line."""
    try:
        main()
    except Exception:
        traceback.print_exc()
        sys.exit(f"failed after {_passed} checks")
    print(f"ok {_passed} checks")
