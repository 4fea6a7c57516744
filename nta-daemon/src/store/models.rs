//! The tables `models` and `active_models`: models that were trained here, and which of them judges for a sensor.

use super::db::{Query, Row};
use super::unreadable::Unreadable;
use super::{Store, StoreError, from_sql, to_sql};
use nta_core::domain::Timestamp;

const TABLE: &str = "models";
const ACTIVE: &str = "active_models";
const COLUMNS: &str = "id, algorithm, job, who, created_ns, manifest, report";
/// Models that are kept beside those that judge; of more the oldest goes.
pub const MOST_MODELS: u32 = 32;

/// A model that was trained here, without its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredModel {
    /// The first digits of its SHA-256.
    pub id: String,
    /// What it is.
    pub algorithm: String,
    /// The job that trained it.
    pub job: String,
    /// Who asked for it.
    pub who: String,
    /// When.
    pub created: Timestamp,
    /// What it was made from, as JSON.
    pub manifest: String,
    /// Whether it validates, and what its inputs weigh, as JSON.
    pub report: String,
}

/// The model that was chosen for a sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveModel {
    /// What it is.
    pub algorithm: String,
    /// The first digits of its SHA-256.
    pub model: String,
    /// What the configuration named when it was chosen.
    pub configured: String,
    /// Who chose it.
    pub who: String,
    /// When.
    pub activated: Timestamp,
}

impl Store {
    /// Keeps a model; of more than there may be the oldest goes that judges for nobody. The same model once more replaces what is known
    /// of it. Answers how many went.
    pub async fn insert_model(&self, model: &StoredModel, file: Vec<u8>) -> Result<u64, StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let delete = Query::new("DELETE FROM models WHERE id = $1").bind(model.id.as_str());
        conn.execute(delete).await.map_err(&error)?;
        let insert = Query::new(
            "INSERT INTO models (id, algorithm, job, who, created_ns, model, manifest, report) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        );
        let insert = insert.bind(model.id.as_str()).bind(model.algorithm.as_str()).bind(model.job.as_str());
        let insert = insert.bind(model.who.as_str()).bind(to_sql(model.created.as_nanos())).bind(file);
        let insert = insert.bind(model.manifest.as_str()).bind(model.report.as_str());
        conn.execute(insert).await.map_err(&error)?;
        let old = Query::new(
            "DELETE FROM models WHERE number IN (SELECT number FROM models \
             WHERE id NOT IN (SELECT model FROM active_models) ORDER BY number DESC LIMIT 1000 OFFSET $1)",
        );
        let gone = conn.execute(old.bind(i64::from(MOST_MODELS))).await.map_err(&error)?;
        transaction.commit().await.map_err(error)?;
        Ok(gone)
    }

    /// All models that were trained here, the newest first.
    pub async fn models(&self) -> Result<Vec<StoredModel>, StoreError> {
        let query = Query::new(format!("SELECT {COLUMNS} FROM models ORDER BY number DESC LIMIT 1000"));
        self.read(TABLE, query, read).await
    }

    /// A model and its file.
    pub async fn model(&self, id: &str) -> Result<Option<(StoredModel, Vec<u8>)>, StoreError> {
        let query = Query::new(format!("SELECT {COLUMNS}, model FROM models WHERE id = $1")).bind(id);
        self.read_one(TABLE, query, 0, |row| Ok((read(row)?, row.blob("model")?))).await
    }

    /// The models that were chosen for a sensor.
    pub async fn active_models(&self, sensor: &str) -> Result<Vec<ActiveModel>, StoreError> {
        let query = "SELECT algorithm, model, configured, who, activated_ns FROM active_models WHERE sensor = $1";
        let read = |row: &Row| {
            Ok(ActiveModel {
                algorithm: row.text("algorithm")?,
                model: row.text("model")?,
                configured: row.text("configured")?,
                who: row.text("who")?,
                activated: Timestamp::from_nanos(from_sql(row.natural("activated_ns")?)),
            })
        };
        self.read(ACTIVE, Query::new(query).bind(sensor), read).await
    }

