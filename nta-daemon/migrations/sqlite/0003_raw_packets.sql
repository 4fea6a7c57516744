-- Heads of one packet of many, for forensics: `events.raw_packets` in the configuration.

CREATE TABLE raw_packets (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id   INTEGER NOT NULL REFERENCES runs (id),
    time_ns  INTEGER NOT NULL,
    wire_len INTEGER NOT NULL, -- bytes of the frame
    head     BLOB    NOT NULL  -- its first bytes, from the Ethernet header on
);
CREATE INDEX raw_packets_by_time ON raw_packets (time_ns, id);
