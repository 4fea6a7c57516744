-- How many measures the document of a window has of what hosts came near to: they have bounds of their own, and go before their window.
-- Those of windows that are there already go with them.
ALTER TABLE windows ADD COLUMN near INTEGER NOT NULL DEFAULT 0;
CREATE INDEX windows_by_near ON windows (start_ns, near) WHERE near > 0;
INSERT INTO totals (name, value) VALUES ('near_measures', 0);
