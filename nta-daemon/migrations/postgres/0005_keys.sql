-- Keys of all tables that grow with traffic contain the time, so that each can be partitioned by it.

ALTER TABLE events DROP CONSTRAINT events_pkey, ADD PRIMARY KEY (seq, time_ns);

ALTER TABLE alert_notes DROP CONSTRAINT alert_notes_alert_fkey, ADD COLUMN raised_ns BIGINT;
UPDATE alert_notes SET raised_ns = (SELECT a.raised_ns FROM detected_alerts a WHERE a.number = alert);
ALTER TABLE detected_alerts DROP CONSTRAINT detected_alerts_pkey, DROP CONSTRAINT detected_alerts_id_run_id_key,
    ADD PRIMARY KEY (number, raised_ns), ADD UNIQUE (id, run_id, raised_ns);
ALTER TABLE alert_notes ALTER raised_ns SET NOT NULL, DROP CONSTRAINT alert_notes_pkey, ADD PRIMARY KEY (id, at_ns),
    ADD FOREIGN KEY (alert, raised_ns) REFERENCES detected_alerts (number, raised_ns) ON DELETE CASCADE;
