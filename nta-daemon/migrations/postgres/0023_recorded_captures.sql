-- Recordings are captures like those that clients send: their files stay in the folder of recordings.
ALTER TABLE uploads ADD COLUMN recorded TEXT;    -- name of the file there; NULL for what a client sent
-- Times of the first and the last packet, where they are known: by them packets of an alert are looked for.
ALTER TABLE uploads ADD COLUMN first_ns BIGINT;
ALTER TABLE uploads ADD COLUMN last_ns  BIGINT;
CREATE UNIQUE INDEX uploads_by_recorded ON uploads (recorded);
