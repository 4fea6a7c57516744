//! Documents from before they had versions: the shapes in which the API of that time answered windows, alerts and anomalies.
//! Nothing writes them any more. They are read as they were then and do not follow the API.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use super::VERSION;
use super::finding::{AlertBody, AnomalyBody, FindingRecord, OpinionRecord};
use super::window::{OverflowBody, ProtocolBody, RttBody, TalkerBody, WindowBody};
use nta_common::tcp::RTT_BUCKETS;
use nta_core::domain::Timestamp;
use nta_core::window::Rtt;

/// A window.
#[derive(Debug, Deserialize)]
pub(super) struct WindowBefore {
    span_s: f64,
    not_whole: Option<String>,
    #[serde(default)]
    silence_s: f64,
    #[serde(default)]
    gap_s: f64,
    #[serde(default)]
    clock_step_s: f64,
    #[serde(default)]
    wall_ahead_s: f64,
    #[serde(default)]
    folded: u64,
    packets: u64,
    bytes: u64,
    ip_bytes: u64,
    flows: u64,
    new_flows: u64,
    syn: u32,
    syn_ack: u32,
    syn_retries: u32,
    fin: u32,
    rst: u32,
    tcp_packets: u64,
    retransmissions: u32,
    out_of_order: u32,
    duplicate_acks: u32,
    zero_windows: u32,
    #[serde(default)]
    duplicates: u32,
    loss: Option<LossBefore>,
    rtt: RttBefore,
    protocols: Vec<ProtocolBefore>,
    top_talkers: Vec<TalkerBefore>,
    others: Option<TalkerBefore>,
    #[serde(default)]
    overflow: Vec<OverflowBefore>,
    overflow_others: Option<OverflowBefore>,
    #[serde(default)]
    events: BTreeMap<String, u64>,
    late_packets: u64,
    ledger: BTreeMap<String, u64>,
}

/// Of what the clients and the servers sent; the oldest windows do not have it.
#[derive(Debug, Deserialize)]
struct LossBefore {
    client: SideLossBefore,
    server: SideLossBefore,
}

#[derive(Debug, Deserialize)]
struct SideLossBefore {
    packets: u64,
    retransmissions: u64,
}

#[derive(Debug, Deserialize)]
struct RttBefore {
    #[serde(flatten)]
    all: RttSideBefore,
    #[serde(default)]
    client: RttSideBefore,
    #[serde(default)]
    server: RttSideBefore,
}

#[derive(Debug, Default, Deserialize)]
struct RttSideBefore {
    samples: u64,
    mean_ms: Option<f64>,
    min_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
}

impl From<RttSideBefore> for RttBody {
    fn from(RttSideBefore { samples, mean_ms, min_ms, p99_ms, max_ms }: RttSideBefore) -> Self {
        let us = |ms: Option<f64>| (ms.unwrap_or_default() * 1000.0).round();
        let sum_us = mean_ms.unwrap_or_default() * samples as f64 * 1000.0;
        // The oldest windows have no minimum, and a maximum that quantiles may lie above.
        (samples, sum_us.round() as u64, us(min_ms) as u32, us(max_ms).max(us(p99_ms)) as u32, Vec::new())
    }
}

/// The column `rtt_histogram` of windows of before.
#[derive(Deserialize)]
#[serde(untagged)]
enum Histograms {
    /// To the clients, and to the servers.
    Sides([[u32; RTT_BUCKETS]; 2]),
    /// Of both together.
    All([u32; RTT_BUCKETS]),
}

/// Round trips of all, to the clients and to the servers, with the histograms of the column where there are any.
pub(super) fn with_histograms(rtt: [Rtt; 3], column: Option<&str>) -> Result<[Rtt; 3], String> {
    let Some(column) = column else { return Ok(rtt) };
    let [mut all, mut client, mut server] = rtt;
    match serde_json::from_str(column).map_err(|error| format!("the histogram is none: {error}"))? {
        Histograms::Sides(histograms) => {
            [client.histogram, server.histogram] = histograms;
            all = client;
            all.merge(&server);
        }
        Histograms::All(histogram) => all.histogram = histogram,
    }
    Ok([all, client, server])
}

#[derive(Debug, Deserialize)]
struct ProtocolBefore {
    number: u8,
    packets: u64,
    bytes: u64,
    flows: u64,
}

#[derive(Debug, Deserialize)]
struct TalkerBefore {
    address: Option<IpAddr>,
    packets_sent: u64,
    packets_received: u64,
    bytes_sent: u64,
    bytes_received: u64,
    flows: u64,
}

#[derive(Debug, Deserialize)]
struct OverflowBefore {
    destination: Option<IpAddr>,
    port: u16,
    protocol: String,
    syn: bool,
    packets: u64,
    bytes: u64,
}

