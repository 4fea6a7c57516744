//! The table `results`: files that jobs made for download.

use super::db::{Query, Row};
use super::list::Placed;
use super::unreadable::Unreadable;
use super::{Key, Position, Store, StoreError, from_sql, to_sql};
use nta_core::domain::Timestamp;

const TABLE: &str = "results";
const COLUMNS: &str = "number, name, sensor, kind, job, source, model, row_count, bytes, sha256, created_ns";

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultKind {
    /// Connections as Zeek's `conn.log`.
    Connections,
    /// Hosts in windows with what speaks against them.
    Scored,
    /// What a model says of each of these.
    Predictions,
}

impl ResultKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connections, Self::Scored, Self::Predictions];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Scored => "scored",
            Self::Predictions => "predictions",
        }
    }
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultFile {
    /// Its name in the folder.
    pub name: String,
    /// Name of the sensor whose daemon has it.
    pub sensor: String,
    /// What it holds.
    pub kind: ResultKind,
    /// The job that made it.
    pub job: String,
    /// What it was made from: a capture, or the name of a file of this list.
    pub source: String,
    /// The model that was asked.
    pub model: Option<String>,
    /// Its rows, without the line of names.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// When it was made.
    pub created: Timestamp,
}

/// Which files.
#[derive(Clone, Debug, Default)]
pub struct ResultFilter {
    /// Of this sensor's daemon.
    pub sensor: String,
    /// Of this kind.
    pub kind: Option<ResultKind>,
}

impl Store {
    /// Notes files that are whole, all or none of them. One of the same name is replaced.
    pub async fn insert_results(&self, files: &[ResultFile]) -> Result<(), StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        for file in files {
            let delete = Query::new("DELETE FROM results WHERE name = $1").bind(file.name.as_str());
            conn.execute(delete).await.map_err(&error)?;
            let insert = Query::new(
                "INSERT INTO results (name, sensor, kind, job, source, model, row_count, bytes, sha256, created_ns) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            );
            let insert = insert.bind(file.name.as_str()).bind(file.sensor.as_str()).bind(file.kind.word());
            let insert = insert.bind(file.job.as_str()).bind(file.source.as_str()).bind(file.model.clone());
            let insert = insert.bind(to_sql(file.rows)).bind(to_sql(file.bytes)).bind(file.sha256.as_str());
            conn.execute(insert.bind(to_sql(file.created.as_nanos()))).await.map_err(&error)?;
        }
        transaction.commit().await.map_err(error)
    }

    /// A file by its name.
    pub async fn result(&self, sensor: &str, name: &str) -> Result<Option<ResultFile>, StoreError> {
        let query = Query::new(format!("SELECT {COLUMNS} FROM results WHERE name = $1 AND sensor = $2"));
        self.read_one(TABLE, query.bind(name).bind(sensor), 0, read).await
    }

    /// Whether any sensor's daemon has a file of this name.
    pub async fn has_result(&self, name: &str) -> Result<bool, StoreError> {
        let query = Query::new("SELECT count(*) FROM results WHERE name = $1").bind(name);
        Ok(self.read(TABLE, query, |row| Ok(row.first()?)).await?.first().is_some_and(|count| *count > 0))
    }

    /// A page of files by the time at which they were made.
    pub async fn results(
        &self,
        filter: &ResultFilter,
        position: Position,
    ) -> Result<(Vec<ResultFile>, Option<Key>), StoreError> {
        let mut query = Query::new(format!("SELECT {COLUMNS} FROM results WHERE sensor = "));
        query.push_bind(filter.sensor.as_str());
        if let Some(kind) = filter.kind {
            query.push(" AND kind = ").push_bind(kind.word());
        }
        position.and_one().push_by(&mut query, "created_ns", "number");
        let placed = |row: &Row| {
            let key = Key { value: row.int("created_ns")?, id: row.int("number")? };
            Ok(Placed { key, item: self.usable(TABLE, read(row)) })
        };
        Ok(position.cut(self.read(TABLE, query, placed).await?))
    }

