//! The API over a database of its own, and what is written into it.

use std::net::{IpAddr, Ipv4Addr};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use nta_common::flow::Counts;
use nta_common::{Counter, LedgerSlot};
use nta_core::domain::{
    Attachment, DetectionCounts, EndReason, Endpoint, FlowId, FlowRecord, Interface, LearningState, Ledger, MapFill,
    MetricState, Mode, NicCounts, Status, TcpCounts, Timestamp,
};
use nta_core::window::{Rtt, TcpSent, Window};
use nta_daemon::api::{AnalysisAccess, ApiState, router};
use nta_daemon::config::Config;
use nta_daemon::pipeline::baselines::BaselineHandle;
use nta_daemon::pipeline::metrics::MetricsHandle;
use nta_daemon::pipeline::mutes::MuteHandle;
use nta_daemon::store::{FlowGroup, Many, Run, Store, StoreWriter, WindowBatch};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

const S: u64 = 1_000_000_000;
/// Every request is for a host that is listened on.
pub(crate) const HOST: &str = "localhost:5000";

pub(crate) struct App {
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) writer: StoreWriter,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) baselines: BaselineHandle,
    pub(crate) mutes: MuteHandle,
    pub(crate) metrics: MetricsHandle,
    pub(crate) url: String,
    /// Identity of the run that everything is written into.
    pub(crate) run: [u8; 16],
    state: ApiState,
    task: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl App {
    /// An app over a database with windows and flows from 1 on.
    pub(crate) async fn with(windows: u64, flows: u64) -> Self {
        Self::with_config(Config::default(), windows, flows).await
    }

    /// The same by a configuration.
    pub(crate) async fn with_config(config: Config, windows: u64, flows: u64) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let url = format!("sqlite:{}", folder.path().join("nta.db").display());
        let store = Store::open(&url).await.expect("store");
        let app = Self::on(store, url, folder, config).await;
        app.write(None, (1..=flows).map(flow).collect()).await;
        for id in 1..=windows {
            app.write(Some(window(id)), vec![]).await;
        }
        app.status.send_replace(status(windows));
        app
    }

    /// An app over a database of another kind, which is empty.
    pub(crate) async fn over(store: Store) -> Self {
        Self::on(store, String::new(), tempfile::tempdir().expect("folder"), Config::default()).await
    }

    async fn on(store: Store, url: String, folder: tempfile::TempDir, config: Config) -> Self {
        let run = run();
        let uuid = run.uuid;
        let (writer, task) = store.writer(store.begin_run(&run).await.expect("run"), 16);
        let (sender, receiver) = watch::channel(status(0));
        let access = AnalysisAccess::default();
        let (baselines, mutes, metrics) = (access.baselines.clone(), access.mutes.clone(), access.metrics.clone());
        let state = ApiState::new(store.clone(), receiver).with_analysis(access).with_config(config);
        // As the server does before it answers.
        state.read_tokens().await.expect("the store answers");
        let router = router(state.clone());
        Self {
            router,
            store,
            writer,
            status: sender,
            baselines,
            mutes,
            metrics,
            url,
            run: uuid,
            state,
            task,
            _folder: folder,
        }
    }

    /// Has the API know at once which tokens another process made.
    pub(crate) async fn read_tokens(&self) {
        self.state.read_tokens().await.expect("the store answers");
    }

    /// Ends its run as a kill does: nothing says that it ended.
    pub(crate) async fn kill(&mut self) {
        self.task.abort();
        assert!((&mut self.task).await.is_err());
    }

    /// Begins another run on its database.
    pub(crate) async fn begin_another(&self) {
        drop(self.store.begin_run(&run()).await.expect("run"));
    }

    pub(crate) async fn write(&self, window: Option<Window>, flows: Vec<FlowRecord>) {
        self.batch(WindowBatch { window, flows, ..WindowBatch::default() }).await;
    }

    pub(crate) async fn batch(&self, batch: WindowBatch) {
        self.writer.send(batch).await.expect("send");
        self.writer.flush().await.expect("flush");
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String, Vec<u8>) {
        let request = Request::get(path).header(header::HOST, HOST).body(Body::empty()).expect("request");
        let response = self.router.clone().oneshot(request).await.expect("response");
        let media_type = response.headers()[header::CONTENT_TYPE].to_str().expect("text").to_owned();
        let status = response.status();
        (status, media_type, to_bytes(response.into_body(), usize::MAX).await.expect("body").to_vec())
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send_text(method, path, &body.to_string()).await
    }

    pub(crate) async fn send_text(&self, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(body.to_owned())).expect("request");
        let response = self.router.clone().oneshot(request).await.expect("response");
        let status = response.status();
        (status, parse(&to_bytes(response.into_body(), usize::MAX).await.expect("body")))
    }

    pub(crate) async fn send_empty(&self, method: Method, path: &str) -> (StatusCode, Vec<u8>) {
        let request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
        let response =
            self.router.clone().oneshot(request.body(Body::empty()).expect("request")).await.expect("response");
        let status = response.status();
        (status, to_bytes(response.into_body(), usize::MAX).await.expect("body").to_vec())
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let (status, media_type, body) = self.get(path).await;
        let value = parse(&body);
        assert_eq!((status, media_type.as_str()), (StatusCode::OK, "application/json"), "{path}: {value}");
        value
    }
}

