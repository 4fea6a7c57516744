-- What clients send as records of packets: how far each log is, and the capture that they go into.
CREATE TABLE packet_logs (
    sensor      TEXT NOT NULL,
    epoch       TEXT NOT NULL,    -- identity of the client's log
    last_seq    BIGINT NOT NULL, -- number of the newest message taken; all before it are
    file_id     TEXT,             -- the capture that the next one goes into; none where that is whole
    holder      TEXT NOT NULL,    -- the server that has that capture
    bytes       BIGINT NOT NULL, -- of the file, up to the end of the newest message
    records     BIGINT NOT NULL, -- of all messages
    received_ns BIGINT NOT NULL, -- when the newest came
    PRIMARY KEY (sensor, epoch)
);
CREATE INDEX packet_logs_by_time ON packet_logs (received_ns);
