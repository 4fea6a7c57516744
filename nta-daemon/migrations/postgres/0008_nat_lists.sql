-- Address and port that a gateway gives originator and responder on its other side, as lists find them. Flows of before have them as
-- text alone.
ALTER TABLE flows ADD COLUMN orig_nat_addr BYTEA;
ALTER TABLE flows ADD COLUMN orig_nat_port BIGINT;
ALTER TABLE flows ADD COLUMN resp_nat_addr BYTEA;
ALTER TABLE flows ADD COLUMN resp_nat_port BIGINT;
CREATE INDEX flows_by_orig_nat ON flows (orig_nat_addr, first_ns, number) WHERE orig_nat_addr IS NOT NULL;
CREATE INDEX flows_by_resp_nat ON flows (resp_nat_addr, first_ns, number) WHERE resp_nat_addr IS NOT NULL;
CREATE INDEX flows_by_orig_nat_port ON flows (orig_nat_port, first_ns, number) WHERE orig_nat_port IS NOT NULL;
CREATE INDEX flows_by_resp_nat_port ON flows (resp_nat_port, first_ns, number) WHERE resp_nat_port IS NOT NULL;