    /// Forgets a file; answers whether there was one.
    pub async fn delete_result(&self, sensor: &str, name: &str) -> Result<bool, StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let delete = Query::new("DELETE FROM results WHERE name = $1 AND sensor = $2").bind(name).bind(sensor);
        let gone = conn.execute(delete).await.map_err(&error)?;
        transaction.commit().await.map_err(error)?;
        Ok(gone > 0)
    }
}

fn read(row: &Row) -> Result<ResultFile, Unreadable> {
    let word = row.text("kind")?;
    let kind = ResultKind::ALL.into_iter().find(|kind| kind.word() == word);
    Ok(ResultFile {
        name: row.text("name")?,
        sensor: row.text("sensor")?,
        kind: kind.ok_or_else(|| Unreadable::new(format!("`{word}` is no kind of a result")))?,
        job: row.text("job")?,
        source: row.text("source")?,
        model: row.opt_text("model")?,
        rows: from_sql(row.natural("row_count")?),
        bytes: from_sql(row.natural("bytes")?),
        sha256: row.text("sha256")?,
        created: Timestamp::from_nanos(from_sql(row.natural("created_ns")?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::server_tests::Server;

    fn file(name: &str, kind: ResultKind, created: u64) -> ResultFile {
        ResultFile {
            name: name.to_owned(),
            sensor: "gw".to_owned(),
            kind,
            job: "j".to_owned(),
            source: "ab".to_owned(),
            model: (kind == ResultKind::Predictions).then(|| "0123456789ab".to_owned()),
            rows: 7,
            bytes: 700,
            sha256: "5a".to_owned(),
            created: Timestamp::from_nanos(created),
        }
    }

    async fn suite(store: &Store) {
        let files = [
            file("conn-1.log", ResultKind::Connections, 1),
            file("scored-1.csv", ResultKind::Scored, 1),
            file("predictions-2.csv", ResultKind::Predictions, 2),
        ];
        store.insert_results(&files[..2]).await.expect("noted");
        store.insert_results(&files[2..]).await.expect("noted");
        let others = ResultFile { sensor: "other".to_owned(), ..file("scored-9.csv", ResultKind::Scored, 3) };
        store.insert_results(&[others]).await.expect("noted");
        assert_eq!(store.result("gw", "scored-1.csv").await.expect("read"), Some(files[1].clone()));
        assert_eq!(store.result("other", "scored-1.csv").await.expect("read"), None, "another daemon's");
        assert!(store.has_result("scored-9.csv").await.expect("read"));
        assert!(!store.has_result("scored-8.csv").await.expect("read"));
        let filter = ResultFilter { sensor: "gw".to_owned(), kind: None };
        for descending in [true, false] {
            let (mut met, mut after) = (Vec::new(), None);
            loop {
                let position = Position { descending, after, limit: 1 };
                let (page, next) = store.results(&filter, position).await.expect("a page");
                met.extend(page);
                let Some(next) = next else { break };
                after = Some(next);
            }
            let mut expected = files.to_vec();
            if descending {
                expected.reverse();
            }
            assert_eq!(met, expected);
        }
        let first = Position { descending: true, after: None, limit: 10 };
        let scored = ResultFilter { kind: Some(ResultKind::Scored), ..filter.clone() };
        assert_eq!(store.results(&scored, first).await.expect("a page").0, files[1..2]);
        // A job that is done once more replaces what it made.
        let again = ResultFile { rows: 8, created: Timestamp::from_nanos(9), ..files[1].clone() };
        store.insert_results(std::slice::from_ref(&again)).await.expect("noted");
        assert_eq!(store.results(&scored, first).await.expect("a page").0, [again]);
        assert!(!store.delete_result("other", "scored-1.csv").await.expect("not theirs"));
        assert!(store.delete_result("gw", "scored-1.csv").await.expect("deleted"));
        assert!(!store.delete_result("gw", "scored-1.csv").await.expect("gone"));
    }

    #[tokio::test]
    async fn results_are_listed_on_sqlite() {
        suite(&Store::open("sqlite::memory:").await.expect("open")).await;
    }

    #[tokio::test]
    async fn results_are_listed_on_postgresql() {
        let Some(server) = Server::start("results_are_listed_on_postgresql") else { return };
        let store = server.open().await;
        suite(&store).await;
        store.close().await;
    }
}
