-- Consents that nobody waits for. What they are about is in no column, only a keyed digest of it.
CREATE TABLE consents (
    id BLOB PRIMARY KEY,
    digest BLOB NOT NULL,
    groups TEXT NOT NULL,
    who TEXT NOT NULL,
    connection TEXT NOT NULL,
    session BLOB NOT NULL,
    op INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT;
