-- Windows are found by their length, whatever the base window of their run is; sums by the hour are kept for each length.

DROP INDEX windows_by_span;
DROP INDEX windows_by_bandwidth;
DROP INDEX windows_by_packets;
DROP INDEX windows_by_bytes;
DROP INDEX windows_by_flows;
DROP INDEX windows_by_connections;
CREATE INDEX windows_by_span ON windows (span_ns, start_ns, id);
CREATE INDEX windows_by_bandwidth ON windows (span_ns, bandwidth_bps, id);
CREATE INDEX windows_by_packets ON windows (span_ns, packets, id);
CREATE INDEX windows_by_bytes ON windows (span_ns, bytes, id);
CREATE INDEX windows_by_flows ON windows (span_ns, flows, id);
CREATE INDEX windows_by_connections ON windows (span_ns, connections, id);

DROP TABLE window_hours;
CREATE TABLE window_hours (
    factor BIGINT NOT NULL, hour_ns BIGINT NOT NULL, run_id BIGINT NOT NULL,
    window_ns BIGINT NOT NULL, -- how long these windows are
    windows BIGINT NOT NULL, first_ns BIGINT NOT NULL, last_ns BIGINT NOT NULL, span_ns BIGINT NOT NULL,
    packets BIGINT NOT NULL, bytes BIGINT NOT NULL, connections BIGINT NOT NULL,
    min_bps BIGINT NOT NULL, max_bps BIGINT NOT NULL,
    rtt_samples BIGINT NOT NULL, rtt_sum_ms DOUBLE PRECISION, rtt_min_ms DOUBLE PRECISION, rtt_max_ms DOUBLE PRECISION,
    PRIMARY KEY (factor, hour_ns, run_id)
);
INSERT INTO window_hours
    SELECT factor, start_ns / 3600000000000 * 3600000000000, run_id, max(span_ns), count(*), min(start_ns), max(end_ns),
           CAST(sum(end_ns - start_ns) AS BIGINT), CAST(sum(packets) AS BIGINT), CAST(sum(bytes) AS BIGINT),
           CAST(sum(connections) AS BIGINT), min(bandwidth_bps), max(bandwidth_bps),
           CAST(sum(rtt_samples) AS BIGINT), sum(rtt_samples * rtt_mean_ms), min(rtt_mean_ms), max(rtt_max_ms)
    FROM windows GROUP BY 1, 2, 3;
CREATE INDEX window_hours_by_length ON window_hours (window_ns, hour_ns);

-- Lengths that were not stored before are made by the daemon of the windows that are there.
INSERT INTO meta SELECT 'spans', 'to be made' WHERE EXISTS (SELECT 1 FROM windows);
