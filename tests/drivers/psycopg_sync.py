"""psycopg 3, synchronous, as an ordinary program uses it."""

import datetime
import decimal
import threading
import time
import uuid

import psycopg
from psycopg import pq, sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from checks import check, refused, run


def connect(**options):
    # libpq reads PGHOST, PGPASSWORD, PGSSLROOTCERT and the rest by itself.
    return psycopg.connect("", **options)


def types(conn):
    values = {
        "boolean": True,
        "smallint": -32768,
        "integer": 2147483647,
        "bigint": -9223372036854775808,
        "numeric": decimal.Decimal("12345678901234567890.000000001"),
        "double precision": 1.5e-300,
        "text": "naïve — 日本語 🗝 'quoted' \\ backslash",
        "bytea": bytes(range(256)),
        "date": datetime.date(2024, 2, 29),
        "timestamptz": datetime.datetime(2024, 2, 29, 12, 30, 1, 123456, datetime.timezone.utc),
        "interval": datetime.timedelta(days=3, hours=4, microseconds=5),
        "uuid": uuid.UUID("6f1c9a52-3f35-4f5a-9a30-0d5c5b0b7e11"),
        "integer[]": [1, None, 3],
        "jsonb": {"a": [1, None, "ü"]},
    }
    for binary in (False, True):
        for name, value in values.items():
            given = Jsonb(value) if name == "jsonb" else value
            row = conn.execute(f"select %s::{name}, null::{name}", [given], binary=binary).fetchone()
            check(f"{name}, binary={binary}", row, (value, None))
    check("empty text", conn.execute("select %s::text", [""]).fetchone(), ("",))
    big = "x" * 3_000_000
    check("a large parameter", conn.execute("select length(%s), %s::text", [big, big]).fetchone(), (len(big), big))


def statements(conn):
    cur = conn.cursor(row_factory=dict_row)
    cur.execute("create temp table people (id int primary key, name text not null, born date)")
    check("command tag", cur.statusmessage, "CREATE TABLE")
    cur.executemany("insert into people values (%s, %s, %s)", [(i, f"person {i}", datetime.date(1980, 1, 1)) for i in range(200)])
    check("executemany", cur.rowcount, 200)
    cur.executemany("insert into people values (%s, %s) returning id", [(1000, "a"), (1001, "b")], returning=True)
    returned = []
    while True:
        returned.extend(row["id"] for row in cur.fetchall())
        if not cur.nextset():
            break
    check("executemany returning", returned, [1000, 1001])
    cur.execute("select id, name from people where id = %(id)s", {"id": 7})
    check("named parameters", cur.fetchall(), [{"id": 7, "name": "person 7"}])
    check("description", [column.name for column in cur.description], ["id", "name"])
    check("no rows", cur.execute("select * from people where id = -1").fetchall(), [])
    check("update count", cur.execute("update people set name = upper(name) where id < 10").rowcount, 10)
    query = sql.SQL("select count(*) as n from {}").format(sql.Identifier("people"))
    check("composed", cur.execute(query).fetchone(), {"n": 202})
    # Without parameters psycopg uses the simple protocol, where one message may hold several statements.
    cur.execute("select 1 as a; select 2 as b, 3 as c; select 4 as d where false")
    seen = [cur.fetchall()]
    while cur.nextset():
        seen.append(cur.fetchall())
    check("several statements", seen, [[{"a": 1}], [{"b": 2, "c": 3}], []])
    check("empty statement", cur.execute("").statusmessage, None)
    conn.commit()


def transactions(conn):
    def count():
        return conn.execute("select count(*) from people").fetchone()[0]

    before = count()
    conn.execute("delete from people where id < 50")
    check("inside the transaction", count(), before - 50)
    conn.rollback()
    check("after rollback", count(), before)
    with conn.transaction():
        conn.execute("delete from people where id = 0")
        try:
            with conn.transaction():
                conn.execute("delete from people where id < 20")
                raise psycopg.Rollback()
        finally:
            check("after rollback to the savepoint", count(), before - 1)
    conn.commit()
    check("after commit", count(), before - 1)
    check("in a transaction", conn.info.transaction_status, pq.TransactionStatus.INTRANS)
    conn.commit()
    check("idle after commit", conn.info.transaction_status, pq.TransactionStatus.IDLE)


