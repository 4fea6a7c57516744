-- Captures that clients send. The report stands beside what was found, which may go before it.
CREATE TABLE uploads (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id    TEXT    NOT NULL UNIQUE, -- 32 hexadecimal digits
    name       TEXT    NOT NULL,        -- what its client called it; empty if it did not
    state      TEXT    NOT NULL,        -- receiving, received, analysed, failed
    bytes      INTEGER NOT NULL,        -- received
    length     INTEGER,                 -- announced
    sha256     TEXT    UNIQUE,          -- once it is whole
    head       TEXT,                    -- SHA-256 of its first bytes
    added_ns   INTEGER NOT NULL,
    changed_ns INTEGER NOT NULL,
    run        BLOB,                    -- uuid of the run that analyses it, or did
    packets    INTEGER NOT NULL DEFAULT 0,
    wire_bytes INTEGER NOT NULL DEFAULT 0,
    flows      INTEGER NOT NULL DEFAULT 0,
    alerts     INTEGER NOT NULL DEFAULT 0,
    problem    TEXT,                    -- why there is no report
    report     TEXT                     -- JSON
);
CREATE INDEX uploads_by_added ON uploads (added_ns, number);
CREATE INDEX uploads_by_head ON uploads (head);
