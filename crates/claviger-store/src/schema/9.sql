-- How far time had gone on, for what is given for a time, when that was last written down.
CREATE TABLE steady_time (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    micros INTEGER NOT NULL
) STRICT;
