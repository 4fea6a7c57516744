-- For how long packets were counted for a window: its rates divide by that, and by a second where it is shorter and packets came. NULL
-- where the document does not say it: then the whole window stands for it. Sums by the hour are made of the windows that are stored.
ALTER TABLE windows ADD COLUMN measured_ns BIGINT;
UPDATE windows
    SET measured_ns = greatest(CAST(substring(body FROM '"length_ns":([0-9]{1,18})[,}]') AS BIGINT),
                               CASE WHEN bytes > 0 THEN 1000000000 ELSE 0 END)
    WHERE body ~ '"length_ns":[0-9]{1,18}[,}]';

DELETE FROM window_hours;
INSERT INTO window_hours (factor, hour_ns, run_id, window_ns, windows, first_ns, last_ns, span_ns, packets, bytes,
                          connections, min_bps, max_bps, rtt_samples, rtt_sum_ms, rtt_min_ms, rtt_max_ms, rtt_shortest_ms)
    SELECT factor, start_ns / 3600000000000 * 3600000000000, run_id, max(span_ns), count(*), min(start_ns), max(end_ns),
           CAST(least(sum(coalesce(measured_ns, end_ns - start_ns)), 9223372036854775807) AS BIGINT),
           CAST(least(sum(packets), 9223372036854775807) AS BIGINT),
           CAST(least(sum(bytes), 9223372036854775807) AS BIGINT),
           CAST(least(sum(connections), 9223372036854775807) AS BIGINT), min(bandwidth_bps), max(bandwidth_bps),
           CAST(least(sum(rtt_samples), 9223372036854775807) AS BIGINT), sum(rtt_samples * rtt_mean_ms),
           min(rtt_mean_ms), max(rtt_max_ms),
           CASE WHEN count(rtt_mean_ms) = count(rtt_shortest_ms) THEN min(rtt_shortest_ms) END
    FROM windows
    WHERE factor > 0 AND start_ns >= 0 AND end_ns >= 0 AND packets >= 0 AND bytes >= 0 AND connections >= 0
        AND bandwidth_bps >= 0 AND rtt_samples >= 0
    GROUP BY 1, 2, 3;

-- Anomalies go with their alert, and the counts are of those that are stored.
DELETE FROM anomalies WHERE NOT EXISTS (SELECT 1 FROM detected_alerts a WHERE a.id = alert_id);
DELETE FROM anomaly_totals;
INSERT INTO anomaly_totals
    SELECT kind, severity, count(*), count(DISTINCT alert_id), min(start_ns), max(end_ns),
           CAST(least(sum(score_ppm), 9223372036854775807) AS BIGINT), max(score_ppm)
    FROM anomalies GROUP BY kind, severity;
