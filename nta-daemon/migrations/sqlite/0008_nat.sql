-- Address and port that a gateway gives originator and responder on its other side, `address:port`; null without translation.

ALTER TABLE flows ADD COLUMN orig_nat TEXT;
ALTER TABLE flows ADD COLUMN resp_nat TEXT;
