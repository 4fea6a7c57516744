-- The few large flows of many, by their size. The expressions are those of lists by size, to the letter.
CREATE INDEX flows_large ON flows
    (min(orig_bytes, 4611686018427387903) + min(resp_bytes, 4611686018427387903), number)
    WHERE min(orig_bytes, 4611686018427387903) + min(resp_bytes, 4611686018427387903) >= 1000000;
CREATE INDEX flows_busy ON flows
    (min(orig_packets, 4611686018427387903) + min(resp_packets, 4611686018427387903), number)
    WHERE min(orig_packets, 4611686018427387903) + min(resp_packets, 4611686018427387903) >= 1000;
