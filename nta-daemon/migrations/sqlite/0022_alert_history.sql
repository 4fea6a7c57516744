-- What people say an alert was, and every change that they made to it: status and verdict before and behind it.

ALTER TABLE detected_alerts ADD COLUMN verdict TEXT; -- true_positive, benign, false_positive

CREATE TABLE alert_changes (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    alert          INTEGER NOT NULL REFERENCES detected_alerts (number) ON DELETE CASCADE,
    raised_ns      INTEGER NOT NULL,
    at_ns          INTEGER NOT NULL,
    author         TEXT    NOT NULL,
    status_before  TEXT    NOT NULL,
    status         TEXT    NOT NULL,
    verdict_before TEXT,
    verdict        TEXT
);
CREATE INDEX alert_changes_by_alert ON alert_changes (alert, id);
