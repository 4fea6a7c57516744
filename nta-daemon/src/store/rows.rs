//! What one batch adds, as rows of the store's own: what is bound to statements, and what the spool keeps.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use nta_common::packet::proto;

use super::body::{AlertBody, AnomalyBody, WindowBody};
use super::concerned::concerned;
use super::flow_group::GroupRow;
use super::flows::{state, tcp_row};
use super::resume::ReadingsRow;
use super::{Anomaly, FeatureRow, Notice, StoreError, WindowBatch, baselines_name, to_sql};
use nta_core::domain::{Alert, AlertState, FlowId, FlowRecord, Nesting, Party};
use nta_core::window::{Span, Window};

/// Scores are kept in millionths.
const SCORE_SCALE: f64 = 1e6;

/// All rows of a batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct BatchRows {
    /// The run, by its identity: its row is made again in a database that has lost it.
    pub(super) run: RunRow,
    /// Number of the batch in its run, from 1.
    pub(super) number: i64,
    pub(super) windows: Vec<WindowRow>,
    pub(super) flows: Vec<FlowRow>,
    pub(super) raw_packets: Vec<(i64, i64, Vec<u8>)>,
    pub(super) alerts: Vec<AlertRow>,
    pub(super) anomalies: Vec<AnomalyRow>,
    pub(super) features: Vec<VectorRow>,
    /// Name, time, JSON.
    pub(super) baselines: Option<(String, i64, String)>,
    /// What the next start goes on from.
    pub(super) readings: Option<ReadingsRow>,
    /// What happened to the daemon itself.
    pub(super) notices: Vec<Notice>,
    /// What is wrong as the run begins; what else the log says of the sensor's interfaces is over.
    pub(super) standing: Option<Vec<String>>,
    /// The run ends with this batch.
    pub(super) end: Option<String>,
}

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunRow {
    pub(super) uuid: Vec<u8>,
    pub(super) sensor: String,
    pub(super) mode: String,
    pub(super) source: String,
    pub(super) version: String,
    pub(super) started_ns: i64,
    pub(super) analysis: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct WindowRow {
    pub(super) factor: i64,
    pub(super) number: i64,
    pub(super) start_ns: i64,
    pub(super) end_ns: i64,
    /// How long windows of its kind are: by this they are found.
    pub(super) span_ns: i64,
    pub(super) packets: i64,
    pub(super) bytes: i64,
    pub(super) flows: i64,
    pub(super) connections: i64,
    /// For sorting; the exact value stands in the body.
    pub(super) bandwidth_bps: i64,
    pub(super) rtt_samples: i64,
    pub(super) rtt_mean_ms: Option<f64>,
    pub(super) rtt_max_ms: Option<f64>,
    pub(super) rtt_shortest_ms: Option<f64>,
    /// Of windows of before: now the document has it.
    pub(super) rtt_histogram: Option<String>,
    /// What hosts came near to, how many measures of the body.
    #[serde(default)]
    pub(super) near: i64,
    pub(super) body: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FlowRow {
    pub(super) id: i64,
    pub(super) proto: u8,
    pub(super) orig_addr: [u8; 16],
    pub(super) orig_port: u16,
    pub(super) resp_addr: [u8; 16],
    pub(super) resp_port: u16,
    pub(super) vlan: u16,
    pub(super) first_ns: i64,
    pub(super) last_ns: i64,
    /// Packets, frame bytes, IP bytes.
    pub(super) orig: [i64; 3],
    pub(super) resp: [i64; 3],
    pub(super) handshake_us: [u32; 2],
    pub(super) state: i64,
    pub(super) tcp: Option<String>,
    pub(super) conn_state: String,
    pub(super) history: String,
    pub(super) payload: [Option<i64>; 2],
    /// Address and port that the gateway gives originator and responder on its other side.
    pub(super) translated: [Option<SocketAddr>; 2],
    /// Identities of the flows in which each side's packets come, `,` between them.
    pub(super) parents: Option<String>,
    /// Packets and bytes of originator and responder that are counted in the flows inside.
    pub(super) opened: Option<[[i64; 2]; 2]>,
    /// Name of the service.
    pub(super) service: Option<String>,
    /// Of a row that stands for many flows.
    pub(super) group: Option<Box<GroupRow>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AlertRow {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) severity: i64,
    pub(super) source: Option<String>,
    pub(super) destination: Option<String>,
    pub(super) score_ppm: i64,
    pub(super) state: String,
    pub(super) first_ns: i64,
    pub(super) last_ns: i64,
    pub(super) raised_ns: i64,
    pub(super) cleared_ns: Option<i64>,
    pub(super) body: String,
    /// Whom it concerns beside its parties: address and side.
    pub(super) hosts: Vec<([u8; 16], u8)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AnomalyRow {
    pub(super) number: i64,
    pub(super) alert_id: String,
    pub(super) kind: String,
    pub(super) severity: i64,
    pub(super) source: Option<String>,
    pub(super) destination: Option<String>,
    pub(super) score_ppm: i64,
    pub(super) start_ns: i64,
    pub(super) end_ns: i64,
    pub(super) body: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VectorRow {
    pub(super) start_ns: i64,
    pub(super) end_ns: i64,
    pub(super) span_ns: i64,
    pub(super) host: [u8; 16],
    pub(super) schema_version: u32,
    pub(super) vector: String,
}

impl BatchRows {
    /// The rows of batch `number` of a run.
    pub(super) fn new(run: &RunRow, number: i64, mut batch: WindowBatch) -> Result<Self, StoreError> {
        in_key_order(&mut batch.flows);
        let flows = batch.flows.iter().map(|flow| Ok(FlowRow::from(flow)));
        let flows = flows.chain(batch.groups.iter().map(GroupRow::of)).collect::<Result<_, StoreError>>()?;
        let base = batch.window.iter().map(|window| (Span::Base.factor(), window));
        let longer = batch.longer.iter().map(|(factor, window)| (*factor, window));
        let baselines = batch.baselines.map(|(mode, export)| {
            let body = encode("baselines", export.updated_ns, export.as_ref())?;
            Ok::<_, StoreError>((baselines_name(mode, &run.sensor), to_sql(export.updated_ns), body))
        });
        Ok(Self {
            run: run.clone(),
            number,
            windows: base
                .chain(longer)
                .map(|(factor, window)| WindowRow::new(factor, window))
                .collect::<Result<_, _>>()?,
            flows,
            raw_packets: batch
                .raw_packets
                .into_iter()
                .map(|packet| (to_sql(packet.time.as_nanos()), i64::from(packet.wire_len), packet.head))
                .collect(),
            alerts: batch.alerts.iter().map(AlertRow::new).collect::<Result<_, _>>()?,
            anomalies: batch.anomalies.iter().map(AnomalyRow::new).collect::<Result<_, _>>()?,
            features: batch.features.iter().map(VectorRow::new).collect::<Result<_, _>>()?,
            baselines: baselines.transpose()?,
            readings: batch.readings.as_ref().map(ReadingsRow::from),
            notices: batch.notices,
            standing: batch.standing,
            end: batch.end.map(str::to_owned),
        })
    }

    /// About how many bytes they take in memory.
    pub(super) fn bytes(&self) -> u64 {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let windows = self.windows.iter().map(|row| size_of::<WindowRow>() + row.body.len() + text(&row.rtt_histogram));
        let flows = self.flows.iter().map(|row| size_of::<FlowRow>() + text(&row.tcp) + row.history.len());
        let heads = self.raw_packets.iter().map(|(.., head)| size_of::<(i64, i64, Vec<u8>)>() + head.len());
        let alerts = self.alerts.iter().map(|row| size_of::<AlertRow>() + row.body.len() + 17 * row.hosts.len());
        let anomalies = self.anomalies.iter().map(|row| size_of::<AnomalyRow>() + row.body.len());
        let features = self.features.iter().map(|row| size_of::<VectorRow>() + row.vector.len());
        let baselines = self.baselines.as_ref().map_or(0, |(.., body)| body.len());
        let notices = self.notices.iter().map(|notice| size_of::<Notice>() + notice.body.len());
        let rows: usize =
            windows.chain(flows).chain(heads).chain(alerts).chain(anomalies).chain(features).chain(notices).sum();
        (size_of::<Self>() + rows + baselines) as u64
    }

    /// End of its base window, if it has one. Longer ones may end by a clock that was set since.
    pub(super) fn end_ns(&self) -> Option<i64> {
        self.windows.iter().filter(|window| window.factor == 1).map(|window| window.end_ns).max()
    }
}

impl WindowRow {
    pub(super) fn new(factor: u64, window: &Window) -> Result<Self, StoreError> {
        let bandwidth_bps = window.per_second(window.bytes) * 8.0;
        Ok(Self {
            factor: to_sql(factor),
            number: to_sql(window.id),
            start_ns: to_sql(window.start.as_nanos()),
            end_ns: to_sql(window.end.as_nanos()),
            span_ns: to_sql(window.span_ns()),
            packets: to_sql(window.packets),
            bytes: to_sql(window.bytes),
            flows: to_sql(window.flows),
            connections: i64::from(window.tcp.syn.saturating_sub(window.tcp.syn_retry)),
            bandwidth_bps: bandwidth_bps.round() as i64,
            rtt_samples: to_sql(window.rtt.count),
            rtt_mean_ms: window.rtt.mean_ms(),
            rtt_max_ms: window.rtt.max_ms(),
            rtt_shortest_ms: window.rtt.min_ms(),
            rtt_histogram: None,
            near: window.near.kept.len() as i64,
            body: encode("windows", window.id, &WindowBody::from(window))?,
        })
    }
}

impl From<&FlowRecord> for FlowRow {
    fn from(flow: &FlowRecord) -> Self {
        let (orig, resp) = (&flow.originator, &flow.responder);
        let sums = |sent: &nta_common::flow::Counts| [sent.packets, sent.bytes, sent.ip_bytes].map(to_sql);
        let sides = [tcp_row(&orig.tcp), tcp_row(&resp.tcp)];
        Self {
            id: flow.id.0.cast_signed(),
            proto: flow.proto,
            orig_addr: address(orig.address),
            orig_port: orig.port,
            resp_addr: address(resp.address),
            resp_port: resp.port,
            vlan: flow.vlan,
            first_ns: to_sql(flow.first.as_nanos()),
            last_ns: to_sql(flow.last.as_nanos()),
            orig: sums(&orig.sent),
            resp: sums(&resp.sent),
            handshake_us: flow.handshake_us,
            state: state(flow.ended),
            // Nested arrays of numbers look the same in Rust's debug form and in JSON.
            tcp: (flow.proto == proto::TCP).then(|| format!("{sides:?}")),
            conn_state: flow.conn_state.as_str().to_owned(),
            history: flow.history.to_string(),
            payload: [orig.payload_bytes.map(to_sql), resp.payload_bytes.map(to_sql)],
            translated: [orig.translated, resp.translated],
            service: flow.service.map(|service| service.name().to_owned()),
            group: None,
            parents: parents(&flow.nesting),
            opened: flow
                .nesting
                .is_tunnel()
                .then(|| flow.nesting.opened.map(|load| [to_sql(load.packets), to_sql(load.bytes)])),
        }
    }
}

fn parents(nesting: &Nesting) -> Option<String> {
    let outer = nesting.outer();
    outer.iter().any(Option::is_some).then(|| {
        let [orig, resp] = outer.map(|id| id.map(|id| id.to_string()).unwrap_or_default());
        format!("{orig},{resp}")
    })
}

/// The column `parents`; `None` when it holds something else.
pub(super) fn outer(parents: Option<&str>) -> Option<[Option<FlowId>; 2]> {
    let Some(parents) = parents else { return Some([None; 2]) };
    let id = |text: &str| match text {
        "" => Some(None),
        text => u64::from_str_radix(text, 16).ok().map(|id| Some(FlowId(id))),
    };
    let (orig, resp) = parents.split_once(',')?;
    Some([id(orig)?, id(resp)?])
}

impl AlertRow {
    fn new(alert: &Alert) -> Result<Self, StoreError> {
        Ok(Self {
            id: alert.id.to_string(),
            kind: alert.key.kind.word().to_owned(),
            severity: alert.severity as i64,
            source: party(&alert.key.source),
            destination: party(&alert.key.destination),
            score_ppm: score(alert.finding.score),
            state: if alert.state == AlertState::Raised { "raised" } else { "cleared" }.to_owned(),
            first_ns: to_sql(alert.first.as_nanos()),
            last_ns: to_sql(alert.last.as_nanos()),
            raised_ns: to_sql(alert.raised.as_nanos()),
            cleared_ns: alert.cleared.map(|time| to_sql(time.as_nanos())),
            body: encode("detected_alerts", alert.id.0, &AlertBody::from(alert))?,
            hosts: concerned(alert),
        })
    }
}

impl AnomalyRow {
    fn new(anomaly: &Anomaly) -> Result<Self, StoreError> {
        let finding = &anomaly.finding;
        Ok(Self {
            number: to_sql(anomaly.number),
            alert_id: anomaly.alert.to_string(),
            kind: finding.kind.word().to_owned(),
            severity: anomaly.severity as i64,
            source: party(&finding.source),
            destination: party(&finding.destination),
            score_ppm: score(finding.score),
            start_ns: to_sql(finding.start.as_nanos()),
            end_ns: to_sql(finding.end.as_nanos()),
            body: encode("anomalies", anomaly.number, &AnomalyBody::from(finding))?,
        })
    }
}

impl VectorRow {
    fn new(row: &FeatureRow) -> Result<Self, StoreError> {
        Ok(Self {
            start_ns: to_sql(row.start.as_nanos()),
            end_ns: to_sql(row.end.as_nanos()),
            span_ns: to_sql(row.span_ns),
            host: address(row.host),
            schema_version: row.schema_version,
            vector: encode("aggregated_features", row.start.as_nanos(), &row.vector)?,
        })
    }
}

/// A party as a column has it; NULL when it is nobody in particular.
fn party(party: &Party) -> Option<String> {
    (*party != Party::Nobody).then(|| party.to_string())
}

pub(super) fn encode(table: &'static str, number: u64, value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Encode { table, number, source })
}

/// An address as 16 bytes: IPv4 mapped into IPv6.
pub(super) const fn address(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Back from 16 bytes; `None` when it is not as many.
pub(super) fn from_address(bytes: &[u8]) -> Option<IpAddr> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    Some(Ipv6Addr::from(bytes).to_canonical())
}

/// A score as the database sorts it.
fn score(score: f64) -> i64 {
    (score.clamp(0.0, 1.0) * SCORE_SCALE).round() as i64
}

/// Sorts by identity, so that the rows go into the index from left to right, and keeps the last record of each flow.
fn in_key_order(flows: &mut Vec<FlowRecord>) {
    flows.sort_by_key(|flow| flow.id.0.cast_signed());
    flows.dedup_by(|later, earlier| {
        let same = later.id == earlier.id;
        if same {
            *earlier = *later;
        }
        same
    });
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A batch with an alert and the head of a frame of so many bytes.
    pub(in crate::store) fn rows(number: i64, head: usize) -> BatchRows {
        let alert = AlertRow {
            id: format!("{number:016x}"),
            kind: "port_scan".to_owned(),
            severity: 2,
            source: None,
            destination: None,
            score_ppm: 1,
            state: "raised".to_owned(),
            first_ns: 1,
            last_ns: 2,
            raised_ns: 2,
            cleared_ns: None,
            body: "{}".to_owned(),
            hosts: Vec::new(),
        };
        let raw_packets = vec![(1, 2, vec![7; head])];
        BatchRows { number, alerts: vec![alert], raw_packets, ..BatchRows::default() }
    }
}
