//! One alert of what several gateways saw, whatever the order in which it comes.

use super::detection_tests::alert;
use super::server_tests::Server;
use super::tests::{FIRST_PAGE, window};
use super::*;
use nta_core::detect::Networks;
use nta_core::domain::{
    Alert, AlertKey, AlertKind, AlertState, ClearReason, IdentityScope, Mode, Party, RunId, Severity, Timestamp,
};

const SECOND: u64 = 1_000_000_000;
const OUTBOX: Outbox = Outbox { flows: true, raw_packets: false, max_bytes: 1 << 30 };

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos(second * SECOND)
}

/// A gateway, with the messages that it sends: one a batch.
struct Gateway {
    name: &'static str,
    store: Store,
    writer: StoreWriter,
    run: [u8; 16],
    sent: u64,
}

impl Gateway {
    async fn new(name: &'static str) -> Self {
        let store = Store::open("sqlite::memory:").await.expect("store").with_outbox(OUTBOX);
        let run = Run {
            started: at(1),
            mode: Mode::Live,
            source: "eth0".to_owned(),
            version: "0".to_owned(),
            sensor: name.to_owned(),
            uuid: Run::new_uuid(at(1)),
            analysis: None,
        };
        let (writer, _task) = store.writer(store.begin_run(&run).await.expect("run"), 4);
        Self { name, store, writer, run: run.uuid, sent: 0 }
    }

    /// An alert of this gateway: a scan of one host, or a flood of it by many, from `first` to `last`.
    fn alert(&self, (source, destination): (Party, Party), severity: Severity, [first, last]: [u64; 2]) -> Alert {
        let like = alert(1, last);
        let kind = if source == Party::Many { AlertKind::SynFlood } else { AlertKind::PortScan };
        let key = AlertKey { kind, source, destination };
        let mut finding = like.finding.clone();
        (finding.kind, finding.source, finding.destination) = (kind, source, destination);
        finding.summary = format!("seen at {}", self.name);
        let scope = IdentityScope::of_run(&self.name.parse().expect("a name"), &RunId(self.run));
        Alert {
            id: scope.alert_id(&key, at(first)),
            key,
            severity,
            first: at(first),
            last: at(last),
            raised: at(first + 5),
            finding: finding.clone(),
            latest: finding,
            ..like
        }
    }

    /// The message with the batch in which this happened.
    async fn ships(&mut self, alerts: Vec<Alert>, end: Option<&'static str>) -> Shipment {
        self.sent += 1;
        let batch = WindowBatch { window: Some(window(self.sent)), alerts, end, ..WindowBatch::default() };
        self.writer.send(batch).await.expect("send");
        self.writer.flush().await.expect("flush");
        let state = self.store.outbox_state().await.expect("state");
        let epoch = self.store.log_state().await.expect("log").epoch;
        let head = Head { sensor: self.name.to_owned(), epoch, sent: at(1), about: About::default() };
        let mut shipment = self.store.shipment(self.sent, MESSAGE_BYTES, head, &state).await.expect("shipment");
        shipment.oldest = 1;
        shipment
    }
}

fn over(alert: &Alert, second: u64) -> Alert {
    Alert {
        state: AlertState::Cleared,
        cleared: Some(at(second)),
        clear_reason: Some(ClearReason::Quiet),
        ..alert.clone()
    }
}

fn host(text: &str) -> Party {
    Party::Host(text.parse().expect("an address"))
}

async fn listed(server: &Store, hides_parts: bool) -> Vec<StoredAlert> {
    let filter = AlertFilter { hides_parts, ..AlertFilter::default() };
    server.alerts(&filter, AlertSort::Time, FIRST_PAGE).await.expect("alerts").items
}

