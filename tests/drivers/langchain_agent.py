"""LangChain's SQLDatabase as an AI agent has it that only asks: it learns what there is, and queries.

It makes nothing: it reads the table `customers` of three rows that the tests' servers have.
"""

from langchain_community.utilities import SQLDatabase
from sqlalchemy import URL, create_engine

import checks
from checks import check, run


def address():
    query = {"sslmode": checks.SSLMODE}
    if checks.SSLROOTCERT:
        query["sslrootcert"] = checks.SSLROOTCERT
    return URL.create("postgresql+psycopg", checks.USER, checks.PASSWORD, checks.HOST, checks.PORT, checks.DATABASE, query)


def main():
    engine = create_engine(address(), pool_size=2)
    database = SQLDatabase(engine, sample_rows_in_table_info=2)
    check("usable tables", "customers" in database.get_usable_table_names(), True)
    described = database.get_table_info(["customers"])
    check("the prompt shows columns", "name TEXT NOT NULL" in described, True)
    check("the prompt shows rows", "Bela" in described, True)
    check("counted", database.run("select count(*) from customers"), "[(3,)]")
    check("parameters", database.run("select name from customers where id = :id", parameters={"id": 1}), "[('Ada',)]")
    check("sorted and cut", database.run("select name from customers order by name desc limit 2"), "[('Cleo',), ('Bela',)]")
    check("grouped", database.run("select ssn is null, count(*) from customers group by 1 order by 1"), "[(False, 2), (True, 1)]")
    check("an agent's mistake", "UndefinedColumn" in database.run_no_throw("select nope from customers"), True)
    check("another", "UndefinedTable" in database.run_no_throw("select 1 from nope"), True)
    check("a third", "SyntaxError" in database.run_no_throw("selec 1"), True)
    check("what it may not", "InsufficientPrivilege" in database.run_no_throw("drop table customers"), True)
    check("and its next try", database.run_no_throw("select 1"), "[(1,)]")
    engine.dispose()


run(main)
