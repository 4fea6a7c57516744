//! The table `audit_log`: who changed what. Rows are added and never changed, which triggers of the database hold; the oldest go when
//! there are more than [`MOST_ROWS`].

use serde_json::{Value, json};

use super::db::{Conn, Query, Row};
use super::list::{Branch, Listed, MOST_READ, Way, when};
use super::unreadable::Unreadable;
use super::{Key, Position, Store, StoreError, from_sql, to_sql};
use nta_core::domain::Timestamp;

const TABLE: &str = "audit_log";

/// Rows that are kept. The triggers know the same number.
const MOST_ROWS: i64 = 100_000;
/// Bytes of what was before, and of what is behind.
const MOST_BYTES: usize = 8 * 1024;
/// Characters of every other field.
const MOST_CHARS: usize = 200;

/// A change, and who made it.
#[derive(Clone, Debug)]
pub struct Audit {
    /// When.
    pub at: Timestamp,
    /// Name of the token, `anonymous`, or who called the command.
    pub who: String,
    /// What they may do.
    pub role: String,
    /// Address of the client, or `command`.
    pub origin: String,
    /// What was done: a verb and a noun such as `revoke token`.
    pub action: &'static str,
    /// To what.
    pub target: String,
    /// What it was before; `None` of what was not there.
    pub before: Option<Value>,
    /// What it is now; `None` of what is gone.
    pub after: Option<Value>,
}

/// A change as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow {
    /// Its number.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// Name of the token, `anonymous`, or who called the command.
    pub who: String,
    /// What they may do.
    pub role: String,
    /// Address of the client, or `command`.
    pub origin: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub target: String,
    /// What it was before.
    pub before: Option<Value>,
    /// What it is now.
    pub after: Option<Value>,
}

/// Which changes.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// By whom.
    pub who: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
}

/// A page of changes.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// The changes.
    pub items: Vec<AuditRow>,
    /// Behind the last one; `None` on the last page.
    pub next: Option<Key>,
}

impl Store {
    /// Keeps a change that was made.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn audit(&self, change: &Audit) -> Result<(), StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        record(transaction.conn().map_err(&error)?, change).await?;
        transaction.commit().await.map_err(error)
    }

    /// A page of changes, by their time.
    ///
    /// # Errors
    /// When the database does not answer, or would have to read too much.
    pub async fn audited(&self, filter: &AuditFilter, position: Position) -> Result<AuditPage, StoreError> {
        let listed = Listed {
            table: TABLE,
            columns: "id, at_ns, who, role, origin, action, target, before, after",
            order: "at_ns",
            id: "id",
        };
        let who = filter.who.as_deref().map(|who| when("who = ?", who));
        let action = filter.action.as_deref().map(|action| when("action = ?", action));
        let [low, high] = [filter.from, filter.to].map(|time| time.map(|time| to_sql(time.as_nanos())));
        let rest = who.into_iter().chain(action).collect();
        let way = Way { low, high, ..Way::in_order(Branch::default(), rest, MOST_READ) };
        let rows = self.list(&listed, &[way], position.and_one(), read).await?;
        let (items, next) = position.cut(rows);
        Ok(AuditPage { items, next })
    }
}

/// Keeps a change in the transaction that makes it.
pub(super) async fn record(conn: &mut Conn, change: &Audit) -> Result<(), StoreError> {
    let error = StoreError::query(TABLE);
    let short = |text: &str| text.chars().take(MOST_CHARS).collect::<String>();
    let insert = Query::new(
        "INSERT INTO audit_log (at_ns, who, role, origin, action, target, before, after) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
    );
    let insert = insert.bind(to_sql(change.at.as_nanos())).bind(short(&change.who)).bind(short(&change.role));
    let insert = insert.bind(short(&change.origin)).bind(short(change.action)).bind(short(&change.target));
    let insert = insert.bind(change.before.as_ref().map(bounded)).bind(change.after.as_ref().map(bounded));
    let id = conn.number(insert).await.map_err(&error)?;
    let oldest = Query::new("DELETE FROM audit_log WHERE id <= $1").bind(id - MOST_ROWS);
    conn.execute(oldest).await.map(drop).map_err(error)
}

/// A document as text; of one that is too long only its size.
fn bounded(document: &Value) -> String {
    let text = document.to_string();
    if text.len() <= MOST_BYTES { text } else { json!({ "left_out_bytes": text.len() }).to_string() }
}

fn read(row: &Row) -> Result<AuditRow, Unreadable> {
    let document = |column: &str| match row.opt_text(column)? {
        Some(text) => {
            let read = serde_json::from_str(&text);
            read.map(Some).map_err(|error| Unreadable::new(format!("{column}: {error}")))
        }
        None => Ok(None),
    };
    Ok(AuditRow {
        id: from_sql(row.natural("id")?),
        at: Timestamp::from_nanos(from_sql(row.natural("at_ns")?)),
        who: row.text("who")?,
        role: row.text("role")?,
        origin: row.text("origin")?,
        action: row.text("action")?,
        target: row.text("target")?,
        before: document("before")?,
        after: document("after")?,
    })
}
