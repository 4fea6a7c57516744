-- For how long packets were counted for a window: its rates divide by that, and by a second where it is shorter and packets came. NULL
-- where the document does not say it: then the whole window stands for it. Sums by the hour are made of the windows that are stored.
ALTER TABLE windows ADD COLUMN measured_ns INTEGER;
UPDATE windows
    SET measured_ns = max(json_extract(body, '$.length_ns'), CASE WHEN bytes > 0 THEN 1000000000 ELSE 0 END)
    WHERE CASE WHEN json_valid(body) THEN json_type(body, '$.length_ns') END = 'integer';

DELETE FROM window_hours;
INSERT INTO window_hours (factor, hour_ns, run_id, window_ns, windows, first_ns, last_ns, span_ns, packets, bytes,
                          connections, min_bps, max_bps, rtt_samples, rtt_sum_ms, rtt_min_ms, rtt_max_ms, rtt_shortest_ms)
    SELECT factor, start_ns / 3600000000000 * 3600000000000, run_id, max(span_ns), count(*), min(start_ns), max(end_ns),
           CAST(total(coalesce(measured_ns, end_ns - start_ns)) AS INTEGER), CAST(total(packets) AS INTEGER),
           CAST(total(bytes) AS INTEGER), CAST(total(connections) AS INTEGER), min(bandwidth_bps), max(bandwidth_bps),
           CAST(total(rtt_samples) AS INTEGER), sum(rtt_samples * rtt_mean_ms), min(rtt_mean_ms), max(rtt_max_ms),
           CASE WHEN count(rtt_mean_ms) = count(rtt_shortest_ms) THEN min(rtt_shortest_ms) END
    FROM windows
    WHERE factor > 0 AND typeof(factor) = 'integer' AND typeof(start_ns) = 'integer' AND start_ns >= 0
        AND typeof(end_ns) = 'integer' AND end_ns >= 0 AND typeof(packets) = 'integer' AND packets >= 0
        AND typeof(bytes) = 'integer' AND bytes >= 0 AND typeof(connections) = 'integer' AND connections >= 0
        AND typeof(bandwidth_bps) = 'integer' AND bandwidth_bps >= 0
        AND typeof(rtt_samples) = 'integer' AND rtt_samples >= 0
        AND typeof(rtt_mean_ms) IN ('real', 'integer', 'null') AND typeof(rtt_max_ms) IN ('real', 'integer', 'null')
        AND typeof(rtt_shortest_ms) IN ('real', 'integer', 'null')
    GROUP BY 1, 2, 3;

-- Anomalies go with their alert, and the counts are of those that are stored.
DELETE FROM anomalies WHERE NOT EXISTS (SELECT 1 FROM detected_alerts a WHERE a.id = alert_id);
DELETE FROM anomaly_totals;
INSERT INTO anomaly_totals
    SELECT kind, severity, count(*), count(DISTINCT alert_id), min(start_ns), max(end_ns),
           CAST(total(score_ppm) AS INTEGER), max(score_ppm)
    FROM anomalies
    WHERE typeof(severity) = 'integer' AND typeof(start_ns) = 'integer' AND typeof(end_ns) = 'integer'
        AND typeof(score_ppm) = 'integer'
    GROUP BY kind, severity;
