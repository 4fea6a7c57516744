-- Lists by size read the windows of a time from the index of their lengths, which holds all sizes and the sensor: indexes of their own, whose
-- entries go to any page, took 60 % of the time of an insert.
DROP INDEX windows_by_bandwidth;
DROP INDEX windows_by_packets;
DROP INDEX windows_by_bytes;
DROP INDEX windows_by_flows;
DROP INDEX windows_by_connections;
DROP INDEX windows_by_span;
CREATE INDEX windows_by_span
    ON windows (span_ns, start_ns, id) INCLUDE (end_ns, bandwidth_bps, packets, bytes, flows, connections, sensor_id);
