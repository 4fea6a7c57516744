-- How far each webhook of a sensor has followed the event log, and the events that it did not take.
CREATE TABLE webhooks (
    sensor        TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    epoch         TEXT    NOT NULL, -- of the log that the cursor is of
    cursor        BIGINT NOT NULL,
    delivered     BIGINT NOT NULL,
    dead          BIGINT NOT NULL,
    missed        BIGINT NOT NULL,
    last_ok_ns    BIGINT,
    last_error_ns BIGINT,
    last_error    TEXT,
    PRIMARY KEY (sensor, name)
);
CREATE TABLE dead_letters (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sensor    TEXT    NOT NULL,
    webhook   TEXT    NOT NULL,
    seq       BIGINT NOT NULL,
    time_ns   BIGINT NOT NULL,
    kind      TEXT    NOT NULL,
    body      TEXT    NOT NULL,
    severity  TEXT,
    failed_ns BIGINT NOT NULL,
    attempts  BIGINT NOT NULL,
    error     TEXT    NOT NULL
);
CREATE INDEX dead_letters_by_webhook ON dead_letters (sensor, webhook, id);
CREATE INDEX dead_letters_by_sensor ON dead_letters (sensor, id);
