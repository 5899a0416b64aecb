"""psycopg 3 where statements wait for people: the first is approved, the second denied, the third, in a pipeline, approved."""

import psycopg

from checks import check, refused, run


def main():
    notices = []
    with psycopg.connect("") as conn:
        conn.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        conn.execute("select 1")
        cur = conn.execute("update notes set body = %s", ("psycopg",))
        check("approved", cur.rowcount, 5)
        check("told at once", notices, ["this waits for the approval of dbas: many rows"])
        check("the same transaction", conn.info.transaction_status, psycopg.pq.TransactionStatus.INTRANS)
        conn.commit()
        try:
            conn.execute("delete from notes")
            check("let through", True, False)
        except psycopg.Error as error:
            refused("denied", error, "42501")
        check("its transaction has failed", conn.info.transaction_status, psycopg.pq.TransactionStatus.INERROR)
        conn.rollback()
        with conn.pipeline():
            before = conn.execute("select 1")
            held = conn.execute("update notes set body = %s", ("pipeline",))
            after = conn.execute("select count(*) from notes where body = %s", ("pipeline",))
            check("in order", (before.fetchone()[0], held.rowcount, after.fetchone()[0]), (1, 5, 5))


run(main)
