-- How far each webhook of a sensor has followed the event log, and the events that it did not take.
CREATE TABLE webhooks (
    sensor        TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    epoch         TEXT    NOT NULL, -- of the log that the cursor is of
    cursor        INTEGER NOT NULL,
    delivered     INTEGER NOT NULL,
    dead          INTEGER NOT NULL,
    missed        INTEGER NOT NULL,
    last_ok_ns    INTEGER,
    last_error_ns INTEGER,
    last_error    TEXT,
    PRIMARY KEY (sensor, name)
);
CREATE TABLE dead_letters (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    sensor    TEXT    NOT NULL,
    webhook   TEXT    NOT NULL,
    seq       INTEGER NOT NULL,
    time_ns   INTEGER NOT NULL,
    kind      TEXT    NOT NULL,
    body      TEXT    NOT NULL,
    severity  TEXT,
    failed_ns INTEGER NOT NULL,
    attempts  INTEGER NOT NULL,
    error     TEXT    NOT NULL
);
CREATE INDEX dead_letters_by_webhook ON dead_letters (sensor, webhook, id);
CREATE INDEX dead_letters_by_sensor ON dead_letters (sensor, id);