def errors(conn):
    cases = [
        ("syntax", "selec 1", [], "42601"),
        ("undefined table", "select * from nowhere", [], "42P01"),
        ("division by zero", "select 1 / %s", [0], "22012"),
        ("unique", "insert into people values (%s, 'x')", [7], "23505"),
        ("not null", "insert into people values (%s, null)", [-5], "23502"),
        ("bad input", "select %s::text::int", ["seven"], "22P02"),
    ]
    for what, statement, parameters, state in cases:
        try:
            conn.execute(statement, parameters)
        except psycopg.Error as error:
            refused(what, error, state)
        else:
            raise AssertionError(f"{what}: no error")
        try:
            conn.execute("select 1")
        except psycopg.errors.InFailedSqlTransaction as error:
            refused(f"{what}: the transaction is aborted", error, "25P02")
        conn.rollback()
        check(f"{what}: the session lives", conn.execute("select 1").fetchone(), (1,))
    try:
        conn.execute("insert into people values (7, 'x')")
    except psycopg.errors.UniqueViolation as error:
        check("constraint name", error.diag.constraint_name, "people_pkey")
        check("detail", error.diag.message_detail, "Key (id)=(7) already exists.")
    conn.rollback()


def copy(conn):
    conn.execute("create temp table copied (id int, body text)")
    with conn.cursor() as cur:
        with cur.copy("copy copied from stdin") as into:
            for i in range(5000):
                into.write_row((i, f"row\t{i}\n\\"))
        check("copy in", cur.rowcount, 5000)
        with cur.copy("copy copied from stdin (format binary)") as into:
            into.set_types(["int4", "text"])
            into.write_row((5000, "binary"))
        with cur.copy("copy (select * from copied order by id) to stdout") as out:
            out.set_types(["int4", "text"])
            rows = list(out.rows())
        check("copy out", (len(rows), rows[17], rows[5000]), (5001, (17, "row\t17\n\\"), (5000, "binary")))
        try:
            with cur.copy("copy copied from stdin") as into:
                into.write("not a number\tx\n")
        except psycopg.Error as error:
            refused("bad copy", error, "22P02")
        conn.rollback()
        conn.execute("create temp table copied (id int, body text)")
        try:
            with cur.copy("copy copied from stdin") as into:
                into.write_row((1, "x"))
                raise RuntimeError("changed my mind")
        except RuntimeError:
            pass
        check("an abandoned copy", conn.info.transaction_status, pq.TransactionStatus.INERROR)
        conn.rollback()
    check("after copies", conn.execute("select 1").fetchone(), (1,))
    conn.rollback()


