-- Access for a time: requests for it and grants, each with all that is known of it.
CREATE TABLE grants (
    id BLOB PRIMARY KEY,
    facts TEXT NOT NULL
) STRICT;
