-- The alert of several gateways that an alert is a part of, by its identity.
ALTER TABLE detected_alerts ADD COLUMN joint TEXT;
CREATE INDEX detected_alerts_of_joint ON detected_alerts (joint) WHERE joint IS NOT NULL;
DROP INDEX detected_alerts_counted;
CREATE INDEX detected_alerts_counted ON detected_alerts (status, severity, last_ns, first_ns, sensor_id, joint);
