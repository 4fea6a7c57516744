-- As on PostgreSQL, an alert is found by its identity, its run and the time at which it was raised.

ALTER TABLE alert_notes ADD COLUMN raised_ns INTEGER NOT NULL DEFAULT 0;
UPDATE alert_notes SET raised_ns = (SELECT a.raised_ns FROM detected_alerts a WHERE a.number = alert);
CREATE UNIQUE INDEX detected_alerts_by_identity ON detected_alerts (id, run_id, raised_ns);
