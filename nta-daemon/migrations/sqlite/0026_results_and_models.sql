-- Files that jobs make for download. Each lies in the results' folder under its name.
CREATE TABLE results (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    sensor     TEXT    NOT NULL, -- whose daemon has the file
    kind       TEXT    NOT NULL, -- connections, scored, predictions
    job        TEXT    NOT NULL,
    source     TEXT    NOT NULL, -- the capture, or the scored file
    model      TEXT,
    row_count  INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    sha256     TEXT    NOT NULL,
    created_ns INTEGER NOT NULL
);
CREATE INDEX results_by_time ON results (created_ns, number);
-- Models that were trained here, and which of them judges for a sensor.
CREATE TABLE models (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE, -- the first digits of its SHA-256
    algorithm  TEXT    NOT NULL,        -- xgboost, isolation_forest
    job        TEXT    NOT NULL,
    who        TEXT    NOT NULL,
    created_ns INTEGER NOT NULL,
    model      BLOB    NOT NULL,        -- its file
    manifest   TEXT    NOT NULL,        -- JSON
    report     TEXT    NOT NULL         -- JSON: whether it validates, and why not; what its inputs weigh
);
CREATE TABLE active_models (
    sensor       TEXT    NOT NULL,
    algorithm    TEXT    NOT NULL,
    model        TEXT    NOT NULL,
    configured   TEXT    NOT NULL, -- what the configuration named then: where it names another now, that holds
    who          TEXT    NOT NULL,
    activated_ns INTEGER NOT NULL,
    PRIMARY KEY (sensor, algorithm)
);
