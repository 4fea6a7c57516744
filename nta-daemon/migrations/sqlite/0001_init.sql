-- Runs, the windows they closed and the flows they saw. Times are nanoseconds since the Unix epoch.

CREATE TABLE runs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    started_ns INTEGER NOT NULL,
    mode       TEXT    NOT NULL, -- live, replay
    source     TEXT    NOT NULL, -- interfaces, or the capture's path
    version    TEXT    NOT NULL  -- of the daemon
);

-- Columns for what is filtered, sorted or summed; the body is the whole window as the API tells it.
CREATE TABLE windows (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id        INTEGER NOT NULL REFERENCES runs (id),
    number        INTEGER NOT NULL, -- of the window in its run, from 1
    start_ns      INTEGER NOT NULL,
    end_ns        INTEGER NOT NULL,
    span_ns       INTEGER NOT NULL,
    packets       INTEGER NOT NULL,
    bytes         INTEGER NOT NULL,
    flows         INTEGER NOT NULL,
    connections   INTEGER NOT NULL,
    bandwidth_bps INTEGER NOT NULL,
    rtt_samples   INTEGER NOT NULL,
    rtt_mean_ms   REAL,             -- null without samples
    rtt_max_ms    REAL,
    body          TEXT    NOT NULL,
    UNIQUE (run_id, number)         -- a batch written again adds nothing
);
CREATE INDEX windows_by_start ON windows (start_ns, id);

-- Cumulative since the flow's first packet: an update replaces what may have changed.
CREATE TABLE flows (
    id                  INTEGER PRIMARY KEY, -- the 64-bit flow identity, as a signed number
    run_id              INTEGER NOT NULL REFERENCES runs (id),
    proto               INTEGER NOT NULL,
    orig_addr           TEXT    NOT NULL,
    orig_port           INTEGER NOT NULL,
    resp_addr           TEXT    NOT NULL,
    resp_port           INTEGER NOT NULL,
    vlan                INTEGER NOT NULL,
    first_ns            INTEGER NOT NULL,
    last_ns             INTEGER NOT NULL,
    orig_packets        INTEGER NOT NULL,
    orig_bytes          INTEGER NOT NULL,
    orig_ip_bytes       INTEGER NOT NULL,
    resp_packets        INTEGER NOT NULL,
    resp_bytes          INTEGER NOT NULL,
    resp_ip_bytes       INTEGER NOT NULL,
    handshake_resp_us   INTEGER NOT NULL,
    handshake_orig_us   INTEGER NOT NULL,
    state               INTEGER NOT NULL, -- 0 active, 1 closed, 2 idle, 3 shutdown
    tcp                 TEXT              -- JSON [[originator's events], [responder's]], null for other protocols
);
CREATE INDEX flows_by_first ON flows (first_ns, id);
CREATE INDEX flows_by_last ON flows (last_ns, id);
