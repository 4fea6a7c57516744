-- What a sensor sends to a server: each committed batch, until the server has it.
CREATE TABLE outbox (
    seq     BIGINT PRIMARY KEY,
    made_ns BIGINT NOT NULL,
    bytes   BIGINT NOT NULL, -- of the body
    kept    BIGINT NOT NULL, -- 1: whole, 0: the bound left its alerts and notices
    refused TEXT,             -- why the server does not take it
    body    BYTEA NOT NULL
);
CREATE INDEX outbox_sizes ON outbox (seq, bytes, kept, made_ns);

INSERT INTO totals (name, value) VALUES ('outbox', 0), ('outbox_acked', 0) ON CONFLICT (name) DO NOTHING;

-- What a server has of the numbered batches of each sensor.
CREATE TABLE shipped (
    sensor      TEXT NOT NULL,
    epoch       TEXT NOT NULL,    -- identity of the sensor's log
    first_seq   BIGINT NOT NULL, -- the first number that this server was told of
    stored      TEXT NOT NULL,    -- ranges of numbers, JSON
    lost        BIGINT NOT NULL, -- batches that the sensor does not have any more
    refused     BIGINT NOT NULL, -- batches that could not be stored for good
    doubles     BIGINT NOT NULL, -- batches that came again and added nothing
    packets     BIGINT NOT NULL, -- of the windows stored
    last_ns     BIGINT NOT NULL, -- end of the newest window
    received_ns BIGINT NOT NULL, -- when it was heard of last
    said        TEXT NOT NULL,    -- what the sensor said of itself, JSON
    PRIMARY KEY (sensor, epoch)
);

-- What sensors are to do, by this server.
CREATE TABLE sensor_settings (
    sensor   TEXT PRIMARY KEY,
    version  BIGINT NOT NULL,
    settings TEXT NOT NULL -- JSON
);
