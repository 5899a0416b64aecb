-- What receivers of webhooks are still to be told. No statement is in it, and no value of one.
CREATE TABLE outbox (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook TEXT NOT NULL,
    id TEXT NOT NULL,
    event TEXT NOT NULL,
    body TEXT NOT NULL,
    made INTEGER NOT NULL,
    next INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    -- Which request for approval, or for access, it is about; the rest is of the first only, as the record names it.
    approval BLOB,
    connection TEXT,
    session BLOB,
    op INTEGER,
    groups TEXT,
    digest BLOB
) STRICT;
CREATE INDEX outbox_order ON outbox (webhook, approval, place);
