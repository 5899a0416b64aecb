-- What a gateway must not forget when it starts anew: what has been used of budgets, and what principals have seen. Times are in microseconds.
CREATE TABLE memories (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    -- Whose it is: empty if it is shared.
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    began INTEGER NOT NULL,
    until INTEGER NOT NULL,
    -- Six numbers in JSON, or as many as there are.
    amounts TEXT NOT NULL,
    PRIMARY KEY (kind, name, issuer, subject)
) STRICT, WITHOUT ROWID;
