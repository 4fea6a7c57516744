-- Who may use the API. Of a token only its SHA-256 is kept. Rows stay when a token is revoked or over: once there was one, one is demanded.
CREATE TABLE api_tokens (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    -- A JSON array of names of interfaces; NULL for all.
    scope TEXT,
    created_ns INTEGER NOT NULL,
    expires_ns INTEGER,
    revoked_ns INTEGER,
    used_ns INTEGER
);

-- Every change that somebody made. Rows are added, and the oldest go when there are more than 100,000: nothing else changes them.
CREATE TABLE audit_log (
    id INTEGER PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    who TEXT NOT NULL,
    role TEXT NOT NULL,
    origin TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    before TEXT,
    after TEXT
);
CREATE INDEX audit_log_by_time ON audit_log (at_ns, id);
CREATE TRIGGER audit_log_is_not_changed BEFORE UPDATE ON audit_log
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_log_is_not_deleted BEFORE DELETE ON audit_log
    WHEN OLD.id > (SELECT max(id) FROM audit_log) - 100000
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
