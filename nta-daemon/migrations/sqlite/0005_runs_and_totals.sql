-- Addresses as 16 bytes (IPv4 mapped), both ends indexed; keys that carry the run; totals that are kept as rows come;
-- runs with an end; the event log. Rows of the version before are moved by the daemon, which can read their addresses.

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
-- Counts that a status needs, kept in the transaction that changes them.
CREATE TABLE totals (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO totals VALUES ('windows', 0), ('flows', 0), ('alerts', 0), ('events', 0);

ALTER TABLE runs ADD COLUMN uuid BLOB NOT NULL DEFAULT x'';
ALTER TABLE runs ADD COLUMN sensor TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN analysis TEXT;          -- of a replay: hash of its captures and settings
ALTER TABLE runs ADD COLUMN ended_ns INTEGER;
ALTER TABLE runs ADD COLUMN end_reason TEXT;        -- completed, stopped, interrupted
ALTER TABLE runs ADD COLUMN last_batch INTEGER NOT NULL DEFAULT 0; -- of its batches, the last one committed
ALTER TABLE runs ADD COLUMN last_ns INTEGER NOT NULL DEFAULT 0;    -- end of its last committed window
UPDATE runs SET uuid = randomblob(16), end_reason = 'interrupted',
    last_ns = coalesce((SELECT max(end_ns) FROM windows WHERE run_id = runs.id), started_ns);
UPDATE runs SET ended_ns = last_ns;
CREATE UNIQUE INDEX runs_by_uuid ON runs (uuid);
CREATE INDEX runs_by_sensor ON runs (sensor, ended_ns);
CREATE INDEX runs_by_analysis ON runs (analysis);

CREATE TABLE captures (sha256 TEXT PRIMARY KEY, name TEXT NOT NULL, bytes INTEGER NOT NULL, added_ns INTEGER NOT NULL);
CREATE TABLE analysis_captures (
    analysis TEXT NOT NULL, position INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (analysis, position)
);

CREATE TABLE events (
    seq     INTEGER PRIMARY KEY, -- from totals, so that it never restarts
    time_ns INTEGER NOT NULL,
    kind    TEXT    NOT NULL, -- window_closed, alert_changed, run_begun, run_ended, store_trouble
    run_id  INTEGER NOT NULL,
    body    TEXT    NOT NULL
);

DROP INDEX windows_by_span;
CREATE INDEX windows_by_span ON windows (factor, span_ns, start_ns, id);
CREATE INDEX windows_by_factor ON windows (factor, start_ns, id);
CREATE INDEX windows_by_bandwidth ON windows (factor, span_ns, bandwidth_bps, id);
CREATE INDEX windows_by_packets ON windows (factor, span_ns, packets, id);
CREATE INDEX windows_by_bytes ON windows (factor, span_ns, bytes, id);
CREATE INDEX windows_by_flows ON windows (factor, span_ns, flows, id);
CREATE INDEX windows_by_connections ON windows (factor, span_ns, connections, id);

-- Sums over base windows by the hour in which they start.
CREATE TABLE window_hours (
    run_id INTEGER NOT NULL, hour_ns INTEGER NOT NULL,
    windows INTEGER NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, span_ns INTEGER NOT NULL,
    packets INTEGER NOT NULL, bytes INTEGER NOT NULL, connections INTEGER NOT NULL,
    min_bps INTEGER NOT NULL, max_bps INTEGER NOT NULL,
    rtt_samples INTEGER NOT NULL, rtt_sum_ms REAL, rtt_min_ms REAL, rtt_max_ms REAL,
    PRIMARY KEY (hour_ns, run_id)
);
INSERT INTO window_hours
    SELECT run_id, start_ns / 3600000000000 * 3600000000000, count(*), min(start_ns), max(end_ns), sum(span_ns),
           sum(packets), sum(bytes), sum(connections), min(bandwidth_bps), max(bandwidth_bps), sum(rtt_samples),
           sum(rtt_samples * rtt_mean_ms), min(rtt_mean_ms), max(rtt_max_ms)
    FROM windows WHERE factor = 1 GROUP BY 1, 2;
UPDATE totals SET value = (SELECT count(*) FROM windows WHERE factor = 1) WHERE name = 'windows';

DROP INDEX flows_by_first;
DROP INDEX flows_by_last;
ALTER TABLE flows RENAME TO flows_0004;
CREATE TABLE flows (
    number            INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id            INTEGER NOT NULL REFERENCES runs (id),
    id                INTEGER NOT NULL, -- the 64-bit flow identity, as a signed number
    proto             INTEGER NOT NULL,
    orig_addr         BLOB    NOT NULL, -- 16 bytes, IPv4 mapped
    orig_port         INTEGER NOT NULL,
    resp_addr         BLOB    NOT NULL,
    resp_port         INTEGER NOT NULL,
    vlan              INTEGER NOT NULL,
    first_ns          INTEGER NOT NULL,
    last_ns           INTEGER NOT NULL,
    orig_packets      INTEGER NOT NULL,
    orig_bytes        INTEGER NOT NULL,
    orig_ip_bytes     INTEGER NOT NULL,
    resp_packets      INTEGER NOT NULL,
    resp_bytes        INTEGER NOT NULL,
    resp_ip_bytes     INTEGER NOT NULL,
    handshake_resp_us INTEGER NOT NULL,
    handshake_orig_us INTEGER NOT NULL,
    state             INTEGER NOT NULL, -- 0 active, 1 closed, 2 idle, 3 shutdown
    tcp               TEXT,             -- JSON [[originator's events], [responder's]], null for other protocols
    conn_state        TEXT    NOT NULL,
    history           TEXT    NOT NULL,
    orig_payload      INTEGER,
    resp_payload      INTEGER,
    UNIQUE (run_id, id, first_ns)
);

-- What each host did, kept as flows grow. A batch adds to the hosts with the most bytes in it, see docs.
CREATE TABLE hosts (
    number           INTEGER PRIMARY KEY AUTOINCREMENT,
    host             BLOB    NOT NULL UNIQUE,
    flows            INTEGER NOT NULL,
    flows_out        INTEGER NOT NULL,
    flows_in         INTEGER NOT NULL,
    packets_sent     INTEGER NOT NULL,
    packets_received INTEGER NOT NULL,
    bytes_sent       INTEGER NOT NULL,
    bytes_received   INTEGER NOT NULL,
    packets          INTEGER NOT NULL,
    bytes            INTEGER NOT NULL,
    first_ns         INTEGER NOT NULL,
    last_ns          INTEGER NOT NULL
);

CREATE INDEX flows_by_first ON flows (first_ns, number);
CREATE INDEX flows_by_last ON flows (last_ns, number);
CREATE INDEX flows_by_orig ON flows (orig_addr, first_ns, number);
CREATE INDEX flows_by_resp ON flows (resp_addr, first_ns, number);
CREATE INDEX flows_by_orig_port ON flows (orig_port, first_ns, number);
CREATE INDEX flows_by_resp_port ON flows (resp_port, first_ns, number);
CREATE INDEX flows_by_proto ON flows (proto, first_ns, number);
CREATE INDEX flows_active ON flows (run_id) WHERE state = 0;
CREATE INDEX hosts_by_bytes ON hosts (bytes, number);
CREATE INDEX hosts_by_packets ON hosts (packets, number);
CREATE INDEX hosts_by_flows ON hosts (flows, number);
CREATE INDEX hosts_by_last ON hosts (last_ns, number);

DROP INDEX detected_alerts_by_raised;
DROP INDEX detected_alerts_by_last;
ALTER TABLE alert_notes RENAME TO alert_notes_0004;
ALTER TABLE detected_alerts RENAME TO detected_alerts_0004;
CREATE TABLE detected_alerts (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL,          -- 16 hexadecimal digits
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
    end_reason   TEXT,                      -- run_ended, interrupted: its run closed it
    status       TEXT    NOT NULL DEFAULT 'open', -- open, acknowledged, resolved
    status_by    TEXT,
    status_at_ns INTEGER,
    body         TEXT    NOT NULL,
    UNIQUE (id, run_id)
);
INSERT INTO detected_alerts (number, id, run_id, kind, severity, source, destination, score_ppm, state, first_ns,
                             last_ns, raised_ns, cleared_ns, end_reason, status, status_by, status_at_ns, body)
    SELECT number, id, run_id, kind, severity, source, destination, score_ppm, 'cleared', first_ns, last_ns, raised_ns,
           coalesce(cleared_ns, last_ns), CASE state WHEN 'raised' THEN 'interrupted' END, status, status_by,
           status_at_ns, body FROM detected_alerts_0004;
CREATE TABLE alert_notes (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    alert  INTEGER NOT NULL REFERENCES detected_alerts (number) ON DELETE CASCADE,
    at_ns  INTEGER NOT NULL,
    author TEXT    NOT NULL,
    note   TEXT    NOT NULL
);
INSERT INTO alert_notes (id, alert, at_ns, author, note)
    SELECT n.id, a.number, n.at_ns, n.author, n.note
    FROM alert_notes_0004 n JOIN detected_alerts_0004 a ON a.id = n.alert_id;
DROP TABLE alert_notes_0004;
DROP TABLE detected_alerts_0004;
CREATE INDEX alert_notes_by_alert ON alert_notes (alert, id);
CREATE INDEX detected_alerts_by_raised ON detected_alerts (raised_ns, number);
CREATE INDEX detected_alerts_by_last ON detected_alerts (last_ns, number);
CREATE INDEX detected_alerts_by_severity ON detected_alerts (severity, number);
CREATE INDEX detected_alerts_by_score ON detected_alerts (score_ppm, number);
CREATE INDEX detected_alerts_by_kind ON detected_alerts (kind, raised_ns, number);
CREATE INDEX detected_alerts_by_status ON detected_alerts (status, raised_ns, number);
CREATE INDEX detected_alerts_by_source ON detected_alerts (source, raised_ns, number);
CREATE INDEX detected_alerts_by_destination ON detected_alerts (destination, raised_ns, number);
CREATE INDEX detected_alerts_by_run ON detected_alerts (run_id, state);
UPDATE totals SET value = (SELECT count(*) FROM detected_alerts) WHERE name = 'alerts';

CREATE INDEX anomalies_by_kind ON anomalies (kind, start_ns, id);
CREATE INDEX anomalies_by_severity ON anomalies (severity, start_ns, id);
CREATE INDEX anomalies_by_window ON anomalies (run_id, start_ns, end_ns, id);
-- Anomalies by kind and severity; an alert is counted where its first anomaly of that severity is.
CREATE TABLE anomaly_totals (
    kind TEXT NOT NULL, severity INTEGER NOT NULL, count INTEGER NOT NULL, alerts INTEGER NOT NULL,
    first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, score_sum_ppm INTEGER NOT NULL, score_max_ppm INTEGER NOT NULL,
    PRIMARY KEY (kind, severity)
);
INSERT INTO anomaly_totals
    SELECT kind, severity, count(*), count(DISTINCT alert_id), min(start_ns), max(end_ns), sum(score_ppm),
           max(score_ppm) FROM anomalies GROUP BY kind, severity;

ALTER TABLE aggregated_features RENAME TO aggregated_features_0004;
DROP INDEX aggregated_features_by_start;
DROP INDEX aggregated_features_by_host;
CREATE TABLE aggregated_features (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id         INTEGER NOT NULL REFERENCES runs (id),
    start_ns       INTEGER NOT NULL,
    end_ns         INTEGER NOT NULL,
    span_ns        INTEGER NOT NULL,
    host           BLOB    NOT NULL, -- 16 bytes, IPv4 mapped
    schema_version INTEGER NOT NULL,
    vector         TEXT    NOT NULL, -- JSON array, in the order of the schema
    UNIQUE (run_id, span_ns, start_ns, host)
);
CREATE INDEX aggregated_features_by_start ON aggregated_features (start_ns, id);
CREATE INDEX aggregated_features_by_span ON aggregated_features (span_ns, start_ns, id);
CREATE INDEX aggregated_features_by_host ON aggregated_features (host, span_ns, start_ns, id);
