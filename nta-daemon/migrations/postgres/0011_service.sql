-- What a flow's first payload bytes say it is; NULL where they do not say it, and of flows of before.
ALTER TABLE flows ADD COLUMN service TEXT;
