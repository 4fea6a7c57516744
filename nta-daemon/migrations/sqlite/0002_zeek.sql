-- Flows in Zeek's words: state, history, payload bytes each way (null when unknown).

ALTER TABLE flows ADD COLUMN conn_state TEXT NOT NULL DEFAULT 'OTH';
ALTER TABLE flows ADD COLUMN history TEXT NOT NULL DEFAULT '';
ALTER TABLE flows ADD COLUMN orig_payload INTEGER;
ALTER TABLE flows ADD COLUMN resp_payload INTEGER;
