-- Longer windows beside the base ones, alerts with what people did about them, anomalies, feature vectors, baselines.

-- Rebuilt: windows of each length count from 1 in their run. `factor` is the length in base windows: 1, 6, 36.
CREATE TABLE windows_new (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id        INTEGER NOT NULL REFERENCES runs (id),
    factor        INTEGER NOT NULL,
    number        INTEGER NOT NULL, -- of the window in its run, among those of its length, from 1
    start_ns      INTEGER NOT NULL,
    end_ns        INTEGER NOT NULL,
    span_ns       INTEGER NOT NULL,
    packets       INTEGER NOT NULL,
    bytes         INTEGER NOT NULL,
    flows         INTEGER NOT NULL,
    connections   INTEGER NOT NULL,
    bandwidth_bps INTEGER NOT NULL,
    rtt_samples   INTEGER NOT NULL,
    rtt_mean_ms   REAL,
    rtt_max_ms    REAL,
    rtt_histogram TEXT,             -- JSON array of counts by doubling size, null in windows of before
    body          TEXT    NOT NULL,
    UNIQUE (run_id, factor, number) -- a batch written again adds nothing
);
INSERT INTO windows_new (id, run_id, factor, number, start_ns, end_ns, span_ns, packets, bytes, flows, connections,
                         bandwidth_bps, rtt_samples, rtt_mean_ms, rtt_max_ms, body)
    SELECT id, run_id, 1, number, start_ns, end_ns, span_ns, packets, bytes, flows, connections, bandwidth_bps,
           rtt_samples, rtt_mean_ms, rtt_max_ms, body FROM windows;
DROP TABLE windows;
ALTER TABLE windows_new RENAME TO windows;
CREATE INDEX windows_by_start ON windows (start_ns, id);
-- Holds all that windows are grouped, summed and sorted by, so that bodies are read only of those that are shown.
CREATE INDEX windows_by_span ON windows (factor, span_ns, start_ns, id, run_id, end_ns, packets, bytes, flows, connections);

-- Columns for what is filtered or sorted; the body is the alert as the pipeline tells it. What people did about it
-- stands in columns of its own, which the pipeline never writes after the first time.
CREATE TABLE detected_alerts (
    id           TEXT    PRIMARY KEY,       -- 16 hexadecimal digits
    number       INTEGER NOT NULL UNIQUE,   -- in the order in which they were stored
    run_id       INTEGER NOT NULL REFERENCES runs (id),
    kind         TEXT    NOT NULL,
    severity     INTEGER NOT NULL,          -- 0 low, 1 medium, 2 high, 3 critical
    source       TEXT,
    destination  TEXT,
    score_ppm    INTEGER NOT NULL,          -- 0 to 1,000,000
    state        TEXT    NOT NULL,          -- raised, cleared
    first_ns     INTEGER NOT NULL,
    last_ns      INTEGER NOT NULL,
    raised_ns    INTEGER NOT NULL,
    cleared_ns   INTEGER,
    status       TEXT    NOT NULL DEFAULT 'open', -- open, acknowledged, resolved
    status_by    TEXT,
    status_at_ns INTEGER,
    body         TEXT    NOT NULL
);
CREATE INDEX detected_alerts_by_raised ON detected_alerts (raised_ns, number);
CREATE INDEX detected_alerts_by_last ON detected_alerts (last_ns, number);

CREATE TABLE alert_notes (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    alert_id TEXT    NOT NULL REFERENCES detected_alerts (id) ON DELETE CASCADE,
    at_ns    INTEGER NOT NULL,
    author   TEXT    NOT NULL,
    note     TEXT    NOT NULL
);
CREATE INDEX alert_notes_by_alert ON alert_notes (alert_id, id);

-- What was found in each window, one row for a detector's finding that became part of an alert.
CREATE TABLE anomalies (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id      INTEGER NOT NULL REFERENCES runs (id),
    number      INTEGER NOT NULL, -- in its run, from 1
    alert_id    TEXT    NOT NULL, -- the alert may have been deleted
    kind        TEXT    NOT NULL,
    severity    INTEGER NOT NULL, -- of the alert, as it was then
    source      TEXT,
    destination TEXT,
    score_ppm   INTEGER NOT NULL,
    start_ns    INTEGER NOT NULL,
    end_ns      INTEGER NOT NULL,
    body        TEXT    NOT NULL,
    UNIQUE (run_id, number)
);
CREATE INDEX anomalies_by_start ON anomalies (start_ns, id);
CREATE INDEX anomalies_by_score ON anomalies (score_ppm, id);
CREATE INDEX anomalies_by_alert ON anomalies (alert_id, id);

CREATE TABLE aggregated_features (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id         INTEGER NOT NULL REFERENCES runs (id),
    start_ns       INTEGER NOT NULL,
    end_ns         INTEGER NOT NULL,
    span_ns        INTEGER NOT NULL,
    host           TEXT    NOT NULL,
    schema_version INTEGER NOT NULL,
    vector         TEXT    NOT NULL, -- JSON array, in the order of the schema
    UNIQUE (run_id, span_ns, start_ns, host)
);
CREATE INDEX aggregated_features_by_start ON aggregated_features (start_ns, id);
CREATE INDEX aggregated_features_by_host ON aggregated_features (host, start_ns, id);

-- What is usual: `live` for captures on interfaces, `replay` for captured files.
CREATE TABLE baselines (
    name       TEXT    PRIMARY KEY,
    updated_ns INTEGER NOT NULL,
    body       TEXT    NOT NULL
);
