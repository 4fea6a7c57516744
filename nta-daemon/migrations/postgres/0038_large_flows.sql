-- The few large flows of many, by their size. The expressions are those of lists by size, to the letter.
CREATE INDEX flows_large ON flows
    ((least(orig_bytes, 4611686018427387903) + least(resp_bytes, 4611686018427387903)), number)
    WHERE least(orig_bytes, 4611686018427387903) + least(resp_bytes, 4611686018427387903) >= 1000000;
CREATE INDEX flows_busy ON flows
    ((least(orig_packets, 4611686018427387903) + least(resp_packets, 4611686018427387903)), number)
    WHERE least(orig_packets, 4611686018427387903) + least(resp_packets, 4611686018427387903) >= 1000;
