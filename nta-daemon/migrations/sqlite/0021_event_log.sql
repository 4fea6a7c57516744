-- The identity of the event log: cursors of readers belong to it. It changes only with a new database.
INSERT INTO meta (name, value) VALUES ('log_epoch', lower(hex(randomblob(8)))) ON CONFLICT (name) DO NOTHING;
