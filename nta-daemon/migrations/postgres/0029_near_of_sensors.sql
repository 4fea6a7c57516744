-- Measures of hosts go by when they were stored where there are too many, and by age for each sensor: those of captures go with these.
CREATE INDEX windows_near_by_id ON windows (id) WHERE near > 0;
CREATE INDEX windows_near_of_sensor ON windows (sensor_id, start_ns) WHERE near > 0;