    /// Chooses a model for a sensor in place of the one of this algorithm that was chosen before.
    pub async fn choose_model(&self, sensor: &str, chosen: &ActiveModel) -> Result<(), StoreError> {
        let error = StoreError::query(ACTIVE);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let delete = Query::new("DELETE FROM active_models WHERE sensor = $1 AND algorithm = $2");
        conn.execute(delete.bind(sensor).bind(chosen.algorithm.as_str())).await.map_err(&error)?;
        let insert = Query::new(
            "INSERT INTO active_models (sensor, algorithm, model, configured, who, activated_ns) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        );
        let insert = insert.bind(sensor).bind(chosen.algorithm.as_str()).bind(chosen.model.as_str());
        let insert = insert.bind(chosen.configured.as_str()).bind(chosen.who.as_str());
        conn.execute(insert.bind(to_sql(chosen.activated.as_nanos()))).await.map_err(&error)?;
        transaction.commit().await.map_err(error)
    }
}

fn read(row: &Row) -> Result<StoredModel, Unreadable> {
    Ok(StoredModel {
        id: row.text("id")?,
        algorithm: row.text("algorithm")?,
        job: row.text("job")?,
        who: row.text("who")?,
        created: Timestamp::from_nanos(from_sql(row.natural("created_ns")?)),
        manifest: row.text("manifest")?,
        report: row.text("report")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::server_tests::Server;

    fn model(id: &str) -> StoredModel {
        StoredModel {
            id: id.to_owned(),
            algorithm: "xgboost".to_owned(),
            job: "j".to_owned(),
            who: "mira".to_owned(),
            created: Timestamp::from_nanos(7),
            manifest: "{}".to_owned(),
            report: "{}".to_owned(),
        }
    }

    fn chosen(id: &str, algorithm: &str) -> ActiveModel {
        ActiveModel {
            algorithm: algorithm.to_owned(),
            model: id.to_owned(),
            configured: String::new(),
            who: "mira".to_owned(),
            activated: Timestamp::from_nanos(8),
        }
    }

    async fn suite(store: &Store) {
        let bytes = [0, 255, b'\'', 10].repeat(1000);
        assert_eq!(store.insert_model(&model("first"), bytes.clone()).await.expect("kept"), 0);
        assert_eq!(store.model("first").await.expect("read"), Some((model("first"), bytes)), "byte by byte");
        assert_eq!(store.model("other").await.expect("read"), None);
        let again = StoredModel { job: "k".to_owned(), ..model("first") };
        store.insert_model(&again, vec![1]).await.expect("kept");
        assert_eq!(store.models().await.expect("read"), [again]);

        for choice in [chosen("first", "xgboost"), chosen("forest", "isolation_forest"), chosen("other", "xgboost")] {
            store.choose_model("gw", &choice).await.expect("chosen");
        }
        store.choose_model("elsewhere", &chosen("first", "xgboost")).await.expect("chosen");
        let mut active = store.active_models("gw").await.expect("read");
        active.sort_by(|a, b| a.algorithm.cmp(&b.algorithm));
        assert_eq!(active, [chosen("forest", "isolation_forest"), chosen("other", "xgboost")]);
        assert_eq!(store.active_models("nobody").await.expect("read"), []);

        // The one that judges stays, however many come.
        let mut gone = 0;
        for number in 0..MOST_MODELS + 3 {
            gone += store.insert_model(&model(&format!("m{number}")), vec![2]).await.expect("kept");
        }
        assert_eq!(gone, 3);
        let ids: Vec<String> = store.models().await.expect("read").into_iter().map(|model| model.id).collect();
        assert_eq!((ids.len() as u32, ids.last().map(String::as_str)), (MOST_MODELS + 1, Some("first")));
        assert!(!ids.contains(&"m2".to_owned()) && ids.contains(&"m3".to_owned()), "{ids:?}");
    }

    #[tokio::test]
    async fn models_are_kept_on_sqlite() {
        suite(&Store::open("sqlite::memory:").await.expect("open")).await;
    }

    #[tokio::test]
    async fn models_are_kept_on_postgresql() {
        let Some(server) = Server::start("models_are_kept_on_postgresql") else { return };
        let store = server.open().await;
        suite(&store).await;
        store.close().await;
    }
}