/// What is told of alerts of several gateways, and of those of one.
async fn told(server: &Store) -> [Vec<String>; 2] {
    let events = server.events_after(0, 1000).await.expect("events");
    let alerts = events.into_iter().filter(|event| event.kind.starts_with("alert_"));
    let (several, one): (Vec<_>, Vec<_>) = alerts.partition(|event| event.sensor.is_none());
    [several, one].map(|events| events.into_iter().map(|event| event.kind).collect())
}

async fn take(server: &Store, message: &Shipment) {
    let ingested = server.ingest(message, at(9)).await.expect("ingested");
    assert!(ingested.refused.is_empty(), "{ingested:?}");
}

/// A scan that three gateways see; `order` is the one in which the centre hears of it.
async fn scan(server: &Store, order: [usize; 6]) -> StoredAlert {
    let attacker = host("198.51.100.7");
    let [mut a, mut b, mut c] = [Gateway::new("a").await, Gateway::new("b").await, Gateway::new("c").await];
    let of_a = a.alert((attacker, host("203.0.113.1")), Severity::Medium, [100, 200]);
    let of_b = b.alert((attacker, host("203.0.113.2")), Severity::High, [150, 400]);
    // It begins less than five minutes behind the end of the second.
    let of_c = c.alert((attacker, host("203.0.113.3")), Severity::Low, [650, 660]);
    let messages = [
        a.ships(vec![of_a.clone()], None).await,
        a.ships(vec![over(&of_a, 260)], None).await,
        b.ships(vec![of_b.clone()], None).await,
        b.ships(vec![over(&of_b, 460)], None).await,
        c.ships(vec![of_c.clone()], None).await,
        c.ships(vec![], Some("stopped")).await,
    ];
    for place in order {
        take(server, &messages[place]).await;
    }
    let before = (listed(server, false).await, told(server).await);
    for message in &messages {
        take(server, message).await;
    }
    assert_eq!((listed(server, false).await, told(server).await), before, "what comes again changes nothing");
    let mut shown = listed(server, true).await;
    assert_eq!((shown.len(), before.0.len()), (1, 4), "{shown:?}");
    let one = shown.remove(0);
    let parts = server.parts_of_alert(&one.id, 10).await.expect("parts");
    let names: Vec<_> = parts.iter().filter_map(|part| part.sensor.as_deref()).collect();
    assert_eq!(names, ["a", "b", "c"], "the first first");
    assert_eq!(
        server.alert_counts(&AlertFilter { hides_parts: true, ..AlertFilter::default() }).await.expect("counts"),
        [0, 0, 1, 0]
    );
    let of_gateway = AlertFilter { whose: Some("b").into(), ..AlertFilter::default() };
    assert_eq!(
        server.alerts(&of_gateway, AlertSort::Time, FIRST_PAGE).await.expect("alerts").items.len(),
        1,
        "it is at its gateway"
    );
    // By whom it concerns too.
    let victim: std::net::IpAddr = [203, 0, 113, 2].into();
    let of_host = AlertFilter { host: victim.into(), hides_parts: true, ..AlertFilter::default() };
    assert_eq!(server.alerts(&of_host, AlertSort::Time, FIRST_PAGE).await.expect("alerts").items.len(), 1);
    let [several, one_by_one] = told(server).await;
    // One that is over comes back where another gateway goes on with it.
    assert!(several.iter().filter(|kind| *kind == "alert_raised").count() <= 2, "{several:?}");
    assert_eq!(several.last().map(String::as_str), Some("alert_cleared"));
    // Of the gateways' own only those are told of which came before another gateway's, and that each is over or a part now.
    let told_as = |kind: &str| one_by_one.iter().filter(|told| *told == kind).count();
    assert!(told_as("alert_raised") <= 2 && told_as("alert_raised") == told_as("alert_cleared"), "{one_by_one:?}");
    one
}

