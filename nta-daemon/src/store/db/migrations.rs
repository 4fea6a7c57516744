//! The migrations of both databases. They are listed here and not found by sqlx's macro, which builds SQLite's sources a
//! second time, for the machine that compiles.

use std::borrow::Cow;

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

macro_rules! migrations {
    ($folder:literal: $( $version:literal $description:literal $file:literal, )+) => {
        Migrator::with_migrations(vec![ $( Migration::new(
            $version,
            Cow::Borrowed($description),
            MigrationType::Simple,
            SqlStr::from_static(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/", $folder, "/", $file))),
            false,
        ), )+ ])
    };
}

/// Of a SQLite file.
pub(in crate::store) fn sqlite() -> Migrator {
    migrations! { "sqlite":
        1 "init" "0001_init.sql",
        2 "zeek" "0002_zeek.sql",
        3 "raw packets" "0003_raw_packets.sql",
        4 "detection" "0004_detection.sql",
        5 "runs and totals" "0005_runs_and_totals.sql",
        6 "spans" "0006_spans.sql",
        7 "lists" "0007_lists.sql",
        8 "nat" "0008_nat.sql",
        9 "keys" "0009_keys.sql",
        10 "tunnels" "0010_tunnels.sql",
        11 "sensors" "0011_sensors.sql",
        12 "nat lists" "0012_nat_lists.sql",
        13 "shortest rtt" "0013_shortest_rtt.sql",
        14 "sensor lists" "0014_sensor_lists.sql",
        15 "service" "0015_service.sql",
        16 "measured time" "0016_measured_time.sql",
        17 "measured extremes" "0017_measured_extremes.sql",
        18 "jobs" "0018_jobs.sql",
        19 "access" "0019_access.sql",
        20 "uploads" "0020_uploads.sql",
        21 "event log" "0021_event_log.sql",
        22 "alert history" "0022_alert_history.sql",
        24 "webhooks" "0024_webhooks.sql",
        25 "mutes" "0025_mutes.sql",
        26 "results and models" "0026_results_and_models.sql",
        27 "recorded captures" "0027_recorded_captures.sql",
        31 "near" "0031_near.sql",
        33 "near of sensors" "0033_near_of_sensors.sql",
        34 "hosts of alerts and troubles" "0034_hosts_of_alerts_and_troubles.sql",
        35 "services" "0035_services.sql",
        36 "fleet" "0036_fleet.sql",
        37 "joint alerts" "0037_joint_alerts.sql",
        38 "packet logs" "0038_packet_logs.sql",
        39 "large flows" "0039_large_flows.sql",
        40 "flow groups" "0040_flow_groups.sql",
    }
}

/// Of a PostgreSQL database.
pub(in crate::store) fn postgres() -> Migrator {
    migrations! { "postgres":
        1 "init" "0001_init.sql",
        2 "spans" "0002_spans.sql",
        3 "lists" "0003_lists.sql",
        4 "nat" "0004_nat.sql",
        5 "keys" "0005_keys.sql",
        6 "tunnels" "0006_tunnels.sql",
        7 "sensors" "0007_sensors.sql",
        8 "nat lists" "0008_nat_lists.sql",
        9 "shortest rtt" "0009_shortest_rtt.sql",
        10 "sensor lists" "0010_sensor_lists.sql",
        11 "service" "0011_service.sql",
        12 "measured time" "0012_measured_time.sql",
        13 "measured extremes" "0013_measured_extremes.sql",
        14 "jobs" "0014_jobs.sql",
        15 "access" "0015_access.sql",
        16 "uploads" "0016_uploads.sql",
        17 "event log" "0017_event_log.sql",
        18 "alert history" "0018_alert_history.sql",
        20 "webhooks" "0020_webhooks.sql",
        21 "mutes" "0021_mutes.sql",
        22 "results and models" "0022_results_and_models.sql",
        23 "recorded captures" "0023_recorded_captures.sql",
        27 "near" "0027_near.sql",
        29 "near of sensors" "0029_near_of_sensors.sql",
        30 "hosts of alerts and troubles" "0030_hosts_of_alerts_and_troubles.sql",
        31 "services" "0031_services.sql",
        32 "fleet" "0032_fleet.sql",
        33 "joint alerts" "0033_joint_alerts.sql",
        34 "bulk" "0034_bulk.sql",
        35 "packet logs" "0035_packet_logs.sql",
        36 "window sizes" "0036_window_sizes.sql",
        37 "window parts" "0037_window_parts.sql",
        38 "large flows" "0038_large_flows.sql",
        39 "flow groups" "0039_flow_groups.sql",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folders_is_a_migration() {
        for (folder, migrator) in [("sqlite", sqlite()), ("postgres", postgres())] {
            let path = format!("{}/migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
            let mut files: Vec<i64> = std::fs::read_dir(path)
                .expect("the folder")
                .map(|entry| entry.expect("an entry").file_name().to_string_lossy()[..4].parse().expect("a number"))
                .collect();
            files.sort_unstable();
            assert_eq!(migrator.iter().map(|migration| migration.version).collect::<Vec<_>>(), files, "{folder}");
        }
    }
}