impl From<WindowBefore> for WindowBody {
    fn from(before: WindowBefore) -> Self {
        let ns = |seconds: f64| (seconds * 1e9).round() as i64;
        // The oldest windows have no directions: there all is the clients'.
        let tcp_sent = match before.loss {
            Some(LossBefore { client, server }) => [client, server].map(|side| [side.packets, side.retransmissions]),
            None => [[before.tcp_packets, before.retransmissions.into()], [0; 2]],
        };
        let folded = before.folded.cast_signed();
        Self {
            v: VERSION,
            packets: before.packets,
            bytes: before.bytes,
            ip_bytes: before.ip_bytes,
            flows: before.flows,
            new_flows: before.new_flows,
            tcp: vec![
                before.syn,
                before.syn_ack,
                before.syn_retries,
                before.fin,
                before.rst,
                before.retransmissions,
                before.out_of_order,
                before.duplicate_acks,
                before.zero_windows,
                before.duplicates,
            ],
            tcp_packets: before.tcp_packets,
            tcp_sent,
            rtt: [before.rtt.all, before.rtt.client, before.rtt.server].map(RttBody::from),
            protocols: before.protocols.into_iter().map(ProtocolBody::from).collect(),
            talkers: before.top_talkers.into_iter().map(TalkerBody::from).collect(),
            others: before.others.map(TalkerBody::from),
            overflow: before.overflow.into_iter().map(OverflowBody::from).collect(),
            overflow_others: before.overflow_others.map(OverflowBody::from),
            events: before.events,
            late_packets: before.late_packets,
            ledger: before.ledger,
            length_ns: ns(before.span_s).cast_unsigned(),
            outside_ns: 0,
            not_whole: before.not_whole,
            measured: [
                ns(before.silence_s),
                ns(before.gap_s),
                ns(before.clock_step_s),
                ns(before.wall_ahead_s),
                folded,
            ],
            near: Vec::new(),
            near_left_out: 0,
            near_forgotten: false,
        }
    }
}

impl From<ProtocolBefore> for ProtocolBody {
    fn from(ProtocolBefore { number, packets, bytes, flows }: ProtocolBefore) -> Self {
        (number, packets, bytes, flows)
    }
}

impl From<TalkerBefore> for TalkerBody {
    fn from(before: TalkerBefore) -> Self {
        let TalkerBefore { address, packets_sent, packets_received, bytes_sent, bytes_received, flows } = before;
        (address, packets_sent, packets_received, bytes_sent, bytes_received, flows)
    }
}

impl From<OverflowBefore> for OverflowBody {
    fn from(OverflowBefore { destination, port, protocol, syn, packets, bytes }: OverflowBefore) -> Self {
        (destination, port, protocol_number(&protocol), syn, packets, bytes)
    }
}

/// Protocols by the names that they had, or by their number.
fn protocol_number(name: &str) -> u8 {
    let names = [
        ("icmp", 1),
        ("igmp", 2),
        ("ipv4", 4),
        ("tcp", 6),
        ("udp", 17),
        ("ipv6", 41),
        ("gre", 47),
        ("esp", 50),
        ("ah", 51),
        ("ipv6-icmp", 58),
        ("ospf", 89),
        ("pim", 103),
        ("vrrp", 112),
        ("sctp", 132),
        ("udplite", 136),
    ];
    let known = names.into_iter().find(|(known, _)| *known == name).map(|(_, number)| number);
    known.or_else(|| name.parse().ok()).unwrap_or_default()
}

/// An alert.
#[derive(Debug, Deserialize)]
pub(super) struct AlertBefore {
    score: f64,
    port: Option<u16>,
    clear_reason: Option<String>,
    windows: u32,
    detector: String,
    detectors: Vec<String>,
    why: WhyBefore,
}

/// An anomaly.
#[derive(Debug, Deserialize)]
pub(super) struct AnomalyBefore {
    score: f64,
    port: Option<u16>,
    detector: String,
    why: WhyBefore,
}

#[derive(Debug, Deserialize)]
struct WhyBefore {
    #[serde(alias = "sentence")]
    summary: String,
    measure: String,
    unit: String,
    observed: f64,
    expected: Option<f64>,
    threshold: f64,
    window_start: String,
    window_end: String,
    facts: BTreeMap<String, String>,
    contributors: Vec<ContributorBefore>,
    #[serde(default)]
    judges: Vec<JudgeBefore>,
}

#[derive(Debug, Deserialize)]
struct ContributorBefore {
    what: String,
    amount: f64,
}

#[derive(Debug, Deserialize)]
struct JudgeBefore {
    detector: String,
    basis: String,
    score: f64,
    measure: String,
    observed: f64,
    threshold: f64,
    #[serde(alias = "sentence")]
    summary: String,
}