async fn is_one_in_any_order(open: impl AsyncFn() -> Store) {
    let mut first: Option<StoredAlert> = None;
    for order in [[0, 1, 2, 3, 4, 5], [0, 2, 4, 1, 3, 5], [4, 5, 2, 0, 1, 3], [2, 4, 3, 5, 0, 1], [4, 0, 1, 5, 2, 3]] {
        let server = open().await;
        let one = scan(&server, order).await;
        assert_eq!(
            (one.sensor.as_deref(), one.gateways.as_slice()),
            (None, ["a", "b", "c"].map(String::from).as_slice())
        );
        assert_eq!((one.kind.as_str(), one.severity, one.state.as_str()), ("port_scan", Severity::High, "cleared"));
        assert_eq!((one.source.as_deref(), one.destination.as_deref()), (Some("198.51.100.7"), Some("*")));
        assert_eq!(
            (one.first, one.last, one.cleared),
            (at(100), at(660), Some(at(660))),
            "the last is over with its run"
        );
        assert_eq!(one.clear_reason.as_deref(), Some("run_ended"));
        assert_eq!(one.finding.summary, "seen by 3 gateways: a, b, c. At b: seen at b");
        assert_eq!((one.finding.observed, one.windows, one.merged), (40.0, 1, 2), "nothing is added up but findings");
        let first = first.get_or_insert(one.clone());
        // Which was known when it became one the order decides: its name and since when it is raised. Its window goes by a number of the
        // database.
        let same =
            |one: &StoredAlert| StoredAlert { id: String::new(), raised: at(0), window: first.window, ..one.clone() };
        assert_eq!(same(&one), same(first), "{order:?}");
        server.close().await;
    }
}

#[tokio::test]
async fn what_several_gateways_see_is_one_alert_in_any_order() {
    is_one_in_any_order(async || Store::open("sqlite::memory:").await.expect("store")).await;
}

#[tokio::test]
async fn what_several_gateways_see_is_one_alert_on_postgresql() {
    let servers = std::sync::Mutex::new(Vec::new());
    if Server::start("what_several_gateways_see_is_one_alert_on_postgresql").is_none() {
        return;
    }
    is_one_in_any_order(async || {
        let server = Server::start("what_several_gateways_see_is_one_alert_on_postgresql").expect("a server");
        let store = server.open().await;
        servers.lock().expect("servers").push(server);
        store
    })
    .await;
}

/// Two collectors store what two gateways send at the same time, again and again.
#[tokio::test]
async fn two_collectors_at_once_make_one_alert() {
    let Some(server) = Server::start("two_collectors_at_once_make_one_alert") else { return };
    let (one, two) = (server.open().await, Store::open(&server.url()).await.expect("open"));
    let [mut a, mut b] = [Gateway::new("a").await, Gateway::new("b").await];
    for round in 1..=20 {
        let attacker = host(&format!("198.51.100.{round}"));
        let times = [100, 200];
        let of_a = a.alert((attacker, host("203.0.113.1")), Severity::Medium, times);
        let of_b = b.alert((attacker, host("203.0.113.2")), Severity::Medium, times);
        let (of_a, of_b) = (a.ships(vec![of_a], None).await, b.ships(vec![of_b], None).await);
        let taken = tokio::join!(one.ingest(&of_a, at(9)), two.ingest(&of_b, at(9)));
        assert!(taken.0.is_ok() && taken.1.is_ok(), "{taken:?}");
    }
    let filter = AlertFilter { hides_parts: true, ..AlertFilter::default() };
    let page = Position { descending: true, after: None, limit: 100 };
    let shown = one.alerts(&filter, AlertSort::Time, page).await.expect("alerts").items;
    assert_eq!(shown.len(), 20);
    assert!(shown.iter().all(|alert| alert.gateways == ["a", "b"]), "{shown:?}");
}

