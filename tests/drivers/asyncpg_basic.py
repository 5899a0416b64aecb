"""asyncpg: its own implementation of the protocol, always binary, always prepared."""

import asyncio
import datetime
import decimal
import io
import ssl
import uuid

import asyncpg

import checks
from checks import check, refused, run


def tls():
    """asyncpg takes an SSL context; the words mean what libpq's mean."""
    if checks.SSLMODE in ("verify-ca", "verify-full"):
        context = ssl.create_default_context(cafile=checks.SSLROOTCERT)
        context.check_hostname = checks.SSLMODE == "verify-full"
        return context
    return checks.SSLMODE


async def connect(**options):
    return await asyncpg.connect(host=checks.HOST, port=checks.PORT, user=checks.USER, password=checks.PASSWORD,
                                 database=checks.DATABASE, ssl=tls(), **options)


async def types(conn):
    utc = datetime.timezone.utc
    for name, sent in (
        ("bool", False), ("int2", 12), ("int4", -7), ("int8", 2**62), ("numeric", decimal.Decimal("-0.000001")), ("float8", 2.5),
        ("text", "schlüssel"), ("bytea", b"\x00\x01"), ("date", datetime.date(1999, 12, 31)), ("uuid", uuid.UUID(int=5)),
        ("timestamptz", datetime.datetime(2030, 1, 2, 3, 4, 5, 6, utc)), ("int4[]", [1, 2, None]), ("json", '{"a": 1}'),
    ):
        row = await conn.fetchrow(f"select $1::{name} as given, null::{name} as nothing", sent)
        check(name, (row["given"], row["nothing"]), (sent, None))
    row = await conn.fetchrow("select row(1, 'two'::text) as pair")
    check("record", tuple(row["pair"]), (1, "two"))


async def statements(conn):
    await conn.execute("create temp table people (id serial primary key, name text unique, age int)")
    await conn.executemany("insert into people (name, age) values ($1, $2)", [(f"p{i}", i) for i in range(1000)])
    check("executemany", await conn.fetchval("select count(*) from people"), 1000)
    check("status", await conn.execute("update people set age = age + 1 where age < $1", 10), "UPDATE 10")
    check("returning", await conn.fetchval("insert into people (name) values ('new') returning id"), 1001)
    many = await conn.fetchmany("insert into people (name) values ($1) returning id", [("x",), ("y",)])
    check("fetchmany", [row["id"] for row in many], [1002, 1003])
    check("script", await conn.execute("select 1; delete from people where id > 1001; select 2"), "SELECT 1")
    check("no row", await conn.fetchrow("select * from people where id = 0"), None)
    statement = await conn.prepare("select name from people where id = $1")
    check("parameter type", [p.name for p in statement.get_parameters()], ["int4"])
    check("column", [a.name for a in statement.get_attributes()], ["name"])
    for i in range(1, 50):
        check("prepared", await statement.fetchval(i), f"p{i - 1}")
    rows = await conn.fetch("select n, md5(n::text) as hash from generate_series(1, 100000) n")
    check("100,000 rows", (len(rows), rows[99999]["n"]), (100000, 100000))


async def transactions(conn):
    count = "select count(*) from people"
    before = await conn.fetchval(count)
    transaction = conn.transaction(isolation="serializable")
    await transaction.start()
    await conn.execute("delete from people")
    check("inside", await conn.fetchval(count), 0)
    await transaction.rollback()
    check("rolled back", await conn.fetchval(count), before)
    async with conn.transaction():
        await conn.execute("delete from people where id = 1")
        try:
            async with conn.transaction():
                await conn.execute("delete from people where id = 2")
                await conn.execute("insert into people (name) values ('p5')")
        except asyncpg.UniqueViolationError as error:
            refused("unique, in a savepoint", error, "23505")
            check("constraint", error.constraint_name, "people_name_key")
    check("committed without the savepoint", await conn.fetchval(count), before - 1)


