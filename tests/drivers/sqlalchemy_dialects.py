"""SQLAlchemy 2.1 over both of its common dialects: psycopg (text and binary, prepared when repeated) and asyncpg (always prepared)."""

import asyncio
import datetime
import decimal
import os
import uuid

from sqlalchemy import (
    ARRAY, URL, Column, ForeignKey, Integer, MetaData, Numeric, String, Table, UniqueConstraint, any_, create_engine, exc, func, insert,
    inspect, select, text, update,
)
from sqlalchemy.dialects.postgresql import INTERVAL, JSONB, TIMESTAMP, UUID, insert as upsert
from sqlalchemy.ext.asyncio import create_async_engine

import checks
from asyncpg_basic import tls
from checks import check, run


def tables(schema):
    metadata = MetaData(schema=schema)
    Table("makers", metadata, Column("id", Integer, primary_key=True), Column("name", String(40), unique=True, nullable=False))
    Table(
        "parts", metadata,
        Column("id", Integer, primary_key=True),
        Column("maker", ForeignKey("makers.id", ondelete="CASCADE")),
        Column("price", Numeric(20, 6)),
        Column("tags", ARRAY(String)),
        Column("more", JSONB),
        Column("made", TIMESTAMP(timezone=True), index=True),
        Column("lasts", INTERVAL),
        Column("serial", UUID),
        UniqueConstraint("maker", "serial", name="one_serial"),
    )
    return metadata


PART = {
    "maker": 1, "price": decimal.Decimal("12.500000"), "tags": ["a", "b"], "more": {"k": [1, None, "ü"]},
    "made": datetime.datetime(2024, 2, 29, 1, 2, 3, 4, datetime.timezone.utc), "lasts": datetime.timedelta(days=3, seconds=5),
    "serial": uuid.UUID(int=7),
}


def exercise(conn, metadata):
    makers, parts = (metadata.tables[f"{metadata.schema}.{name}"] for name in ("makers", "parts"))
    metadata.create_all(conn)
    # One INSERT with many rows, whose new keys come back in order ("insertmanyvalues").
    keys = conn.execute(insert(makers).returning(makers.c.id, sort_by_parameter_order=True), [{"name": f"m{i}"} for i in range(2500)]).scalars().all()
    check("keys", (len(keys), sorted(keys) == keys), (2500, True))
    conn.execute(insert(parts), [PART | {"serial": uuid.UUID(int=i)} for i in range(100)])
    row = conn.execute(select(parts).where(parts.c.serial == PART["serial"])).mappings().one()
    check("values", {name: row[name] for name in PART}, PART)
    again = upsert(makers).values(id=1, name="renamed")
    conn.execute(again.on_conflict_do_update(index_elements=["id"], set_={"name": again.excluded.name}))
    check("upsert", conn.scalar(select(makers.c.name).where(makers.c.id == 1)), "renamed")
    check("update", conn.execute(update(parts).values(price=parts.c.price * 2).where(parts.c.id <= 10)).rowcount, 10)
    joined = select(func.count()).select_from(parts.join(makers)).where(makers.c.name == "renamed", any_(parts.c.tags) == "a")
    check("join", conn.scalar(joined), 100)
    conn.commit()
    with conn.begin():
        try:
            with conn.begin_nested():
                conn.execute(insert(parts), PART)
        except exc.IntegrityError as error:
            check("unique, in a savepoint", getattr(error.orig, "sqlstate", None), "23505")
        check("the transaction lives", conn.scalar(select(func.count()).select_from(parts)), 100)
    for i in range(20):
        check("repeated", conn.scalar(text("select :i + 1").bindparams(i=i)), i + 1)
    conn.commit()
    reflected = MetaData(schema=metadata.schema)
    reflected.reflect(conn)
    check("reflected", sorted(table.name for table in reflected.tables.values()), ["makers", "parts"])
    found = reflected.tables[f"{metadata.schema}.parts"]
    check("types", [str(column.type) for column in found.columns][2:5], ["NUMERIC(20, 6)", "ARRAY", "JSONB"])
    inspector = inspect(conn)
    check("index", inspector.get_indexes("parts", schema=metadata.schema)[0]["column_names"], ["made"])
    check("unique", [c["name"] for c in inspector.get_unique_constraints("parts", schema=metadata.schema)], ["one_serial"])
    check("foreign key", inspector.get_foreign_keys("parts", schema=metadata.schema)[0]["options"], {"ondelete": "CASCADE"})
    conn.commit()
    streaming = {"stream_results": True, "max_row_buffer": 100}
    streamed = conn.execute(text("select n from generate_series(1, 20000) n"), execution_options=streaming)
    check("streamed", sum(n for (n,) in streamed), 20000 * 20001 // 2)
    conn.commit()
    try:
        conn.execute(text("select * from nowhere"))
        raise AssertionError("no error")
    except exc.ProgrammingError as error:
        check("undefined table", getattr(error.orig, "sqlstate", None), "42P01")
        conn.rollback()
    metadata.drop_all(conn)
    conn.commit()


def address(driver, query):
    return URL.create(f"postgresql+{driver}", checks.USER, checks.PASSWORD, checks.HOST, checks.PORT, checks.DATABASE, query)


def psycopg():
    query = {"sslmode": checks.SSLMODE} | ({"sslrootcert": checks.SSLROOTCERT} if checks.SSLROOTCERT else {})
    schema = f"psycopg_{os.getpid()}"
    engine = create_engine(address("psycopg", query), isolation_level="REPEATABLE READ", pool_pre_ping=True)
    with engine.connect() as conn:
        conn.execute(text(f"create schema {schema}"))
        exercise(conn, tables(schema))
        check("isolation", conn.scalar(text("show transaction isolation level")), "repeatable read")
        conn.execute(text(f"drop schema {schema}"))
        conn.commit()
    engine.dispose()


async def asyncpg():
    schema = f"asyncpg_{os.getpid()}"
    engine = create_async_engine(address("asyncpg", {}), connect_args={"ssl": tls()}, pool_pre_ping=True)
    async with engine.connect() as conn:
        await conn.execute(text(f"create schema {schema}"))
        await conn.run_sync(exercise, tables(schema))
        await conn.execute(text(f"drop schema {schema}"))
        await conn.commit()
    await engine.dispose()


def main():
    psycopg()
    asyncio.run(asyncpg())


if __name__ == "__main__":
    run(main)