impl WhyBefore {
    fn finding(self, detector: String) -> FindingRecord {
        let time = |text: &str| {
            let ns = text.parse::<jiff::Timestamp>().map_or(0, |time| time.as_nanosecond());
            Timestamp::from_nanos(u64::try_from(ns).unwrap_or_default())
        };
        let window = [time(&self.window_start), time(&self.window_end)];
        let finding = FindingRecord {
            detector,
            summary: self.summary,
            measure: self.measure,
            unit: self.unit,
            observed: self.observed,
            expected: self.expected,
            threshold: self.threshold,
            facts: self.facts.into_iter().collect(),
            contributors: self.contributors.into_iter().map(|share| (share.what, share.amount)).collect(),
            ..FindingRecord::default()
        };
        finding.in_window(window)
    }
}

impl From<AlertBefore> for AlertBody {
    fn from(mut before: AlertBefore) -> Self {
        Self {
            v: VERSION,
            score: before.score,
            port: before.port,
            clear_reason: before.clear_reason,
            windows: before.windows,
            merged: 0,
            seen_ns: None,
            detectors: before.detectors,
            opinions: std::mem::take(&mut before.why.judges).into_iter().map(OpinionRecord::from).collect(),
            finding: before.why.finding(before.detector),
            gateways: Vec::new(),
        }
    }
}

impl From<AnomalyBefore> for AnomalyBody {
    fn from(before: AnomalyBefore) -> Self {
        let finding = before.why.finding(before.detector);
        Self { v: VERSION, score: before.score, port: before.port, finding }
    }
}

impl From<JudgeBefore> for OpinionRecord {
    fn from(before: JudgeBefore) -> Self {
        let JudgeBefore { detector, basis, score, measure, observed, threshold, summary } = before;
        Self { detector, basis, score, measure, observed, threshold, summary }
    }
}

#[cfg(test)]
pub(in crate::store) mod tests {
    use super::super::read;
    use super::super::window::tests::full;
    use super::*;
    use nta_core::window::TcpSent;

