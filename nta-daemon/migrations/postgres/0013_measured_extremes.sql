-- Least and most bandwidth of an hour are those of windows for which packets were counted (the others have a nanosecond):
-- 9223372036854775807 and 0 where there is none.
UPDATE window_hours
    SET (min_bps, max_bps) = (
        SELECT coalesce(min(bandwidth_bps), 9223372036854775807), coalesce(max(bandwidth_bps), 0)
        FROM windows w
        WHERE w.factor = window_hours.factor AND w.run_id = window_hours.run_id AND w.start_ns >= window_hours.hour_ns
            AND w.start_ns < window_hours.hour_ns + 3600000000000 AND coalesce(w.measured_ns, 2) > 1
            AND bandwidth_bps >= 0
    )
    WHERE min_bps = 0 AND EXISTS (
        SELECT 1 FROM windows w
        WHERE w.factor = window_hours.factor AND w.run_id = window_hours.run_id AND w.start_ns >= window_hours.hour_ns
            AND w.start_ns < window_hours.hour_ns + 3600000000000 AND w.measured_ns <= 1
    );
