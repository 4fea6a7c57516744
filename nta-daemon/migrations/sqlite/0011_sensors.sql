-- What a host did, sensor by sensor: of several that share a database each has its own rows. Rows of before belong to the one sensor
-- that there was; where there were several, nobody knows to which.
CREATE TABLE hosts_new (
    number           INTEGER PRIMARY KEY AUTOINCREMENT,
    host             BLOB    NOT NULL,
    sensor           TEXT    NOT NULL,
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
    last_ns          INTEGER NOT NULL,
    UNIQUE (host, sensor)
);
INSERT INTO hosts_new (number, host, sensor, flows, flows_out, flows_in, packets_sent, packets_received, bytes_sent, bytes_received, packets, bytes, first_ns, last_ns)
    SELECT number, host, coalesce((SELECT CASE WHEN count(DISTINCT sensor) = 1 THEN max(sensor) END FROM runs), ''), flows, flows_out, flows_in, packets_sent, packets_received, bytes_sent, bytes_received, packets, bytes, first_ns, last_ns FROM hosts;
DROP TABLE hosts;
ALTER TABLE hosts_new RENAME TO hosts;
CREATE INDEX hosts_by_bytes ON hosts (bytes, number);
CREATE INDEX hosts_by_packets ON hosts (packets, number);
CREATE INDEX hosts_by_flows ON hosts (flows, number);
CREATE INDEX hosts_by_last ON hosts (last_ns, number);
-- What is usual is another thing for each sensor. What was kept is the newest one's.
UPDATE baselines SET name = 'live/' || (SELECT sensor FROM runs WHERE mode = 'live' ORDER BY id DESC LIMIT 1)
    WHERE name = 'live' AND EXISTS (SELECT 1 FROM runs WHERE mode = 'live');
