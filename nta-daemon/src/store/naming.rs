//! The name of a sensor that nobody named: kept in the database, and where that was lost, taken from what lies beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::db::{Dialect, Query};
use super::spool::has_segments;
use super::{Store, StoreError, meta};

impl Store {
    /// The name kept for the sensor of this host; where there is none, the one of before, else one made of the host's name and
    /// chance.
    pub async fn sensor_name(&self, host: &str, before: Option<String>) -> Result<String, StoreError> {
        let error = StoreError::query("meta");
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        // A server is shared by gateways, a file is not, and goes with its machine when that is renamed.
        let key =
            if self.database.dialect() == Dialect::Postgres { format!("sensor {host}") } else { "sensor".to_owned() };
        let made = before.unwrap_or_else(|| format!("{host}-{:08x}", rand::random::<u32>()));
        let insert = Query::new("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING");
        conn.execute(insert.bind(key.as_str()).bind(made.as_str())).await.map_err(&error)?;
        let name = match meta::get(conn, &key).await? {
            Some(name) => name,
            None => {
                meta::set(conn, &key, &made).await?;
                made
            }
        };
        transaction.commit().await.map_err(error)?;
        Ok(name)
    }
}

/// A spool of a name that was made for this host.
#[derive(Debug)]
pub struct LeftSpool {
    /// The sensor's name.
    pub sensor: String,
    /// Where it is.
    pub folder: PathBuf,
    /// Whether batches wait in it.
    pub has_batches: bool,
}

/// The spools beside `folder`, which is the one that a sensor of the host's name would have: those with batches first, of these the
/// newest. A database that was removed took its name with it; the spool has it still.
pub fn spools_of(host: &str, folder: &Path) -> Vec<LeftSpool> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((prefix, suffix)) = name.rsplit_once(host) else { return Vec::new() };
    let beside = folder.parent().filter(|beside| !beside.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found: Vec<(SystemTime, LeftSpool)> = fs::read_dir(beside)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let sensor = name.strip_prefix(prefix)?.strip_suffix(suffix)?.to_owned();
            let chance = sensor.strip_prefix(host)?.strip_prefix('-')?;
            let is_made = chance.len() == 8 && chance.bytes().all(|byte| byte.is_ascii_hexdigit());
            let metadata = entry.metadata().ok().filter(|metadata| is_made && metadata.is_dir())?;
            let folder = entry.path();
            let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Some((changed, LeftSpool { sensor, has_batches: has_segments(&folder), folder }))
        })
        .collect();
    found.sort_by_key(|(changed, spool)| std::cmp::Reverse((spool.has_batches, *changed)));
    found.into_iter().map(|(_, spool)| spool).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spools_of_made_names_are_found_and_those_with_batches_come_first() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in
            ["n.db.box-0000aaaa.spool", "n.db.box-0000bbbb.spool", "n.db.box-named.spool", "n.db.ox-0000cccc.spool"]
        {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        fs::write(folder.path().join("n.db.box-0000dddd.spool"), "a file").expect("a file");
        fs::write(folder.path().join("n.db.box-0000bbbb.spool/00000000000000000001.seg"), "a batch").expect("a file");
        let names = |folder: &Path| {
            spools_of("box", folder).into_iter().map(|left| (left.sensor, left.has_batches)).collect::<Vec<_>>()
        };
        let expected = [("box-0000bbbb".to_owned(), true), ("box-0000aaaa".to_owned(), false)];
        assert_eq!(names(&folder.path().join("n.db.box.spool")), expected);
        assert_eq!(names(&folder.path().join("other.db.box.spool")), []);
        fs::create_dir(folder.path().join("box-00000001")).expect("a folder");
        assert_eq!(names(&folder.path().join("box")), [("box-00000001".to_owned(), false)], "a folder for all spools");
    }
}
