-- What has a label by its name has passed it on to others, which keep it: a name may stand for several.
CREATE TABLE bound (
    database TEXT NOT NULL,
    name TEXT NOT NULL,
    relation INTEGER NOT NULL,
    number INTEGER
) STRICT;
INSERT INTO bound SELECT database, name, relation, number FROM bindings;
DROP TABLE bindings;
ALTER TABLE bound RENAME TO bindings;
CREATE INDEX bindings_of_database ON bindings (database);
