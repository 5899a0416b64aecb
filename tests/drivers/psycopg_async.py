"""psycopg 3, asynchronous: concurrent sessions, pipelines, binary results."""

import asyncio
import datetime
import decimal

import psycopg

from checks import check, refused, run


async def connect(**options):
    return await psycopg.AsyncConnection.connect("", autocommit=True, **options)


async def value(conn, statement, parameters=None, **options):
    cur = await conn.execute(statement, parameters, **options)
    return (await cur.fetchone())[0]


async def binary(conn):
    cur = conn.cursor(binary=True)
    row = (7, 1.25, decimal.Decimal("99.95"), "ключ", b"\x00\xff", datetime.date(2000, 1, 1), [[1, 2], [3, 4]], None)
    await cur.execute("select %b::int, %b::float8, %b::numeric, %b::text, %b::bytea, %b::date, %b::int[][], %b::text", row)
    check("binary both ways", await cur.fetchone(), row)
    await cur.execute("select n::bigint, n::text, n::numeric / 4 from generate_series(1, 100000) n")
    rows = await cur.fetchall()
    check("100,000 binary rows", (len(rows), rows[99999]), (100000, (100000, "100000", decimal.Decimal(25000))))


async def transactions(conn):
    await conn.execute("create temp table ledger (id int primary key, amount numeric)")
    async with conn.transaction():
        async with conn.cursor() as cur:
            await cur.executemany("insert into ledger values (%s, %s)", [(i, i) for i in range(500)])
            check("executemany", cur.rowcount, 500)
    async with conn.transaction(force_rollback=True):
        await conn.execute("delete from ledger")
        check("inside", await value(conn, "select count(*) from ledger"), 0)
    check("rolled back", await value(conn, "select count(*) from ledger"), 500)
    try:
        async with conn.transaction():
            await conn.execute("update ledger set amount = 0")
            await conn.execute("insert into ledger values (1, 1)")
    except psycopg.Error as error:
        refused("unique", error, "23505")
    check("rolled back by an error", await value(conn, "select sum(amount) from ledger"), decimal.Decimal(124750))


async def pipelines(conn):
    async with conn.pipeline():
        answers = [await conn.execute("select %s::int + %s::int", [i, i], binary=True) for i in range(300)]
        check("pipeline", [(await cur.fetchone())[0] for cur in answers], [2 * i for i in range(300)])
    # One Sync, so one implicit transaction: the error in the middle undoes what came before it and skips what comes after.
    try:
        async with conn.pipeline():
            await conn.execute("insert into ledger values (9001, 1)")
            await conn.execute("select %s::text::int", ["x"])
            await conn.execute("insert into ledger values (9002, 1)")
        raise AssertionError("no error")
    except psycopg.Error as error:
        refused("error in a pipeline", error, "22P02")
    check("nothing was done", await value(conn, "select count(*) from ledger where id > 9000"), 0)
    # A Sync between them commits what came before.
    try:
        async with conn.pipeline() as pipe:
            await conn.execute("insert into ledger values (9001, 1)")
            await pipe.sync()
            await conn.execute("select 1 / 0")
        raise AssertionError("no error")
    except psycopg.Error as error:
        refused("error after a Sync", error, "22012")
    check("the first was done", await value(conn, "select count(*) from ledger where id > 9000"), 1)
    # A large statement and a large answer in flight together.
    async with conn.pipeline():
        texts = [await conn.execute("select %s::text || repeat('z', 200000)", ["a" * 200_000]) for _ in range(20)]
        check("large pipeline", {len((await cur.fetchone())[0]) for cur in texts}, {400_000})


async def copies(conn):
    async with conn.cursor() as cur:
        await cur.execute("create temp table copied (id bigint, body text)")
        async with cur.copy("copy copied from stdin (format binary)") as into:
            into.set_types(["int8", "text"])
            for i in range(20000):
                await into.write_row((i, "text"))
        check("copy in", cur.rowcount, 20000)
        size = 0
        async with cur.copy("copy copied to stdout") as out:
            async for block in out:
                size += len(block)
        check("copy out", size, sum(len(f"{i}\ttext\n") for i in range(20000)))


async def cursors(conn):
    async with conn.transaction():
        async with conn.cursor(name="walker", binary=True) as cur:
            cur.itersize = 777
            await cur.execute("select n from generate_series(1, 5000) n")
            check("server-side cursor", sum([n async for (n,) in cur]), 5000 * 5001 // 2)


async def notifications(conn):
    await conn.execute("listen weather")

    async def tell():
        other = await connect()
        async with other:
            for word in ("sun", "rain"):
                await other.execute("select pg_notify('weather', %s)", [word])

    teller = asyncio.create_task(tell())
    check("notifications", [n.payload async for n in conn.notifies(timeout=10, stop_after=2)], ["sun", "rain"])
    await teller
    await conn.execute("unlisten weather")


async def cancels(conn):
    sleeper = asyncio.create_task(conn.execute("select pg_sleep(60)"))
    await asyncio.sleep(0.3)
    await conn.cancel_safe(timeout=10)
    try:
        await sleeper
        raise AssertionError("not cancelled")
    except psycopg.Error as error:
        refused("cancelled", error, "57014")
    # A cancelled task cancels its statement too.
    try:
        await asyncio.wait_for(conn.execute("select pg_sleep(60)"), timeout=0.5)
        raise AssertionError("not timed out")
    except asyncio.TimeoutError:
        pass
    check("after cancels", await value(conn, "select 1"), 1)


async def errors(conn):
    for statement, state in (("select nothing", "42703"), ("select 1/0", "22012"), ("bogus", "42601"), ("select 'x'::int", "22P02")):
        try:
            await conn.execute(statement)
            raise AssertionError(f"{statement}: no error")
        except psycopg.Error as error:
            refused(statement, error, state)
        check(f"after {statement}", await value(conn, "select 1"), 1)


async def concurrent():
    async def one(i):
        conn = await connect()
        async with conn:
            return sum([await value(conn, "select %s::int", [i * 100 + j], prepare=True) for j in range(50)])

    sums = await asyncio.gather(*(one(i) for i in range(8)))
    check("eight sessions at once", sums, [sum(i * 100 + j for j in range(50)) for i in range(8)])


async def program():
    conn = await connect()
    async with conn:
        for part in (binary, transactions, pipelines, copies, cursors, notifications, cancels, errors):
            await part(conn)
    await concurrent()


run(lambda: asyncio.run(program()))
