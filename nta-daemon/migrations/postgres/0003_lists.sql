-- Lists are read between two keys of an index: those that go on for long, what windows are sorted by, anomalies by severity.

CREATE INDEX flows_long ON flows (last_ns, first_ns, number) WHERE last_ns - first_ns > 10000000000;
CREATE INDEX flows_very_long ON flows (last_ns, first_ns, number) WHERE last_ns - first_ns > 600000000000;
DROP INDEX windows_by_span;
CREATE INDEX windows_by_span
    ON windows (span_ns, start_ns, id, end_ns, bandwidth_bps, packets, bytes, flows, connections);
DROP INDEX anomalies_by_alert;
CREATE INDEX anomalies_by_alert ON anomalies (alert_id, severity);
CREATE INDEX anomalies_by_rank ON anomalies (severity, id);
