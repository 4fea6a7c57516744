-- Of a row that stands for many flows how many these are, and what of as JSON: how many sources, destinations and ports, and some of them. NULL where
-- it is one flow. An address that they do not share is empty.
ALTER TABLE flows ADD COLUMN grouped BIGINT;
ALTER TABLE flows ADD COLUMN members TEXT;
