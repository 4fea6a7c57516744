-- What a host did, sensor by sensor: of several that share a database each has its own rows. Rows of before belong to the one sensor
-- that there was; where there were several, nobody knows to which.
ALTER TABLE hosts ADD COLUMN sensor TEXT NOT NULL DEFAULT '';
UPDATE hosts SET sensor = coalesce((SELECT CASE WHEN count(DISTINCT sensor) = 1 THEN max(sensor) END FROM runs), '');
ALTER TABLE hosts DROP CONSTRAINT hosts_host_key;
ALTER TABLE hosts ADD UNIQUE (host, sensor);
-- What is usual is another thing for each sensor. What was kept is the newest one's.
UPDATE baselines SET name = 'live/' || (SELECT sensor FROM runs WHERE mode = 'live' ORDER BY id DESC LIMIT 1)
    WHERE name = 'live' AND EXISTS (SELECT 1 FROM runs WHERE mode = 'live');
