-- The shortest round trip of a window and of an hour's windows; NULL where there is none, or where an hour has windows of before, of
-- which only the mean is a column.
ALTER TABLE windows ADD COLUMN rtt_shortest_ms REAL;
ALTER TABLE window_hours ADD COLUMN rtt_shortest_ms REAL;
