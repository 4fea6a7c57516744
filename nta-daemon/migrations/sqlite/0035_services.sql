-- What each service had of the traffic, in steps of five minutes, kept as flows grow: sums of a time without reading its flows.
-- Where nothing names a service, `name` is empty and `proto` is the protocol, else 0.
CREATE TABLE services (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    sensor   TEXT    NOT NULL,
    start_ns INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    proto    INTEGER NOT NULL,
    flows    INTEGER NOT NULL,
    packets  INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    UNIQUE (sensor, start_ns, name, proto)
);
CREATE INDEX services_by_start ON services (start_ns);

-- Alerts are counted by status without reading them.
CREATE INDEX detected_alerts_counted ON detected_alerts (status, severity, last_ns, first_ns, sensor_id);
