-- The identity of the event log: cursors of readers belong to it. It changes only with a new database.
INSERT INTO meta (name, value)
    VALUES ('log_epoch', substr(md5(CAST(random() AS TEXT) || CAST(clock_timestamp() AS TEXT)), 1, 16)) ON CONFLICT (name) DO NOTHING;
