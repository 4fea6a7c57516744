//! The table `mutes`: what operators do not want to hear of for a while.

use std::collections::BTreeMap;

use super::db::{Query, Row};
use super::unreadable::{Unreadable, usable};
use super::{Store, StoreError, from_sql, meta, to_sql};
use nta_core::alerting::Mute;
use nta_core::detect::network;
use nta_core::domain::{AlertKind, Timestamp};

const TABLE: &str = "mutes";
/// Mutes that there may be, those whose time is over among them.
pub const MOST_MUTES: u32 = 1000;
/// So long after its end one is still shown.
const SHOWN_NS: u64 = 30 * 86_400 * 1_000_000_000;

/// What a mute hid: how many findings, and the end of the last window with one.
pub type HiddenByMute = (u64, Option<Timestamp>);

/// A mute as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMute {
    /// What it covers.
    pub mute: Mute,
    /// Why.
    pub reason: String,
    /// Who made it.
    pub by: String,
    /// When.
    pub created: Timestamp,
    /// Until when it holds.
    pub expires: Timestamp,
}

impl StoredMute {
    /// As the pipeline takes it.
    pub fn held(self) -> (Mute, Timestamp) {
        (self.mute, self.expires)
    }

    fn read(row: &Row) -> Result<Self, Unreadable> {
        let time = |column: &str| Ok::<_, Unreadable>(Timestamp::from_nanos(from_sql(row.natural(column)?)));
        let parsed = |column: &str| match row.opt_text(column)? {
            Some(text) => network(&text).map(Some).map_err(|error| Unreadable::new(format!("{column}: {error}"))),
            None => Ok(None),
        };
        let kinds = row.text("kinds")?;
        let kind =
            |word| AlertKind::named(word).ok_or_else(|| Unreadable::new(format!("`{word}` is no kind of alert")));
        Ok(Self {
            mute: Mute {
                id: from_sql(row.natural("id")?),
                kinds: kinds.split_whitespace().map(kind).collect::<Result<_, _>>()?,
                source: parsed("source")?,
                destination: parsed("destination")?,
                host: parsed("host")?,
            },
            reason: row.text("reason")?,
            by: row.text("author")?,
            created: time("created_ns")?,
            expires: time("expires_ns")?,
        })
    }
}

impl Store {
    /// All mutes, the one made last first.
    pub async fn mutes(&self) -> Result<Vec<StoredMute>, StoreError> {
        let query = Query::new(
            "SELECT id, kinds, source, destination, host, reason, author, created_ns, expires_ns FROM mutes \
             ORDER BY id DESC LIMIT $1",
        );
        self.read(TABLE, query.bind(i64::from(MOST_MUTES)), StoredMute::read).await
    }

