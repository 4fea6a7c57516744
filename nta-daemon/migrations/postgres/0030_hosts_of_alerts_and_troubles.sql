-- Hosts that an alert concerns beside its parties: who had a share in it, and those whom `*` stands for. `side` is 1 for who does it, 2 for
-- who suffers it, 0 where that is not known.
CREATE TABLE alert_hosts (
    alert     BIGINT NOT NULL,
    raised_ns BIGINT NOT NULL,
    host      BYTEA  NOT NULL,
    side      BIGINT NOT NULL,
    PRIMARY KEY (alert, host, side, raised_ns),
    FOREIGN KEY (alert, raised_ns) REFERENCES detected_alerts (number, raised_ns) ON DELETE CASCADE
);
CREATE INDEX alert_hosts_by_host ON alert_hosts (host, alert, side);

-- What is wrong with a sensor by its event log: a trouble that was logged, until the end of it is.
CREATE TABLE troubles (
    sensor   TEXT NOT NULL,
    about    TEXT NOT NULL, -- capture/eth0, webhook/ops
    severity TEXT NOT NULL,
    reason   TEXT NOT NULL,
    PRIMARY KEY (sensor, about)
);

-- Who is not known is `anonymous`; `api` stood there before, unless a token has that name.
UPDATE detected_alerts SET status_by = 'anonymous' WHERE status_by = 'api' AND NOT EXISTS (SELECT 1 FROM api_tokens WHERE name = 'api');
UPDATE alert_notes SET author = 'anonymous' WHERE author = 'api' AND NOT EXISTS (SELECT 1 FROM api_tokens WHERE name = 'api');
UPDATE alert_changes SET author = 'anonymous' WHERE author = 'api' AND NOT EXISTS (SELECT 1 FROM api_tokens WHERE name = 'api');