async def errors(conn):
    for statement, arguments, state in (
        ("select 1 / $1::int", (0,), "22012"), ("select * from nowhere", (), "42P01"), ("selec", (), "42601"),
        ("select $1::text::int", ("x",), "22P02"),
    ):
        try:
            await conn.fetch(statement, *arguments)
            raise AssertionError(f"{statement}: no error")
        except asyncpg.PostgresError as error:
            refused(statement, error, state)
        check(f"after {statement}", await conn.fetchval("select 1"), 1)


async def cursors(conn):
    async with conn.transaction():
        total = 0
        async for row in conn.cursor("select n from generate_series(1, 3333) n", prefetch=100):
            total += row["n"]
        check("cursor", total, 3333 * 3334 // 2)
        # A portal that is resumed: each fetch is an Execute with a row limit.
        portal = await conn.cursor("select n from generate_series(1, 10) n")
        check("first part", [r["n"] for r in await portal.fetch(4)], [1, 2, 3, 4])
        check("skipped", await portal.forward(3), 3)
        check("rest", [r["n"] for r in await portal.fetch(100)], [8, 9, 10])


async def copies(conn):
    await conn.execute("create temp table copied (id int, body text)")
    records = [(i, f"body {i}") for i in range(10000)]
    check("copy records in", await conn.copy_records_to_table("copied", records=records), "COPY 10000")
    text = io.BytesIO()
    check("copy out", await conn.copy_from_query("select * from copied where id < $1 order by id", 3, output=text), "COPY 3")
    check("copied text", text.getvalue(), b"0\tbody 0\n1\tbody 1\n2\tbody 2\n")
    source = io.BytesIO(b"5,five\n6,six\n")
    check("copy csv in", await conn.copy_to_table("copied", source=source, format="csv"), "COPY 2")
    try:
        await conn.copy_to_table("copied", source=io.BytesIO(b"x,y\n"), format="csv")
        raise AssertionError("no error")
    except asyncpg.PostgresError as error:
        refused("bad copy", error, "22P02")
    check("after copies", await conn.fetchval("select count(*) from copied"), 10002)


async def notifications(conn):
    heard = asyncio.Queue()

    def hear(_conn, _pid, channel, payload):
        heard.put_nowait((channel, payload))

    await conn.add_listener("bells", hear)
    other = await connect()
    await other.execute("notify bells, 'ding'")
    await other.close()
    check("notification", await asyncio.wait_for(heard.get(), 10), ("bells", "ding"))
    await conn.remove_listener("bells", hear)


async def cancels(conn):
    try:
        await conn.fetch("select pg_sleep(60)", timeout=0.5)
        raise AssertionError("not cancelled")
    except asyncio.TimeoutError:
        pass
    check("after cancel", await conn.fetchval("select 1"), 1)
    try:
        await conn.execute("set statement_timeout = '200ms'")
        await conn.fetch("select pg_sleep(60)")
        raise AssertionError("no timeout")
    except asyncpg.QueryCanceledError as error:
        refused("statement_timeout", error, "57014")
    await conn.execute("reset statement_timeout")


async def pools():
    pool = await asyncpg.create_pool(host=checks.HOST, port=checks.PORT, user=checks.USER, password=checks.PASSWORD,
                                     database=checks.DATABASE, ssl=tls(), min_size=2, max_size=5)
    async with pool:
        # Returning a connection resets it: `select pg_advisory_unlock_all(); close all; unlisten *; reset all`.
        answers = await asyncio.gather(*(pool.fetchval("select $1::int", i) for i in range(40)))
        check("pool", answers, list(range(40)))


async def program():
    conn = await connect(server_settings={"application_name": "asyncpg_basic", "search_path": "public"})
    for part in (types, statements, transactions, errors, cursors, copies, notifications, cancels):
        await part(conn)
    await conn.close()
    await pools()


if __name__ == "__main__":
    run(lambda: asyncio.run(program()))
