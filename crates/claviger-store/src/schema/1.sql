-- Times are microseconds since 1970. A principal is (issuer's name, subject).

CREATE TABLE principals (
    issuer          TEXT NOT NULL,
    subject         TEXT NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('user', 'workload')),
    display         TEXT,
    groups          TEXT NOT NULL, -- JSON array
    sponsor_issuer  TEXT,
    sponsor_subject TEXT,
    created         INTEGER NOT NULL,
    disabled        INTEGER,       -- since when
    PRIMARY KEY (issuer, subject),
    CHECK ((sponsor_issuer IS NULL) = (sponsor_subject IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE delegations (
    actor_issuer    TEXT NOT NULL,
    actor_subject   TEXT NOT NULL,
    for_issuer      TEXT NOT NULL,
    for_subject     TEXT NOT NULL,
    created         INTEGER NOT NULL,
    PRIMARY KEY (actor_issuer, actor_subject, for_issuer, for_subject)
) STRICT, WITHOUT ROWID;

-- Tokens that the local issuer gave out. Their text is not here, only its digest.
CREATE TABLE tokens (
    id              TEXT PRIMARY KEY,
    sha256          BLOB NOT NULL CHECK (length(sha256) = 32),
    issuer          TEXT NOT NULL,
    subject         TEXT NOT NULL,
    actor           TEXT,          -- the subject of the current actor, of the same issuer
    purpose         TEXT,
    issued          INTEGER NOT NULL,
    expires         INTEGER NOT NULL,
    issued_by       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_by_subject ON tokens (issuer, subject);

-- Tokens of any issuer that are no longer accepted.
CREATE TABLE revocations (
    issuer          TEXT NOT NULL,
    token           TEXT NOT NULL,
    revoked         INTEGER NOT NULL,
    revoked_by      TEXT NOT NULL,
    expires         INTEGER,       -- of the token, if known
    PRIMARY KEY (issuer, token)
) STRICT, WITHOUT ROWID;

-- The private halves are files.
CREATE TABLE issuer_keys (
    seq             INTEGER PRIMARY KEY,
    kid             TEXT NOT NULL UNIQUE,
    created         INTEGER NOT NULL,
    retired         INTEGER
) STRICT;

-- An index that can be built again from the audit log.
CREATE TABLE sessions (
    id              TEXT PRIMARY KEY,
    who             TEXT NOT NULL,
    sponsor         TEXT,
    connection      TEXT NOT NULL,
    client          TEXT NOT NULL,
    opened          INTEGER NOT NULL,
    closed          INTEGER,
    reason          TEXT,
    operations      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_live ON sessions (id) WHERE closed IS NULL;

-- Grows with every change of what decides who is let in, whichever program makes it.
CREATE TABLE change (
    one             INTEGER PRIMARY KEY CHECK (one = 1),
    epoch           INTEGER NOT NULL
) STRICT;

INSERT INTO change VALUES (1, 1);

CREATE TRIGGER principals_insert AFTER INSERT ON principals BEGIN UPDATE change SET epoch = epoch + 1; END;
CREATE TRIGGER principals_update AFTER UPDATE ON principals BEGIN UPDATE change SET epoch = epoch + 1; END;
CREATE TRIGGER principals_delete AFTER DELETE ON principals BEGIN UPDATE change SET epoch = epoch + 1; END;
CREATE TRIGGER delegations_insert AFTER INSERT ON delegations BEGIN UPDATE change SET epoch = epoch + 1; END;
CREATE TRIGGER delegations_update AFTER UPDATE ON delegations BEGIN UPDATE change SET epoch = epoch + 1; END;
CREATE TRIGGER delegations_delete AFTER DELETE ON delegations BEGIN UPDATE change SET epoch = epoch + 1; END;
CREATE TRIGGER revocations_insert AFTER INSERT ON revocations BEGIN UPDATE change SET epoch = epoch + 1; END;
CREATE TRIGGER revocations_update AFTER UPDATE ON revocations BEGIN UPDATE change SET epoch = epoch + 1; END;
CREATE TRIGGER revocations_delete AFTER DELETE ON revocations BEGIN UPDATE change SET epoch = epoch + 1; END;
CREATE TRIGGER issuer_keys_insert AFTER INSERT ON issuer_keys BEGIN UPDATE change SET epoch = epoch + 1; END;
CREATE TRIGGER issuer_keys_update AFTER UPDATE ON issuer_keys BEGIN UPDATE change SET epoch = epoch + 1; END;
CREATE TRIGGER issuer_keys_delete AFTER DELETE ON issuer_keys BEGIN UPDATE change SET epoch = epoch + 1; END;
