-- What the command line did on this machine and the gateway has not yet taken into its log.
CREATE TABLE noted_acts (
    id              INTEGER PRIMARY KEY,
    time            INTEGER NOT NULL,
    action          TEXT NOT NULL,
    target          TEXT NOT NULL
) STRICT;

-- The gateway hears of an act as it hears of everything else.
CREATE TRIGGER noted_acts_insert AFTER INSERT ON noted_acts BEGIN UPDATE change SET epoch = epoch + 1; END;