    /// Stores a mute, whose number is given here; `None` when there are as many as there may be. Those that are over for long go.
    pub async fn create_mute(&self, new: &StoredMute) -> Result<Option<u64>, StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let over = to_sql(new.created.as_nanos().saturating_sub(SHOWN_NS));
        conn.execute(Query::new("DELETE FROM mutes WHERE expires_ns < $1").bind(over)).await.map_err(&error)?;
        if conn.number(Query::new("SELECT count(*) FROM mutes")).await.map_err(&error)? >= i64::from(MOST_MUTES) {
            return Ok(None);
        }
        let Mute { kinds, source, destination, host, .. } = &new.mute;
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
        let text = |network: &Option<ipnet::IpNet>| network.map(|network| network.to_string());
        let insert = Query::new(
            "INSERT INTO mutes (kinds, source, destination, host, reason, author, created_ns, expires_ns) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
        );
        let insert = insert.bind(kinds.join(" ")).bind(text(source)).bind(text(destination)).bind(text(host));
        let insert = insert.bind(new.reason.as_str()).bind(new.by.as_str());
        let insert = insert.bind(to_sql(new.created.as_nanos())).bind(to_sql(new.expires.as_nanos()));
        let id = conn.number(insert).await.map_err(&error)?;
        transaction.commit().await.map_err(error)?;
        Ok(Some(from_sql(id)))
    }

    /// What each mute hid of a sensor's findings, as it was kept last.
    pub async fn hidden(&self, sensor: &str) -> Result<BTreeMap<u64, HiddenByMute>, StoreError> {
        let kept = self.meta(&format!("muted:{sensor}")).await?;
        let kept = kept.map_or(Ok(Vec::new()), |kept| serde_json::from_str::<Vec<(u64, u64, Option<u64>)>>(&kept));
        let kept = usable("meta", [kept.map_err(|error| Unreadable::new(format!("what mutes hid: {error}")))]);
        let hidden = |(id, findings, last): (u64, u64, Option<u64>)| (id, (findings, last.map(Timestamp::from_nanos)));
        Ok(kept.into_iter().flatten().map(hidden).collect())
    }

    /// Keeps it.
    pub async fn keep_hidden(&self, sensor: &str, hidden: &BTreeMap<u64, HiddenByMute>) -> Result<(), StoreError> {
        let error = StoreError::query("meta");
        let kept: Vec<_> =
            hidden.iter().map(|(id, (findings, last))| (id, findings, last.map(Timestamp::as_nanos))).collect();
        // Numbers: nothing of it can be refused.
        let text = serde_json::to_string(&kept).unwrap_or_default();
        let mut transaction = self.database.begin().await?;
        meta::set(transaction.conn().map_err(&error)?, &format!("muted:{sensor}"), &text).await?;
        transaction.commit().await.map_err(error)
    }

    /// Deletes a mute; whether there was one.
    pub async fn delete_mute(&self, id: u64) -> Result<bool, StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let gone =
            conn.execute(Query::new("DELETE FROM mutes WHERE id = $1").bind(to_sql(id))).await.map_err(&error)?;
        transaction.commit().await.map_err(error)?;
        Ok(gone > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::server_tests::Server;

    const DAY: u64 = 86_400 * 1_000_000_000;

    fn mute(created: u64, expires: u64) -> StoredMute {
        StoredMute {
            mute: Mute {
                id: 0,
                kinds: vec![AlertKind::PortScan, AlertKind::SynFlood],
                source: network("192.0.2.0/24").ok(),
                destination: None,
                host: network("2001:db8::1").ok(),
            },
            reason: "our scanner; 'quoted'".to_owned(),
            by: "mira".to_owned(),
            created: Timestamp::from_nanos(created),
            expires: Timestamp::from_nanos(expires),
        }
    }

    async fn suite(store: &Store) {
        let first = store.create_mute(&mute(DAY, 2 * DAY)).await.expect("stored").expect("room");
        let second = store.create_mute(&mute(DAY, 90 * DAY)).await.expect("stored").expect("room");
        let all = store.mutes().await.expect("read");
        assert_eq!(all.iter().map(|one| one.mute.id).collect::<Vec<_>>(), [second, first]);
        let stored = StoredMute { mute: Mute { id: first, ..mute(0, 0).mute }, ..mute(DAY, 2 * DAY) };
        assert_eq!(all[1], stored, "as it was made");
        // What they hid is kept for each sensor.
        assert!(store.hidden("gw").await.expect("read").is_empty());
        let last = Some(Timestamp::from_nanos(5));
        let hid = [(first, (3, last)), (second, (0, None))].into();
        store.keep_hidden("gw", &[(first, (1, None))].into()).await.expect("kept");
        store.keep_hidden("gw", &hid).await.expect("kept");
        assert_eq!((store.hidden("gw").await.expect("read"), store.hidden("b").await.expect("read").len()), (hid, 0));
        assert!(store.delete_mute(second).await.expect("deleted") && !store.delete_mute(second).await.expect("gone"));
        // One that is over is shown for a month, and makes room then.
        let third = store.create_mute(&mute(31 * DAY, 90 * DAY)).await.expect("stored").expect("room");
        assert_eq!(store.mutes().await.expect("read").len(), 2);
        assert!(third > second, "a number is given once");
        for _ in 0..MOST_MUTES - 2 {
            assert!(store.create_mute(&mute(31 * DAY, 90 * DAY)).await.expect("stored").is_some());
        }
        assert_eq!(store.create_mute(&mute(31 * DAY, 90 * DAY)).await.expect("full"), None);
        assert!(store.create_mute(&mute(33 * DAY, 90 * DAY)).await.expect("stored").is_some(), "the first one is gone");
    }

    #[tokio::test]
    async fn mutes_are_kept_on_sqlite() {
        suite(&Store::open("sqlite::memory:").await.expect("open")).await;
    }

    #[tokio::test]
    async fn mutes_are_kept_on_postgresql() {
        let Some(server) = Server::start("mutes_are_kept_on_postgresql") else { return };
        suite(&server.open().await).await;
    }
}
