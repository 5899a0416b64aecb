"""LangChain's SQLDatabase over SQLAlchemy and psycopg: how an AI agent commonly reads a database.

It reflects the catalog before it asks anything, so it exercises much that an ordinary query does not. It makes a schema of its
own and drops it at the end.
"""

import os

from langchain_community.utilities import SQLDatabase
from sqlalchemy import ForeignKey, String, URL, create_engine, event, exc, func, inspect, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

import checks
from checks import check, refused, run

SCHEMA = f"langchain_{os.getpid()}"


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    books: Mapped[list["Book"]] = relationship(back_populates="author")


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="books")


def address():
    query = {"sslmode": checks.SSLMODE}
    if checks.SSLROOTCERT:
        query["sslrootcert"] = checks.SSLROOTCERT
    return URL.create("postgresql+psycopg", checks.USER, checks.PASSWORD, checks.HOST, checks.PORT, checks.DATABASE, query)


def orm(engine):
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Author(name="Ursula", books=[Book(title="The Dispossessed"), Book(title="Lathe of Heaven")]))
        session.add_all(Author(name=f"author {i}") for i in range(100))
        session.commit()
    with Session(engine) as session:
        author = session.scalars(select(Author).where(Author.name == "Ursula")).one()
        check("relationship", sorted(book.title for book in author.books), ["Lathe of Heaven", "The Dispossessed"])
        session.delete(session.get(Author, 50))
        session.flush()
        check("inside the transaction", session.scalar(select(func.count()).select_from(Author)), 100)
        session.rollback()
        check("rolled back", session.scalar(select(func.count()).select_from(Author)), 101)
    with Session(engine) as session:
        session.add(Author(name="Ursula"))
        try:
            session.commit()
            raise AssertionError("no error")
        except exc.IntegrityError as error:
            refused("unique", error.orig, "23505")
            session.rollback()
        check("the session lives", session.scalar(text("select 1")), 1)
    with engine.connect().execution_options(stream_results=True, yield_per=500) as conn:
        check("streamed", sum(1 for _ in conn.execute(text("select n from generate_series(1, 100000) n"))), 100000)


def reflection(engine):
    inspector = inspect(engine)
    check("tables", sorted(inspector.get_table_names()), ["author", "book"])
    check("columns", [column["name"] for column in inspector.get_columns("book")], ["id", "title", "author_id"])
    check("foreign key", inspector.get_foreign_keys("book")[0]["referred_table"], "author")
    check("unique", inspector.get_unique_constraints("author")[0]["column_names"], ["name"])


def agent(engine):
    database = SQLDatabase(engine, sample_rows_in_table_info=2)
    check("dialect", database.dialect, "postgresql")
    check("usable tables", sorted(database.get_usable_table_names()), ["author", "book"])
    described = database.get_table_info(["book"])
    check("the prompt shows columns", "title VARCHAR NOT NULL" in described, True)
    check("the prompt shows rows", "The Dispossessed" in described, True)
    check("run", database.run("select count(*) from author"), "[(101,)]")
    check("run with parameters", database.run("select name from author where name = :name", parameters={"name": "Ursula"}), "[('Ursula',)]")
    check("one row", database.run("select title from book order by title", fetch="one"), "[('Lathe of Heaven',)]")
    check("an agent's mistake", "UndefinedColumn" in database.run_no_throw("select nope from author"), True)
    check("and its next try", database.run_no_throw("select 1"), "[(1,)]")


def main():
    engine = create_engine(address(), pool_size=2)

    @event.listens_for(engine, "connect")
    def choose_schema(connection, _record):
        connection.execute(f"set search_path to {SCHEMA}")
        connection.commit()

    with engine.begin() as conn:
        conn.execute(text(f"create schema {SCHEMA}"))
    try:
        for part in (orm, reflection, agent):
            part(engine)
    finally:
        with engine.begin() as conn:
            conn.execute(text(f"drop schema {SCHEMA} cascade"))
        engine.dispose()


run(main)