fn run() -> Run {
    Run {
        started: time(1),
        mode: Mode::Replay,
        source: "a.pcap".to_owned(),
        version: "0".to_owned(),
        sensor: "test".to_owned(),
        uuid: Run::new_uuid(Timestamp::from_nanos(1)),
        analysis: None,
    }
}

pub(crate) fn parse(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("JSON")
}

pub(crate) const fn time(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * S)
}

pub(crate) fn window(id: u64) -> Window {
    let tcp = TcpCounts { syn: 3, retransmissions: 2, ..TcpCounts::default() };
    let rtt = Rtt { count: 2, sum_us: 60_000, min_us: 10_000, max_us: 100_000, ..Rtt::default() };
    Window {
        id,
        start: time(id * 5),
        end: time(id * 5 + 5),
        packets: id,
        bytes: id * 1000,
        tcp,
        tcp_packets: 10,
        tcp_sent: [TcpSent { packets: 6, lost: 2 }, TcpSent { packets: 4, lost: 0 }],
        rtt,
        rtt_sides: [Rtt::default(), rtt],
        ..Window::default()
    }
}

pub(crate) fn flow(id: u64) -> FlowRecord {
    let side = |last_octet: u8, port| Endpoint {
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last_octet)),
        port,
        sent: Counts { packets: 4, bytes: 400, ip_bytes: 344 },
        tcp: TcpCounts::default(),
        payload_bytes: Some(40),
        translated: None,
    };
    FlowRecord {
        id: FlowId(id),
        proto: 17,
        originator: side(1, 40_000),
        responder: side(2, 53),
        nesting: Default::default(),
        vlan: 0,
        first: time(id / 3), // three flows at a time begin at the same instant
        last: time(1000 + id),
        handshake_us: [0, 0],
        service: None,
        conn_state: nta_core::domain::ConnState::S1,
        history: nta_core::domain::History::parse("ShADad"),
        ended: None,
    }
}

/// A row of 5,000 flows from made-up sources.
pub(crate) fn group(id: u64) -> FlowGroup {
    let mut flow = FlowRecord { ended: Some(EndReason::Idle), ..flow(id) };
    (flow.originator.address, flow.originator.port) = ([0, 0, 0, 0].into(), 0);
    let example = [([198, 51, 100, 7].into(), 1234), (flow.responder.address, flow.responder.port)];
    let many = Many { flows: 5000, sources: 4990, destinations: 1, destination_ports: 1, examples: vec![example] };
    FlowGroup { flow, many }
}

pub(crate) fn status(windows_closed: u64) -> Status {
    let mut counts = LedgerSlot { seen_bytes: 300, ..LedgerSlot::default() };
    for counter in [Counter::Seen, Counter::Seen, Counter::Seen, Counter::Flow, Counter::Flow, Counter::Arp] {
        counts.bump(counter);
    }
    Status {
        mode: Mode::Replay,
        engine: "user".to_owned(),
        started: time(1),
        attachments: vec![Attachment {
            interface: "eth0".to_owned(),
            index: 2,
            ingress: "tcx".to_owned(),
            egress: "tcx".to_owned(),
            count_basis: "segments".to_owned(),
            reason: "veth: native XDP would switch off GSO".to_owned(),
            nic: NicCounts { rx_packets: 60, tx_packets: 40, ..NicCounts::default() },
        }],
        ledger: Ledger { interfaces: vec![Interface { name: "eth0".to_owned(), counts }] },
        maps: vec![MapFill { name: "flows4".to_owned(), entries: 100, max_entries: 400, memory_bytes: 1 << 20 }],
        windows_closed,
        window_ns: 5 * S,
        last_analysis_ns: 1_500_000,
        detection: DetectionCounts {
            findings: 7,
            allowed: 3,
            raised: 3,
            cleared: 1,
            open: [0, 0, 2, 0],
            ..DetectionCounts::default()
        },
        learning: LearningState {
            metrics: vec![MetricState { name: "bandwidth", samples: 40, is_ready: true }],
            hosts: 9,
            ..LearningState::default()
        },
        ..Status::default()
    }
}
