//! A webhook whose place in the log the database does not keep, or that was in trouble as the daemon ended.

use super::Webhooks;
use super::tests::{begin, generic, next, server, started, trouble};
use crate::store::Store;
use crate::store::server_tests::run as run_sql;
use nta_core::domain::{Mode, Severity};

#[tokio::test]
async fn what_was_sent_is_not_sent_again_while_the_database_can_only_be_read() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("nta.db").display());
    let store = Store::open(&url).await.expect("store");
    let (live, run) = begin(&store, Mode::Live, "gw").await;
    let (address, mut requests) = server(&[200, 400, 200, 200, 400]).await;
    let (_webhooks, stop) = started(&store, &[generic(address, "")], run).await;
    for (name, on) in [("full_webhooks", "UPDATE ON webhooks"), ("full_letters", "INSERT ON dead_letters")] {
        let full =
            format!("CREATE TRIGGER {name} BEFORE {on} BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END");
        run_sql(&url, full.leak()).await;
    }
    let names = ["eth0 is away", "eth1 is away", "eth2 is away"];
    for name in names {
        trouble(&live, Severity::High, name).await;
        let (_, body) = next(&mut requests).await;
        assert!(body.contains(name), "{name}: {body}");
    }
    // Nobody knows after a restart what was taken, and nothing is lost.
    stop.cancel();
    let (webhooks, stop) = started(&store, &[generic(address, "")], run).await;
    for name in names {
        let (_, body) = next(&mut requests).await;
        assert!(body.contains(name), "{name}: {body}");
    }
    run_sql(&url, "DROP TRIGGER full_webhooks").await;
    run_sql(&url, "DROP TRIGGER full_letters").await;
    trouble(&live, Severity::High, "eth3 is away").await;
    assert!(next(&mut requests).await.1.contains("eth3 is away"));
    let state = loop {
        let state = webhooks.states().await.expect("states").remove(0);
        if state.row.as_ref().is_some_and(|row| row.delivered == 3) {
            break state;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((state.dead, state.row.map(|row| row.dead)), (1, Some(1)));
    assert!(webhooks.dead_letters(None, 10).await.expect("letters")[0].event.body.contains("eth1"));
    stop.cancel();
    let (_webhooks, _stop) = started(&store, &[generic(address, "")], run).await;
    trouble(&live, Severity::High, "eth4 is away").await;
    assert!(next(&mut requests).await.1.contains("eth4 is away"), "what was kept is not sent again");
}

#[tokio::test]
async fn a_webhook_that_was_in_trouble_before_a_restart_is_said_to_take_events_again() {
    // A file: who is stopped in the middle of a statement takes its connection along, and a database in memory with it.
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("store");
    let (live, run) = begin(&store, Mode::Live, "gw").await;
    let (address, _requests) = server(&[503; 6]).await;
    let (_webhooks, stop) = started(&store, &[generic(address, "")], run).await;
    trouble(&live, Severity::High, "eth0 is away").await;
    while !store.is_in_trouble("gw", "webhook/ops").await.expect("store") {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    let (_webhooks, _stop) = started(&store, &[generic(address, "")], run).await;
    while store.is_in_trouble("gw", "webhook/ops").await.expect("store") {
        tokio::task::yield_now().await;
    }
    let events = store.events_after(0, 100).await.expect("events");
    let kinds = events.iter().map(|event| event.kind.as_str()).filter(|kind| kind.starts_with("webhook_"));
    assert_eq!(kinds.collect::<Vec<_>>(), ["webhook_trouble", "webhook_recovered"]);
}

#[tokio::test]
async fn a_webhook_that_comes_or_changes_meanwhile_goes_on_where_one_of_its_name_was() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("store");
    let (live, run) = begin(&store, Mode::Live, "gw").await;
    let (address, mut requests) = server(&[200; 3]).await;
    let (elsewhere, mut others) = server(&[200; 3]).await;
    let same = [generic(address, "")];
    let (webhooks, _stop) = started(&store, &same, run).await;
    trouble(&live, Severity::High, "eth0 is away").await;
    assert!(next(&mut requests).await.1.contains("eth0 is away"));

    // The same: it goes on, and counts on.
    webhooks.replace(&same).await;
    trouble(&live, Severity::High, "eth1 is away").await;
    assert!(next(&mut requests).await.1.contains("eth1 is away"));
    while webhooks.counts()[0].taken < 2 {
        tokio::task::yield_now().await;
    }

    // None: what happens meanwhile waits in the log for the next of that name, wherever that leads.
    webhooks.replace(&[]).await;
    assert!(webhooks.is_empty() && webhooks.test("ops").await.is_none());
    trouble(&live, Severity::High, "eth2 is away").await;
    webhooks.replace(&[generic(elsewhere, "")]).await;
    let (_, body) = next(&mut others).await;
    assert!(body.contains("eth2 is away") || body.contains("eth1 is away"), "{body}");
}

#[tokio::test]
async fn a_file_of_secrets_that_holds_another_one_is_taken_up() {
    let folder = tempfile::tempdir().expect("folder");
    let secret = folder.path().join("ops.secret");
    let store = Store::open("sqlite::memory:").await.expect("store");
    let (address, mut requests) = server(&[200; 2]).await;
    let mut config = generic(address, "");
    config.secrets.clear();
    config.secret_file = Some(secret.clone());
    let webhooks = Webhooks::new(store, "gw".to_owned(), std::slice::from_ref(&config));
    assert!(webhooks.test("ops").await.expect("there is one").is_err(), "there is no file");
    let mut signatures = Vec::new();
    for text in ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
        std::fs::write(&secret, text).expect("a secret");
        webhooks.replace(std::slice::from_ref(&config)).await;
        assert_eq!(webhooks.test("ops").await, Some(Ok(())));
        let (head, _) = next(&mut requests).await;
        signatures.push(head.lines().find(|line| line.starts_with("webhook-signature")).expect("signed").to_owned());
    }
    assert_ne!(signatures[0], signatures[1]);
}
