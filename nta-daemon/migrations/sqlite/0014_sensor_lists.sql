-- Lists of one sensor are read by indexes that begin with its number. Rows of before are the first sensor's, but for those of the others.
CREATE TABLE sensors (
    id   INTEGER PRIMARY KEY,
    name TEXT    NOT NULL UNIQUE
);
INSERT INTO sensors (name) SELECT sensor FROM runs GROUP BY sensor ORDER BY min(id);

ALTER TABLE windows ADD COLUMN sensor_id INTEGER NOT NULL DEFAULT 1;
ALTER TABLE flows ADD COLUMN sensor_id INTEGER NOT NULL DEFAULT 1;
ALTER TABLE detected_alerts ADD COLUMN sensor_id INTEGER NOT NULL DEFAULT 1;
ALTER TABLE anomalies ADD COLUMN sensor_id INTEGER NOT NULL DEFAULT 1;
ALTER TABLE aggregated_features ADD COLUMN sensor_id INTEGER NOT NULL DEFAULT 1;
UPDATE windows SET sensor_id = (SELECT s.id FROM runs r JOIN sensors s ON s.name = r.sensor WHERE r.id = run_id)
    WHERE run_id IN (SELECT r.id FROM runs r JOIN sensors s ON s.name = r.sensor WHERE s.id > 1);
UPDATE flows SET sensor_id = (SELECT s.id FROM runs r JOIN sensors s ON s.name = r.sensor WHERE r.id = run_id)
    WHERE run_id IN (SELECT r.id FROM runs r JOIN sensors s ON s.name = r.sensor WHERE s.id > 1);
UPDATE detected_alerts SET sensor_id = (SELECT s.id FROM runs r JOIN sensors s ON s.name = r.sensor WHERE r.id = run_id)
    WHERE run_id IN (SELECT r.id FROM runs r JOIN sensors s ON s.name = r.sensor WHERE s.id > 1);
UPDATE anomalies SET sensor_id = (SELECT s.id FROM runs r JOIN sensors s ON s.name = r.sensor WHERE r.id = run_id)
    WHERE run_id IN (SELECT r.id FROM runs r JOIN sensors s ON s.name = r.sensor WHERE s.id > 1);
UPDATE aggregated_features SET sensor_id = (SELECT s.id FROM runs r JOIN sensors s ON s.name = r.sensor WHERE r.id = run_id)
    WHERE run_id IN (SELECT r.id FROM runs r JOIN sensors s ON s.name = r.sensor WHERE s.id > 1);

CREATE INDEX windows_of_sensor ON windows (sensor_id, span_ns, start_ns, id);
CREATE INDEX flows_of_sensor ON flows (sensor_id, first_ns, number);
CREATE INDEX flows_of_sensor_by_last ON flows (sensor_id, last_ns, number);
CREATE INDEX detected_alerts_of_sensor ON detected_alerts (sensor_id, raised_ns, number);
CREATE INDEX detected_alerts_of_sensor_by_last ON detected_alerts (sensor_id, last_ns, number);
CREATE INDEX anomalies_of_sensor ON anomalies (sensor_id, start_ns, id);
CREATE INDEX aggregated_features_of_sensor ON aggregated_features (sensor_id, span_ns, start_ns, id);
CREATE INDEX hosts_of_sensor ON hosts (sensor, last_ns, number);