    /// Documents as version 0.1.0 wrote them; its windows and alerts had `sentence` before that.
    pub(in crate::store) const WINDOW: &str = r#"{"id":3,"start":"1970-01-01T00:00:05.000000Z",
        "end":"1970-01-01T00:00:10.000000Z","span_s":4.0,"not_whole":"run_ended","silence_s":7.0,"gap_s":2.0,
        "clock_step_s":-3.0,"wall_ahead_s":-60.0,"folded":4,"packets":9,"bytes":900,"bandwidth_bps":1800.0,
        "packets_per_s":2.25,"ip_bytes":800,"flows":2,"new_flows":1,"connections":4,"syn":4,"syn_ack":0,"syn_retries":0,
        "fin":0,"rst":0,"tcp_packets":8,"retransmissions":2,"out_of_order":0,"duplicate_acks":0,"zero_windows":0,
        "loss_ratio":0.25,"loss":{"client":{"packets":5,"retransmissions":2,"ratio":0.4},"server":{"packets":3,
        "retransmissions":0,"ratio":0.0}},"rtt":{"samples":2,"mean_ms":0.8,"min_ms":0.1,"p50_ms":0.1,"p95_ms":1.5,
        "p99_ms":1.5,"max_ms":1.5,"client":{"samples":1,"mean_ms":1.5,"min_ms":1.5,"p50_ms":1.5,"p95_ms":1.5,"p99_ms":1.5,
        "max_ms":1.5},"server":{"samples":1,"mean_ms":0.1,"min_ms":0.1,"p50_ms":0.1,"p95_ms":0.1,"p99_ms":0.1,
        "max_ms":0.1}},
        "protocols":[{"protocol":"tcp","number":6,"packets":8,"bytes":800,"flows":1,"share":1.0}],
        "top_talkers":[{"address":"10.0.0.1","packets_sent":0,"packets_received":0,"bytes_sent":8,"bytes_received":0,
        "flows":0}],"others":{"packets_sent":0,"packets_received":0,"bytes_sent":0,"bytes_received":0,"flows":3},
        "overflow":[{"destination":"10.0.0.2","port":0,"protocol":"udp","syn":false,"packets":1,"bytes":0}],
        "overflow_others":{"destination":null,"port":0,"protocol":"0","syn":false,"packets":2,"bytes":0},
        "events":{"dns_queries":7,"dns_responses":0,"raw_packets":1},"late_packets":1,"skipped":{},
        "ledger":{"seen":1,"seen_bytes":900,"overflow_bytes":60}}"#;
    const WHY: &str = r#"{"sentence":"10.0.0.3 tried 40 ports","measure":"ports","unit":"ports","observed":40.0,
        "expected":null,"threshold":15.0,"window_start":"1970-01-01T00:01:40.000000Z",
        "window_end":"1970-01-01T00:01:45.000000Z","facts":{"attempts":"41"},
        "contributors":[{"what":"port 22","amount":3.0}],"technique":{"id":"T1046","name":"Network Service Discovery"},
        "recommendation":"Look at it.""#;
    const JUDGES: &str = r#","judges":[{"detector":"port_scan","basis":"rule","score":0.5,"measure":"ports",
        "observed":40.0,"threshold":15.0,"sentence":"40 ports"}]"#;

    pub(in crate::store) fn alert() -> String {
        let about = r#""id":"00000000000000aa","type":"port_scan","severity":"medium","score":0.5,"source":"10.0.0.3",
            "destination":"*","port":22,"state":"raised","window_start":"1970-01-01T00:01:40.000000Z",
            "window_end":"1970-01-01T00:01:45.000000Z","raised_at":"1970-01-01T00:01:45.000000Z","cleared_at":null,
            "windows":2,"detector":"port_scan","detectors":["port_scan","model"]"#;
        format!("{{{about},\"why\":{WHY}{JUDGES}}}}}")
    }

    pub(in crate::store) fn anomaly() -> String {
        let about = r#""alert":"00000000000000aa","type":"port_scan","severity":"medium","score":0.5,"source":"10.0.0.3",
            "destination":"*","port":22,"detector":"port_scan","window_start":"1970-01-01T00:01:40.000000Z",
            "window_end":"1970-01-01T00:01:45.000000Z""#;
        format!("{{{about},\"why\":{WHY}}}}}")
    }

    fn finding() -> FindingRecord {
        let finding = FindingRecord {
            detector: "port_scan".to_owned(),
            summary: "10.0.0.3 tried 40 ports".to_owned(),
            measure: "ports".to_owned(),
            unit: "ports".to_owned(),
            observed: 40.0,
            expected: None,
            threshold: 15.0,
            facts: vec![("attempts".to_owned(), "41".to_owned())],
            contributors: vec![("port 22".to_owned(), 3.0)],
            ..FindingRecord::default()
        };
        finding.in_window([100, 105].map(|s| Timestamp::from_nanos(s * 1_000_000_000)))
    }

    #[test]
    fn documents_of_the_version_before_mean_what_they_meant() {
        let mut window = full();
        window.measured.outside_ns = 0; // It had none, and nobody was near to anything.
        window.near = Default::default();
        let read_back = read::<WindowBody>(WINDOW).expect("a window");
        let column = format!("{:?}", window.rtt_sides.map(|side| side.histogram));
        assert_eq!(read_back.window(3, [window.start, window.end], Some(&column)).expect("a window"), window);
        // Older ones have neither directions nor a minimum.
        let older = serde_json::from_str::<serde_json::Value>(WINDOW).expect("JSON");
        let mut older = older.as_object().expect("an object").clone();
        older.remove("loss");
        older["rtt"] = serde_json::json!({"samples": 2, "mean_ms": 0.8, "p50_ms": 0.1, "p95_ms": 1.6, "p99_ms": 1.7,
            "max_ms": 1.5});
        let older = read::<WindowBody>(&serde_json::Value::from(older).to_string()).expect("a window");
        let column = format!("{:?}", window.rtt.histogram);
        let older = older.window(3, [window.start, window.end], Some(&column)).expect("a window");
        assert_eq!(older.tcp_sent, [TcpSent { packets: 8, lost: 2 }, TcpSent::default()]);
        assert_eq!((older.rtt.count, older.rtt.mean_ms(), older.rtt.max_ms()), (2, Some(0.8), Some(1.7)));
        assert_eq!((older.rtt.histogram, older.rtt_sides), (window.rtt.histogram, Default::default()));
        let opinion = OpinionRecord {
            detector: "port_scan".to_owned(),
            basis: "rule".to_owned(),
            score: 0.5,
            measure: "ports".to_owned(),
            observed: 40.0,
            threshold: 15.0,
            summary: "40 ports".to_owned(),
        };
        let alert = AlertBody {
            merged: 0,
            seen_ns: None,
            v: VERSION,
            score: 0.5,
            port: Some(22),
            clear_reason: None,
            windows: 2,
            detectors: vec!["port_scan".to_owned(), "model".to_owned()],
            finding: finding(),
            opinions: vec![opinion],
            gateways: Vec::new(),
        };
        assert_eq!(read::<AlertBody>(&self::alert()).expect("an alert"), alert);
        let anomaly = AnomalyBody { v: VERSION, score: 0.5, port: Some(22), finding: finding() };
        assert_eq!(read::<AnomalyBody>(&self::anomaly()).expect("an anomaly"), anomaly);
    }
}
