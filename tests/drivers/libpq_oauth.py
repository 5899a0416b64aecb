"""libpq 18 with OAuth, as a program that gets its tokens by itself uses it: through PQsetAuthDataHook.

psycopg brings libpq along, but not the module that talks to a provider; the hook stands in for it. OAUTH_ISSUER and
OAUTH_TOKEN say what the provider would.
"""

import ctypes
import glob
import os

import psycopg
import psycopg_binary

from checks import DATABASE, HOST, PORT, SSLROOTCERT, check, run

BEARER_TOKEN = 1
CONNECTION_OK = 0


class Request(ctypes.Structure):
    """PGoauthBearerRequest of libpq-fe.h."""

    _fields_ = [
        ("openid_configuration", ctypes.c_char_p),
        ("scope", ctypes.c_char_p),
        ("poll", ctypes.c_void_p),
        ("cleanup", ctypes.c_void_p),
        ("token", ctypes.c_char_p),
        ("user", ctypes.c_void_p),
    ]


HOOK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(Request))


def library():
    libraries = os.path.join(os.path.dirname(os.path.dirname(psycopg_binary.__file__)), "psycopg_binary.libs")
    # Importing psycopg has loaded it, and what it needs.
    libpq = ctypes.CDLL(glob.glob(os.path.join(libraries, "libpq-*.so*"))[0])
    libpq.PQconnectdb.restype = libpq.PQexec.restype = ctypes.c_void_p
    libpq.PQerrorMessage.restype = libpq.PQgetvalue.restype = ctypes.c_char_p
    for name in ("PQstatus", "PQerrorMessage", "PQfinish"):
        getattr(libpq, name).argtypes = [ctypes.c_void_p]
    libpq.PQexec.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    libpq.PQgetvalue.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    return libpq


def main():
    libpq = library()
    issuer, tokens, asked = os.environ["OAUTH_ISSUER"], [os.environ["OAUTH_TOKEN"]], []

    @HOOK
    def hook(kind, _connection, request):
        if kind != BEARER_TOKEN:
            return 0
        asked.append((request.contents.openid_configuration, request.contents.scope))
        request.contents.token = tokens[-1].encode()
        return 1

    libpq.PQsetAuthDataHook(hook)
    well_known = f"{issuer}/.well-known/openid-configuration"
    # Only the server can tell the scope, and only a client that has asked it knows.
    expected = {issuer: (well_known.encode(), b"openid email"), well_known: (well_known.encode(), None)}

    def connect(oauth_issuer):
        asked.clear()
        # No password is to be found anywhere.
        return libpq.PQconnectdb(
            f"host={HOST} port={PORT} dbname={DATABASE} user=alice sslmode=verify-full sslrootcert={SSLROOTCERT} "
            f"require_auth=oauth oauth_issuer={oauth_issuer} oauth_client_id=test".encode()
        )

    # With the issuer alone, a first connection asks the server where to look; with the whole address the first one is enough.
    for oauth_issuer in expected:
        connection = connect(oauth_issuer)
        check("status", (libpq.PQstatus(connection), libpq.PQerrorMessage(connection)), (CONNECTION_OK, b""))
        check("who", libpq.PQgetvalue(libpq.PQexec(connection, b"select current_user"), 0, 0), b"keeper")
        check("asked", asked, [expected[oauth_issuer]])
        libpq.PQfinish(connection)

    tokens.append("not-a-token")
    connection = connect(issuer)
    check("a bad token", libpq.PQstatus(connection) == CONNECTION_OK, False)
    check("is said to be so", b"the token is not a well-formed JWT" in libpq.PQerrorMessage(connection), True)
    libpq.PQfinish(connection)


if __name__ == "__main__":
    os.environ.pop("PGPASSWORD", None)
    run(main)
