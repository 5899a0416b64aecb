-- What the names of labels have stood for.
CREATE TABLE bindings (
    database TEXT NOT NULL,
    name TEXT NOT NULL,
    relation INTEGER NOT NULL,
    number INTEGER,
    PRIMARY KEY (database, name)
) STRICT;
