-- What a gateway must not forget when it starts anew: what has been used of budgets, and what principals have seen. Times are in microseconds.
CREATE TABLE memories (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    -- Whose it is: empty if it is shared.
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    began INTEGER NOT NULL,
    until INTEGER NOT NULL,
    -- Numbers in JSON: of a budget its requests, tokens in and out, cost, rows and bytes; of filters the statements; of what was seen none.
    amounts TEXT NOT NULL,
    PRIMARY KEY (kind, name, issuer, subject)
) STRICT, WITHOUT ROWID;
