//! Tokens and the audit log, on both databases.

use serde_json::json;

use super::db::Query;
use super::server_tests::Server;
use super::tests::FIRST_PAGE;
use super::*;
use nta_core::domain::Timestamp;

const S: u64 = 1_000_000_000;
const NEWEST: Position = Position { descending: true, ..FIRST_PAGE };

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * S)
}

fn by(seconds: u64, action: &'static str) -> Audit {
    Audit {
        at: at(seconds),
        who: "root".to_owned(),
        role: "admin".to_owned(),
        origin: "command".to_owned(),
        action,
        target: String::new(),
        before: None,
        after: None,
    }
}

fn token(hash: u8, name: Option<&str>) -> NewToken {
    NewToken {
        name: name.map(str::to_owned),
        role: "viewer",
        hash: [hash; 32],
        scope: Some(vec!["eth0".to_owned()]),
        created: at(10),
        expires: Some(at(100)),
    }
}

/// What is stored comes back, holds until it expires or is revoked, and each change is in the audit log without a secret.
async fn tokens_are_kept_and_revoked(store: &Store) {
    assert_eq!(store.tokens().await.expect("tokens"), (vec![], false));
    let Created::Done(made) = store.create_token(&token(7, None), &by(10, "create token")).await.expect("created")
    else {
        panic!("not created")
    };
    assert_eq!(
        (made.name.as_str(), made.hash, made.scope.as_deref()),
        ("viewer-1", [7; 32], Some(&["eth0".to_owned()][..]))
    );
    assert!(made.holds(at(99)) && !made.holds(at(100)), "until it expires");
    let again = store.create_token(&token(8, Some("viewer-1")), &by(11, "create token")).await.expect("asked");
    assert_eq!(again, Created::NameTaken);
    assert_eq!(store.tokens().await.expect("tokens"), (vec![made.clone()], true));

    store.token_used(made.id, at(20)).await.expect("noted");
    assert_eq!(store.revoke_token(made.id, &by(30, "revoke token")).await.expect("revoked"), Revoked::Done);
    assert_eq!(store.revoke_token(made.id, &by(31, "revoke token")).await.expect("asked"), Revoked::Before);
    assert_eq!(store.revoke_token(99, &by(31, "revoke token")).await.expect("asked"), Revoked::Unknown);
    let revoked = store.tokens().await.expect("tokens").0.remove(0);
    assert_eq!((revoked.used, revoked.revoked), (Some(at(20)), Some(at(30))));
    assert!(!revoked.holds(at(40)));
    // A row that was damaged holds for nobody, and is there all the same.
    let mut transaction = store.database.begin().await.expect("a transaction");
    let damage = Query::new("UPDATE api_tokens SET scope = '{'");
    transaction.conn().expect("a connection").execute(damage).await.expect("an update");
    transaction.commit().await.expect("a commit");
    assert_eq!(store.tokens().await.expect("tokens"), (vec![], true));

    let audited = store.audited(&AuditFilter::default(), NEWEST).await.expect("log").items;
    let actions: Vec<_> = audited.iter().map(|row| (row.action.as_str(), row.target.as_str())).collect();
    assert_eq!(actions, [("revoke token", "token 1"), ("create token", "token 1")], "what failed changed nothing");
    assert_eq!(audited[0].before.as_ref().map(|before| before["revoked"].is_null()), Some(true));
    assert_eq!(audited[0].after.as_ref().map(|after| after["revoked"].clone()), Some(at(30).to_string().into()));
    assert!(audited.iter().all(|row| !format!("{row:?}").contains("hash")), "{audited:?}");
}

/// Nothing but retention changes a row that was written, and a large document does not make a large row.
async fn the_audit_log_is_append_only(store: &Store) {
    for second in 1..=5 {
        let change = Audit {
            target: format!("thing {second}"),
            after: Some(json!({"n": second})),
            ..by(second, "change thing")
        };
        store.audit(&change).await.expect("kept");
    }
    for statement in [
        "UPDATE audit_log SET who = 'nobody'",
        "UPDATE audit_log SET after = NULL WHERE id = 1",
        "DELETE FROM audit_log",
        "DELETE FROM audit_log WHERE id = 1",
    ] {
        let mut transaction = store.database.begin().await.expect("a transaction");
        let refused = transaction.conn().expect("a connection").execute(Query::new(statement)).await;
        assert!(refused.expect_err(statement).to_string().contains("append-only"), "{statement}");
    }
    let page = |filter: AuditFilter, limit| async move {
        let position = Position { limit, ..NEWEST };
        let page = store.audited(&filter, position).await.expect("a page");
        (page.items.iter().map(|row| row.target.clone()).collect::<Vec<_>>(), page.next)
    };
    let (newest, next) = page(AuditFilter::default(), 2).await;
    assert_eq!(newest, ["thing 5", "thing 4"]);
    assert!(next.is_some());
    let some =
        AuditFilter { from: Some(at(2)), to: Some(at(4)), who: Some("root".to_owned()), ..AuditFilter::default() };
    assert_eq!(page(some, 10).await.0, ["thing 3", "thing 2"]);
    let none = AuditFilter { who: Some("mira".to_owned()), ..AuditFilter::default() };
    assert_eq!(page(none, 10).await.0, Vec::<String>::new());

    let large = Audit { after: Some(json!("x".repeat(1_000_000))), ..by(6, "change thing") };
    store.audit(&large).await.expect("kept");
    let newest = store.audited(&AuditFilter::default(), NEWEST).await.expect("log").items.remove(0);
    assert_eq!(newest.after, Some(json!({"left_out_bytes": 1_000_002})));

    // As if 100,000 changes lay between: the next one makes the oldest go.
    let mut transaction = store.database.begin().await.expect("a transaction");
    let far = "INSERT INTO audit_log (id, at_ns, who, role, origin, action, target) VALUES (100003, 7, 'a', 'b', 'c', 'd', 'far')";
    transaction.conn().expect("a connection").execute(Query::new(far)).await.expect("inserted");
    if transaction.conn().expect("a connection").dialect() == db::Dialect::Postgres {
        let restart = "ALTER TABLE audit_log ALTER COLUMN id RESTART WITH 100004";
        transaction.conn().expect("a connection").execute(Query::new(restart)).await.expect("restarted");
    }
    transaction.commit().await.expect("committed");
    store.audit(&by(8, "change thing")).await.expect("kept");
    let ids: Vec<u64> =
        store.audited(&AuditFilter::default(), NEWEST).await.expect("log").items.iter().map(|row| row.id).collect();
    assert_eq!(ids.iter().min(), Some(&5), "{ids:?}");
    assert_eq!(ids.len(), 4, "{ids:?}");
}

macro_rules! on_both {
    ($check:ident, $sqlite:ident, $postgres:ident) => {
        #[tokio::test]
        async fn $sqlite() {
            let folder = tempfile::tempdir().expect("folder");
            let url = format!("sqlite:{}", folder.path().join("nta.db").display());
            $check(&Store::open(&url).await.expect("open")).await;
        }

        #[tokio::test]
        async fn $postgres() {
            let Some(server) = Server::start(stringify!($postgres)) else { return };
            let store = server.open().await;
            $check(&store).await;
            store.close().await;
        }
    };
}

on_both!(tokens_are_kept_and_revoked, tokens_are_kept_and_revoked_on_sqlite, tokens_are_kept_and_revoked_on_postgresql);
on_both!(
    the_audit_log_is_append_only,
    the_audit_log_is_append_only_on_sqlite,
    the_audit_log_is_append_only_on_postgresql
);
