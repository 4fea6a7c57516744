-- Identities of the flows in which each side's packets come, `originator,responder`, and what of each side is counted in the
-- flows inside; null outside of tunnels that are opened.

ALTER TABLE flows ADD COLUMN parents TEXT;
ALTER TABLE flows ADD COLUMN orig_opened_packets BIGINT;
ALTER TABLE flows ADD COLUMN orig_opened_bytes BIGINT;
ALTER TABLE flows ADD COLUMN resp_opened_packets BIGINT;
ALTER TABLE flows ADD COLUMN resp_opened_bytes BIGINT;
