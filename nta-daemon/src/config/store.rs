//! `[store]`: where windows and flows are kept.

use std::io;
use std::path::{Path, PathBuf};

use nta_core::Bounds;

use super::problem::Refused;
use super::section::section;
use super::{DatabaseUrl, regular_length};

/// Hosts of a window.
const HOSTS: Bounds = Bounds::new(0.0, 1e6);
/// A hundred years.
const DAYS: Bounds = Bounds::new(0.0, 36_500.0);
/// A database without rows takes half a MiB, and a window with its hosts and flows may take more: below this every row would go
/// as soon as it came.
const LEAST_BYTES: u64 = 4 << 20;
/// Flows of a window.
const GROUPED: Bounds = Bounds::new(0.0, 1e6);
/// Rows of a table.
const ROWS: Bounds = Bounds::new(1.0, 1e12);

section! {
    /// Where windows and flows are kept.
    StoreConfig in "store" {
        /// Database URL: sqlite:FILE, such as sqlite:/var/lib/nta/nta.db, or postgres://USER@HOST/NAME.
        /// A password in it is never printed, not here either; PGPASSWORD or a PGPASSFILE keep it apart.
        database: DatabaseUrl = DatabaseUrl::default(),
        /// Hosts of each window whose features are stored, the most active ones; those that alerts name come on top.
        feature_hosts: usize = 50 => HOSTS,
        /// Folder for batches that the database does not take; empty: beside the database file, for PostgreSQL nta-spool.
        spool: String = String::new(),
        /// Most bytes of the spool; 0 switches it off.
        spool_max_bytes: u64 = 1_073_741_824 => Bounds::BYTES,
        /// Rows that are so many days older than the thousandth newest window are deleted; 0 keeps them.
        keep_days: u64 = 0 => DAYS,
        /// Windows shorter than 30 s that are so many days older than the thousandth newest window are deleted; 0 keeps them, as below.
        keep_5s_days: u64 = 15 => DAYS,
        /// The same of windows of 30 s to 3 minutes.
        keep_30s_days: u64 = 30 => DAYS,
        /// The same of windows of 3 minutes to an hour.
        keep_180s_days: u64 = 91 => DAYS,
        /// The same of windows of an hour.
        keep_1h_days: u64 = 365 => DAYS,
        /// Windows kept, of all lengths.
        max_windows: u64 = 700_000 => ROWS,
        /// Flows kept.
        max_flows: u64 = 1_000_000 => ROWS,
        /// Live, unanswered flows of at most 100 packets, of one where maps are pinned, stand together in one row where more than so many of a window share a service, a source or
        /// a destination, as floods and scans make them; 0 keeps a row for each. A replay keeps each.
        group_flows: u32 = 500 => GROUPED,
        /// Feature vectors kept; with feature_hosts = 50 a busy network has a million a day.
        max_features: u64 = 1_000_000 => ROWS,
        /// Measures of hosts that came near to a threshold kept, for explain: some 100 bytes each, at most 64 a window.
        max_near_measures: u64 = 1_000_000 => ROWS,
        /// Such measures that are so many days older than the thousandth newest window go, their windows stay; 0 keeps them as long
        /// as their windows.
        keep_near_days: u64 = 7 => DAYS,
        /// Alerts kept; resolved ones go first.
        max_alerts: u64 = 100_000 => ROWS,
        /// Entries of the event log kept: so far back a reader of the stream can resume.
        max_events: u64 = 500_000 => ROWS,
        /// Bytes of a database file beyond which the oldest rows go, 4 MiB or more; 0 is no bound. PostgreSQL is bounded by rows and
        /// days.
        max_bytes: u64 = 0 => Bounds::BYTES,
    }
}

impl StoreConfig {
    pub(super) fn check(&self, refused: &mut Vec<Refused>) {
        if let Some(file) = self.database.file()
            && let Err(error) = regular_length(&file)
            // Who opens it says more: as whom, and what to do.
            && error.kind() != io::ErrorKind::PermissionDenied
        {
            let said = format!("{} ({error})", self.database.shown());
            refused.push(Refused::new("store.database", said, "a regular file, or a place for one"));
        }
        if (1..LEAST_BYTES).contains(&self.max_bytes) {
            refused.push(Refused::new(
                "store.max_bytes",
                self.max_bytes,
                format!("0 for no bound, or at least {LEAST_BYTES}"),
            ));
        }
        // What is there already and is no folder can hold none.
        let is_blocked = |path: &Path| path.exists() && !path.is_dir();
        if self.spool.contains('\0') || Path::new(&self.spool).ancestors().any(is_blocked) {
            refused.push(Refused::new("store.spool", self.spool.escape_debug(), "the path of a folder"));
        }
    }

    /// Days for which windows are kept, the shortest ones first; 0 is no bound.
    pub const fn keep_windows_days(&self) -> [u64; 4] {
        [self.keep_5s_days, self.keep_30s_days, self.keep_180s_days, self.keep_1h_days]
    }

    /// Folder and most bytes of a sensor's spool; `None` where it is switched off.
    pub fn spool(&self, database: Option<&Path>, sensor: &str) -> Option<(PathBuf, u64)> {
        let folder = match (self.spool.as_str(), database) {
            ("", Some(file)) => {
                let mut name = file.as_os_str().to_owned();
                name.push(format!(".{sensor}.spool"));
                PathBuf::from(name)
            }
            ("", None) => PathBuf::from("nta-spool").join(sensor),
            (folder, _) => Path::new(folder).join(sensor),
        };
        (self.spool_max_bytes > 0).then_some((folder, self.spool_max_bytes))
    }
}