#[tokio::test]
async fn a_flood_by_many_is_one_by_its_victim_and_what_is_private_is_not_one() {
    let server = Store::open("sqlite::memory:").await.expect("store");
    let [mut a, mut b] = [Gateway::new("a").await, Gateway::new("b").await];
    let times = [100, 200];
    let flood = (Party::Many, host("203.0.113.9"));
    let private = (host("192.168.1.10"), host("203.0.113.9"));
    for gateway in [&mut a, &mut b] {
        let alerts = vec![gateway.alert(flood, Severity::High, times), gateway.alert(private, Severity::Low, times)];
        let message = gateway.ships(alerts, None).await;
        take(&server, &message).await;
    }
    let shown: Vec<_> =
        listed(&server, true).await.into_iter().map(|alert| (alert.kind, alert.gateways.len())).collect();
    assert_eq!(shown.iter().filter(|(kind, gateways)| kind == "syn_flood" && *gateways == 2).count(), 1, "{shown:?}");
    assert_eq!(shown.iter().filter(|(kind, gateways)| kind == "port_scan" && *gateways == 0).count(), 2, "{shown:?}");

    // Unless the network is the same behind both.
    let shared = Networks::from(vec!["192.168.1.0/24".parse().expect("a network")]);
    let server = Store::open("sqlite::memory:").await.expect("store");
    let server = server.with_correlation(Correlation { shared, ..Correlation::default() });
    let [mut a, mut b] = [Gateway::new("a").await, Gateway::new("b").await];
    for gateway in [&mut a, &mut b] {
        let alerts = vec![gateway.alert(private, Severity::Low, times)];
        let message = gateway.ships(alerts, None).await;
        take(&server, &message).await;
    }
    assert_eq!(listed(&server, true).await.len(), 1);
}

#[tokio::test]
async fn it_goes_on_while_a_part_does_and_what_people_do_about_it_holds_for_its_parts() {
    let server = Store::open("sqlite::memory:").await.expect("store");
    let [mut a, mut b] = [Gateway::new("a").await, Gateway::new("b").await];
    let attacker = host("198.51.100.7");
    let of_a = a.alert((attacker, host("203.0.113.1")), Severity::Medium, [100, 200]);
    let of_b = b.alert((attacker, host("203.0.113.1")), Severity::Medium, [110, 200]);
    for message in [a.ships(vec![of_a.clone()], None).await, b.ships(vec![of_b.clone()], None).await] {
        take(&server, &message).await;
    }
    let one = listed(&server, true).await.remove(0);
    assert_eq!((one.state.as_str(), one.destination.as_deref()), ("raised", Some("203.0.113.1")));
    assert_eq!(
        told(&server).await[1],
        ["alert_raised", "alert_cleared"],
        "the first was told of before, and is a part now"
    );
    take(&server, &a.ships(vec![over(&of_a, 260)], None).await).await;
    assert_eq!(listed(&server, true).await[0].state, "raised", "the other goes on");
    take(&server, &b.ships(vec![over(&of_b, 270)], None).await).await;
    let cleared = listed(&server, true).await.remove(0);
    assert_eq!((cleared.state.as_str(), cleared.cleared), ("cleared", Some(at(270))));
    // It comes back at one of them.
    take(&server, &a.ships(vec![Alert { last: at(300), ..of_a.clone() }], None).await).await;
    assert_eq!(listed(&server, true).await[0].state, "raised");
    let patch = AlertPatch {
        verdict: Some(Some("benign")),
        status: Some("resolved"),
        note: None,
        withdraw: None,
        by: Some("mira".to_owned()),
        at: at(400),
    };
    assert_eq!(server.patch_alert(&one.id, &patch).await.expect("patch"), Patched::Done);
    let all = listed(&server, false).await;
    assert!(
        all.len() == 3
            && all.iter().all(|alert| alert.status == "resolved" && alert.verdict.as_deref() == Some("benign")),
        "{all:?}"
    );
    // What is kept of it may go before its parts.
    let server = server.with_retention(Retention { max_alerts: 2, ..Retention::default() });
    server.retain().await.expect("retention");
    assert_eq!(listed(&server, false).await.len(), 2);
    assert!(!listed(&server, true).await.is_empty(), "none is a part of what is gone");
}