def cursors(conn):
    with conn.cursor(name="walker") as cur:
        cur.itersize = 1000
        cur.execute("select n from generate_series(1, 10500) n")
        check("server-side cursor", sum(n for (n,) in cur), 10500 * 10501 // 2)
    with conn.cursor(name="seeker", scrollable=True) as cur:
        cur.execute("select n from generate_series(1, 100) n")
        cur.scroll(50)
        check("scrolled", cur.fetchone(), (51,))
        cur.scroll(-10)
        check("scrolled back", cur.fetchmany(2), [(42,), (43,)])
    conn.rollback()
    with conn.cursor() as cur:
        total = count = 0
        for n, text in cur.stream("select n, repeat('y', 20) from generate_series(1, 100000) n"):
            total += n
            count += len(text)
        check("100,000 rows, streamed", (total, count), (100000 * 100001 // 2, 2_000_000))
        rows = cur.execute("select n, md5(n::text) from generate_series(1, 100000) n").fetchall()
        check("100,000 rows", (len(rows), rows[-1][0]), (100000, 100000))
    conn.rollback()


def prepared(conn):
    for i in range(20):
        check("prepared", conn.execute("select %s::int * 2", [i], prepare=True).fetchone(), (i * 2,))
    named = conn.execute("select count(*) from pg_prepared_statements where statement like '%* 2'").fetchone()
    check("prepared once", named, (1,))
    conn.rollback()
    conn.execute("deallocate all")
    conn.commit()
    conn.execute("prepare adder (int, int) as select $1 + $2")
    check("SQL-level prepare", conn.execute("execute adder (2, 3)").fetchone(), (5,))
    conn.commit()


def notifications(conn):
    conn.autocommit = True
    conn.execute("listen news")
    with connect(autocommit=True) as other:
        other.execute("select pg_notify('news', 'first')")
        other.execute("notify news, 'second'")
    payloads = [notice.payload for notice in conn.notifies(timeout=10, stop_after=2)]
    check("notifications", payloads, ["first", "second"])
    conn.execute("unlisten *")
    heard = []
    conn.add_notice_handler(lambda diagnostic: heard.append(diagnostic.message_primary))
    conn.execute("do $$ begin raise notice 'a word'; end $$")
    check("notice", heard, ["a word"])
    conn.autocommit = False


def cancel(conn):
    began = time.monotonic()
    timer = threading.Timer(0.5, conn.cancel_safe)
    timer.start()
    try:
        conn.execute("select pg_sleep(60)")
    except psycopg.Error as error:
        refused("cancelled", error, "57014")
    else:
        raise AssertionError("pg_sleep was not cancelled")
    timer.join()
    check("cancelled in time", time.monotonic() - began < 15, True)
    conn.rollback()
    check("after cancel", conn.execute("select 1").fetchone(), (1,))
    conn.rollback()


def newest_protocol(_):
    """libpq 18 offers protocol 3.2, with longer cancel keys, and goes down to what the server speaks."""
    if pq.version() < 180000:
        return
    with connect(max_protocol_version="latest", autocommit=True) as conn:
        timer = threading.Timer(0.3, conn.cancel_safe)
        timer.start()
        try:
            conn.execute("select pg_sleep(60)")
        except psycopg.Error as error:
            refused("cancelled, newest protocol", error, "57014")
        timer.join()
        check("after cancel, newest protocol", conn.execute("select 1").fetchone(), (1,))


def pipeline(conn):
    conn.autocommit = True
    with conn.pipeline():
        answers = [conn.execute("select %s::int", [i]) for i in range(100)]
        check("pipeline", [cur.fetchone()[0] for cur in answers], list(range(100)))
    # An error in the middle, message by message: what follows it up to the Sync is skipped, what follows the Sync runs.
    raw = conn.pgconn
    raw.enter_pipeline_mode()
    for statement in (b"select 'before'", b"select 1 / 0", b"select 'skipped'", None, b"select 'after'", None):
        if statement:
            raw.send_query_params(statement, None)
        else:
            raw.pipeline_sync()
    while raw.flush():
        pass
    seen = []
    while seen.count("PIPELINE_SYNC") < 2:
        result = raw.get_result()
        if result is None:
            continue
        status = pq.ExecStatus(result.status).name
        seen.append(result.get_value(0, 0).decode() if status == "TUPLES_OK" else status)
        if status == "FATAL_ERROR":
            check("the error", result.error_field(pq.DiagnosticField.SQLSTATE), b"22012")
    raw.exit_pipeline_mode()
    check("pipeline with an error", seen, ["before", "FATAL_ERROR", "PIPELINE_ABORTED", "PIPELINE_SYNC", "after", "PIPELINE_SYNC"])
    check("after pipelines", conn.execute("select 1").fetchone(), (1,))
    conn.autocommit = False


def main():
    with connect() as conn:
        for part in (types, statements, transactions, errors, copy, cursors, prepared, notifications, cancel, newest_protocol, pipeline):
            part(conn)
    check("closed", conn.closed, True)


run(main)
