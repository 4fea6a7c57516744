-- Work that goes on after its request was answered. A key of a request is known as long as its job.
CREATE TABLE jobs (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    kind        TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    sensor      TEXT    NOT NULL,
    mode        TEXT    NOT NULL,
    run         BLOB    NOT NULL,
    who         TEXT    NOT NULL,
    request     TEXT    NOT NULL,
    progress    TEXT,
    result      TEXT,
    error       TEXT,
    attempts    INTEGER NOT NULL DEFAULT 0,
    created_ns  INTEGER NOT NULL,
    started_ns  INTEGER,
    ended_ns    INTEGER,
    key         TEXT,
    key_sha256  BLOB
);
CREATE INDEX jobs_by_time ON jobs (created_ns, number);
CREATE INDEX jobs_by_end ON jobs (ended_ns, number);
CREATE UNIQUE INDEX jobs_by_key ON jobs (sensor, mode, key) WHERE key IS NOT NULL;
