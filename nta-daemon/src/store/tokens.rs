//! The table `api_tokens`: who may use the API. A token itself is never stored, only its SHA-256.

use super::audit::{Audit, record};
use super::db::{Query, Row};
use super::unreadable::Unreadable;
use super::{Store, StoreError, from_sql, to_sql};
use nta_core::domain::Timestamp;

const TABLE: &str = "api_tokens";

/// Tokens that there may be, with those that are revoked or over; of these the oldest make room.
const MOST_TOKENS: i64 = 1000;

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its name, which no other token has; `role-number` unless given.
    pub name: Option<String>,
    /// What its owner may do.
    pub role: &'static str,
    /// SHA-256 of it.
    pub hash: [u8; 32],
    /// Interfaces that its owner may know of; `None` for all.
    pub scope: Option<Vec<String>>,
    /// When it is made.
    pub created: Timestamp,
    /// Until when it holds; `None` for always.
    pub expires: Option<Timestamp>,
}

/// A token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What its owner may do.
    pub role: String,
    /// SHA-256 of it.
    pub hash: [u8; 32],
    /// Interfaces that its owner may know of; `None` for all.
    pub scope: Option<Vec<String>>,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it holds; `None` for always.
    pub expires: Option<Timestamp>,
    /// When it was revoked; `None` while it is not.
    pub revoked: Option<Timestamp>,
    /// When it was used last, to about a minute; `None` when it never was.
    pub used: Option<Timestamp>,
}

impl StoredToken {
    /// Whether it holds at this time.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| at < expires)
    }
}

/// What became of a token to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is stored.
    Done(StoredToken),
    /// Another one has its name, or had it.
    NameTaken,
    /// There are as many as there may be.
    Full,
}

/// What became of a token to be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It is revoked.
    Done,
    /// It was before.
    Before,
    /// There is no such token.
    Unknown,
}

