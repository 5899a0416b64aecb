-- The latest time that those who use consents went by: a clock that is set back while no gateway runs revives none.
CREATE TABLE latest_time (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    micros INTEGER NOT NULL
) STRICT;
