-- What operators do not want to hear of for a while. Kinds are words with a space between them, empty for all; networks are NULL for any.
CREATE TABLE mutes (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    kinds       TEXT    NOT NULL,
    source      TEXT,
    destination TEXT,
    host        TEXT,
    reason      TEXT    NOT NULL,
    author      TEXT    NOT NULL,
    created_ns  INTEGER NOT NULL,
    expires_ns  INTEGER NOT NULL
);