impl Store {
    /// Keeps a token, and who made it, or neither.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn create_token(&self, token: &NewToken, by: &Audit) -> Result<Created, StoreError> {
        let error = StoreError::query(TABLE);
        let scope = token.scope.as_ref().map(|scope| serde_json::json!(scope).to_string());
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let dead = Query::new(
            "DELETE FROM api_tokens WHERE id = (SELECT min(id) FROM api_tokens WHERE revoked_ns IS NOT NULL OR expires_ns <= $1) \
             AND (SELECT count(*) FROM api_tokens) >= $2",
        );
        conn.execute(dead.bind(to_sql(token.created.as_nanos())).bind(MOST_TOKENS)).await.map_err(&error)?;
        if conn.number(Query::new("SELECT count(*) FROM api_tokens")).await.map_err(&error)? >= MOST_TOKENS {
            return Ok(Created::Full);
        }
        let next = Query::new("SELECT coalesce(max(id), 0) + 1 FROM api_tokens");
        let name = match &token.name {
            Some(name) => name.clone(),
            None => format!("{}-{}", token.role, conn.number(next).await.map_err(&error)?),
        };
        let taken = Query::new("SELECT id FROM api_tokens WHERE name = $1").bind(name.as_str());
        if conn.fetch_optional(taken).await.map_err(&error)?.is_some() {
            return Ok(Created::NameTaken);
        }
        let insert = Query::new(
            "INSERT INTO api_tokens (name, role, hash, scope, created_ns, expires_ns) VALUES ($1, $2, $3, $4, $5, $6) \
             RETURNING id",
        );
        let insert = insert.bind(name.as_str()).bind(token.role).bind(token.hash.to_vec()).bind(scope);
        let insert = insert.bind(to_sql(token.created.as_nanos())).bind(token.expires.map(|at| to_sql(at.as_nanos())));
        let id = from_sql(conn.number(insert).await.map_err(&error)?);
        let NewToken { hash, scope, created, expires, .. } = token.clone();
        let role = token.role.to_owned();
        let stored = StoredToken { id, name, role, hash, scope, created, expires, revoked: None, used: None };
        let mut by = by.clone();
        by.target = format!("token {id}");
        by.after = Some(stored.shown());
        record(conn, &by).await?;
        transaction.commit().await.map_err(error)?;
        Ok(Created::Done(stored))
    }

    /// All tokens, the oldest first, and whether there is a row at all, readable or not.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tokens(&self) -> Result<(Vec<StoredToken>, bool), StoreError> {
        let query = Query::new(format!("{SELECT} ORDER BY id"));
        let rows = self.database.fetch_all(query).await.map_err(StoreError::query(TABLE))?;
        let tokens = rows.iter().filter_map(|row| self.usable(TABLE, stored(row))).collect();
        Ok((tokens, !rows.is_empty()))
    }

    /// Puts tokens back that were known, into a database that has none: it is another one than before.
    ///
    /// # Errors
    /// When the database does not take them.
    pub async fn restore_tokens(&self, tokens: &[StoredToken]) -> Result<(), StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        if conn.number(Query::new("SELECT count(*) FROM api_tokens")).await.map_err(&error)? > 0 {
            return Ok(());
        }
        let time = |at: Option<Timestamp>| at.map(|at| to_sql(at.as_nanos()));
        for token in tokens {
            let insert = Query::new(
                "INSERT INTO api_tokens (name, role, hash, scope, created_ns, expires_ns, revoked_ns, used_ns) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            );
            let insert = insert.bind(token.name.as_str()).bind(token.role.as_str()).bind(token.hash.to_vec());
            let insert = insert.bind(token.scope.as_ref().map(|scope| serde_json::json!(scope).to_string()));
            let insert = insert.bind(to_sql(token.created.as_nanos())).bind(time(token.expires));
            conn.execute(insert.bind(time(token.revoked)).bind(time(token.used))).await.map_err(&error)?;
        }
        transaction.commit().await.map_err(error)
    }

    /// Revokes a token, and keeps who did, or neither.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn revoke_token(&self, id: u64, by: &Audit) -> Result<Revoked, StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let of = Query::new(format!("{SELECT} WHERE id = $1")).bind(to_sql(id));
        let Some(row) = conn.fetch_optional(of).await.map_err(&error)? else { return Ok(Revoked::Unknown) };
        let before = stored(&row).map_err(|unreadable| unreadable.of(TABLE, to_sql(id)))?;
        if before.revoked.is_some() {
            return Ok(Revoked::Before);
        }
        let update = Query::new("UPDATE api_tokens SET revoked_ns = $1 WHERE id = $2");
        conn.execute(update.bind(to_sql(by.at.as_nanos())).bind(to_sql(id))).await.map_err(&error)?;
        let after = StoredToken { revoked: Some(by.at), ..before.clone() };
        let target = format!("token {id}");
        let by = Audit { target, before: Some(before.shown()), after: Some(after.shown()), ..by.clone() };
        record(conn, &by).await?;
        transaction.commit().await.map_err(error)?;
        Ok(Revoked::Done)
    }

    /// Notes when a token was used.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn token_used(&self, id: u64, at: Timestamp) -> Result<(), StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let update = Query::new("UPDATE api_tokens SET used_ns = $1 WHERE id = $2");
        conn.execute(update.bind(to_sql(at.as_nanos())).bind(to_sql(id))).await.map_err(&error)?;
        transaction.commit().await.map_err(error)
    }
}

impl StoredToken {
    /// As the audit log shows it: without its hash.
    fn shown(&self) -> serde_json::Value {
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
        serde_json::json!({
            "name": self.name, "role": self.role, "scope": self.scope, "expires": text(self.expires),
            "revoked": text(self.revoked),
        })
    }
}

const SELECT: &str = "SELECT id, name, role, hash, scope, created_ns, expires_ns, revoked_ns, used_ns FROM api_tokens";

/// A row that cannot be read holds for nobody.
fn stored(row: &Row) -> Result<StoredToken, Unreadable> {
    let scope = match row.opt_text("scope")? {
        Some(text) => Some(serde_json::from_str(&text).map_err(|error| Unreadable::new(format!("scope: {error}")))?),
        None => None,
    };
    let hash = row.blob("hash")?.try_into().map_err(|_length| Unreadable::new("the hash has not 32 bytes"))?;
    let time =
        |column: &str| Ok::<_, Unreadable>(row.opt_natural(column)?.map(|ns| Timestamp::from_nanos(from_sql(ns))));
    Ok(StoredToken {
        id: from_sql(row.natural("id")?),
        name: row.text("name")?,
        role: row.text("role")?,
        hash,
        scope,
        created: Timestamp::from_nanos(from_sql(row.natural("created_ns")?)),
        expires: time("expires_ns")?,
        revoked: time("revoked_ns")?,
        used: time("used_ns")?,
    })
}
