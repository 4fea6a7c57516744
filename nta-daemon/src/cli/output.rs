//! What `replay` prints: text to read, one JSON document, or JSON lines. Windows leave as they close: a capture of a year
//! needs no more memory than one of an hour.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Serialize, Serializer};

use super::conn_log::ConnLog;
use super::document::JsonDocument;
use super::replay::Format;
use crate::json::{
    AlertJson, ArpJson, DnsJson, FeaturesJson, FlowJson, LedgerJson, VisibilityJson, WindowJson, skipped,
};
use crate::pipeline::{PipelineEvent, Sink};
use crate::replay::{FileSummary, Summary};
use nta_capture::End;
use nta_core::detect::Networks;
use nta_core::domain::{Alert, FlowRecord, FlowUpdate, PacketEvent, Timestamp};
use nta_core::window::{HostStats, Snapshot, Span};

/// Flows that the text names, those with the most bytes.
const TOP_FLOWS: usize = 10;
/// Alerts that a replay reports; those beyond it are counted.
const MAX_ALERTS: usize = 10_000;

/// What is kept of a replay until it is printed; JSON lines and the windows of the JSON document are printed at once.
pub(super) struct Collected {
    format: Format,
    events: bool,
    features: bool,
    document: JsonDocument,
    window_count: u64,
    top_flows: Vec<FlowRecord>,
    alerts: Vec<Alert>,
    alerts_untold: u64,
    conn_log: Option<ConnLog>,
    failed: Option<io::Error>,
}

/// The document of `--format json` behind its first field, `windows`. The shapes of windows and ledger are the API's.
#[derive(Serialize)]
struct Document<'a> {
    /// `kernel` or `user`.
    engine: &'a str,
    /// Frames read, analysed or not: what `capinfos` counts.
    packets: u64,
    /// Their length on the wire.
    bytes: u64,
    /// Frames that are in no flow, by reason; link types that are not analysed among them.
    skipped: BTreeMap<String, u64>,
    /// Time of the earliest frame; null without frames.
    first_time: Option<String>,
    /// Time of the latest frame.
    last_time: Option<String>,
    /// Flows seen.
    flows: u64,
    /// Packets older than their window.
    late_packets: u64,
    /// Which sides of conversations were seen.
    visibility: VisibilityJson,
    /// TCP segments that passed twice, as mirror ports deliver them.
    duplicates: u64,
    /// Packets whose time stamp was wrong: more than a minute away from those before and behind it. They were accounted at the
    /// time of their neighbours.
    wrong_times: u64,
    /// How often the time of a capture went back by more than a minute and stayed there.
    set_back: u64,
    /// Alerts in the order in which they were raised, each in its last state.
    #[serde(serialize_with = "one_by_one")]
    alerts: &'a [Alert],
    /// Alerts beyond the 10,000 that are reported.
    alerts_untold: u64,
    /// Where every packet ended up.
    ledger: LedgerJson,
    /// The files.
    captures: Vec<CaptureJson<'a>>,
    /// Wall time in seconds.
    elapsed_s: f64,
}

#[derive(Serialize)]
struct CaptureJson<'a> {
    path: &'a str,
    format: &'a str,
    packets: u64,
    /// `complete`, `cut_off` or `corrupt`.
    end: &'static str,
    /// What is wrong with the end, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// A line of `--format jsonl`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Flow(&'a FlowJson),
    Dns(&'a DnsJson),
    Arp(&'a ArpJson),
    Window(&'a WindowJson),
    Features(&'a FeaturesJson),
    Alert {
        alert: &'a AlertJson,
    },
    Summary {
        windows: [(); 0],
        #[serde(flatten)]
        rest: &'a Document<'a>,
    },
}

impl Collected {
    /// Output in this format; `folder` is where conn.log goes, if not to standard output, `local` what it calls local; `events` and `features` print
    /// those as well.
    pub(super) fn new(
        format: Format,
        folder: Option<&Path>,
        local: &Networks,
        events: bool,
        features: bool,
    ) -> io::Result<Self> {
        let conn_log = if format == Format::Zeek { Some(ConnLog::create(folder, local.clone())?) } else { None };
        Ok(Self {
            format,
            events,
            features,
            document: JsonDocument::default(),
            window_count: 0,
            top_flows: Vec::new(),
            alerts: Vec::new(),
            alerts_untold: 0,
            conn_log,
            failed: None,
        })
    }

    /// Prints what is left to print, and warns of files that are not whole.
    pub(super) fn print(self, summary: &Summary) -> io::Result<()> {
        for file in &summary.files {
            if let (state @ ("cut_off" | "corrupt"), Some(detail)) = end(&file.end) {
                tracing::warn!(capture = file.name, packets = file.frames, "{state}: {detail}; analysed up to there");
            }
        }
        let written = match (self.failed, self.format) {
            (Some(error), _) => Err(error),
            (None, Format::Text) => text(summary, self.window_count, &self.top_flows, &self.alerts),
            (None, Format::Json) => self.document.end(&document(summary, &self.alerts, self.alerts_untold)),
            (None, Format::Zeek) => self.conn_log.map_or(Ok(()), |mut log| log.close()),
            (None, Format::Jsonl) => jsonl_end(summary, &self.alerts, self.alerts_untold),
        };
        match written {
            // Whoever read has had enough (`| head`).
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }

    /// A line for every host of a window, in order of their addresses.
    fn vectors(&mut self, snapshot: &Snapshot) {
        let mut hosts: Vec<&HostStats> = snapshot.hosts.iter().collect();
        hosts.sort_unstable_by_key(|host| host.address);
        for host in hosts {
            let written = line(&Line::Features(&FeaturesJson::of(snapshot, host)));
            self.note(written);
        }
    }

    fn note(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }
}

impl Sink for Collected {
    fn take(&mut self, _number: u64, event: &PipelineEvent<'_>) {
        match *event {
            PipelineEvent::Flow { update, flow } => self.flow(update, flow),
            PipelineEvent::FlowEnded(update) => self.ended(update),
            PipelineEvent::Packet(event) => self.event(event),
            PipelineEvent::Window(snapshot) => self.window(snapshot),
            PipelineEvent::Alert(_change, alert) => self.alert(alert),
            PipelineEvent::FlowGone(_) | PipelineEvent::Judged(_) | PipelineEvent::Closed(_) => {}
        }
    }
}

impl Collected {
    fn flow(&mut self, update: &FlowUpdate<'_>, flow: &FlowRecord) {
        if update.ended.is_none() {
            return;
        }
        match self.format {
            Format::Json => {}
            Format::Zeek => {
                if let Some(log) = &mut self.conn_log {
                    let written = log.connection(flow);
                    self.note(written);
                }
            }
            Format::Jsonl => {
                let written = line(&Line::Flow(&FlowJson::from(flow)));
                self.note(written);
            }
            Format::Text => {
                let size = bytes(flow);
                let at = self.top_flows.partition_point(|top| bytes(top) >= size);
                if at < TOP_FLOWS {
                    self.top_flows.truncate(TOP_FLOWS - 1);
                    self.top_flows.insert(at.min(self.top_flows.len()), *flow);
                }
            }
        }
    }

    /// Most flows are too small to be reported, and their records cost something.
    fn ended(&mut self, update: &FlowUpdate<'_>) {
        let is_reported = match self.format {
            Format::Json => false,
            Format::Zeek | Format::Jsonl => true,
            Format::Text => {
                let size = update.flow.totals[0].bytes + update.flow.totals[1].bytes;
                self.top_flows.get(TOP_FLOWS - 1).is_none_or(|least| bytes(least) < size)
            }
        };
        if is_reported {
            self.flow(update, &FlowRecord::of(update));
        }
    }

    fn event(&mut self, event: &PacketEvent) {
        if !self.events {
            return;
        }
        let written = match event {
            PacketEvent::Dns(message) => line(&Line::Dns(&DnsJson::from(message))),
            PacketEvent::Arp(packet) => line(&Line::Arp(&ArpJson::from(packet))),
            PacketEvent::ArpMalformed(_) | PacketEvent::RawPacket(_) => return,
        };
        self.note(written);
    }

    fn window(&mut self, snapshot: &Snapshot) {
        if self.features {
            self.vectors(snapshot);
        }
        if snapshot.span != Span::Base {
            return;
        }
        self.window_count += 1;
        match self.format {
            Format::Json => {
                let written = self.document.window(&WindowJson::from(&snapshot.window));
                self.note(written);
            }
            Format::Jsonl => {
                let written = line(&Line::Window(&WindowJson::from(&snapshot.window)));
                self.note(written);
            }
            Format::Text | Format::Zeek => {}
        }
    }

    /// An alert is reported once, in its last state.
    fn alert(&mut self, alert: &Alert) {
        if let Some(known) = self.alerts.iter_mut().find(|known| known.id == alert.id) {
            known.clone_from(alert);
        } else if self.alerts.len() < MAX_ALERTS {
            self.alerts.push(alert.clone());
        } else {
            self.alerts_untold += 1;
        }
    }
}

fn bytes(flow: &FlowRecord) -> u64 {
    flow.originator.sent.bytes + flow.responder.sent.bytes
}

/// Makes the shape of an alert when its turn comes.
fn one_by_one<S: Serializer>(alerts: &[Alert], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(alerts.iter().map(AlertJson::from))
}

fn line(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// The alerts, each a line, and the summary.
fn jsonl_end(summary: &Summary, alerts: &[Alert], untold: u64) -> io::Result<()> {
    for alert in alerts {
        line(&Line::Alert { alert: &AlertJson::from(alert) })?;
    }
    line(&Line::Summary { windows: [], rest: &document(summary, &[], untold) })
}

fn document<'a>(summary: &'a Summary, alerts: &'a [Alert], untold: u64) -> Document<'a> {
    let mut reasons = skipped(&summary.ledger.total());
    reasons.extend(summary.skipped_link_types.clone());
    Document {
        engine: summary.engine,
        packets: summary.packets,
        bytes: summary.bytes,
        skipped: reasons,
        first_time: summary.times.map(|(first, _)| first.to_string()),
        last_time: summary.times.map(|(_, last)| last.to_string()),
        flows: summary.flows,
        late_packets: summary.late_packets,
        visibility: VisibilityJson::from(&summary.visibility),
        duplicates: summary.duplicates,
        wrong_times: summary.wrong_times,
        set_back: summary.set_back,
        alerts,
        alerts_untold: untold,
        ledger: LedgerJson::from(&summary.ledger),
        captures: summary.files.iter().map(capture).collect(),
        elapsed_s: summary.elapsed.as_secs_f64(),
    }
}

fn capture(file: &FileSummary) -> CaptureJson<'_> {
    let (state, detail) = end(&file.end);
    CaptureJson { path: &file.name, format: &file.format, packets: file.frames, end: state, detail }
}

fn end(end: &End) -> (&'static str, Option<String>) {
    match end {
        End::Complete => ("complete", None),
        End::CutOff { at_byte, detail } => ("cut_off", Some(format!("at byte {at_byte}: {detail}"))),
        End::Corrupt { at_byte, detail } => ("corrupt", Some(format!("at byte {at_byte}: {detail}"))),
    }
}

fn text(summary: &Summary, windows: u64, top: &[FlowRecord], alerts: &[Alert]) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for file in &summary.files {
        let (state, _) = end(&file.end);
        writeln!(out, "{}  {}, {} packets, {state}", file.name, file.format, file.frames)?;
    }
    let show = |time: Timestamp| time.to_string();
    if let Some((first, last)) = summary.times {
        let seconds = last.since(first) as f64 / 1e9;
        writeln!(out, "time      {} to {} ({seconds:.3} s)", show(first), show(last))?;
    }
    let rate = summary.packets as f64 / summary.elapsed.as_secs_f64().max(1e-9);
    writeln!(out, "packets   {}  bytes {}", summary.packets, summary.bytes)?;
    writeln!(out, "flows     {}  windows {windows}  late packets {}", summary.flows, summary.late_packets)?;
    if summary.wrong_times + summary.set_back > 0 {
        let Summary { wrong_times, set_back, .. } = summary;
        writeln!(out, "clock     wrong time stamps {wrong_times}, set back {set_back}")?;
    }
    for (protocol, of) in [("TCP", summary.visibility.tcp), ("UDP", summary.visibility.udp)] {
        if of.is_one_sided() {
            let all = of.whole + of.half;
            writeln!(out, "one-sided {protocol}: both directions of {} of {all} conversations", of.whole)?;
        }
    }
    if summary.duplicates > 0 {
        writeln!(out, "mirror    {} TCP segments passed twice", summary.duplicates)?;
    }
    let total = summary.ledger.total();
    let reasons: Vec<String> = skipped(&total)
        .into_iter()
        .chain(summary.skipped_link_types.clone())
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    writeln!(out, "skipped   {}", if reasons.is_empty() { "none".to_owned() } else { reasons.join(", ") })?;
    let balance = if summary.ledger.balances() { "balances" } else { "DOES NOT BALANCE" };
    writeln!(out, "ledger    {balance}")?;
    writeln!(out, "engine    {}, {:.3} s, {rate:.0} packets/s", summary.engine, summary.elapsed.as_secs_f64())?;
    writeln!(out, "alerts    {}", alerts.len())?;
    for alert in alerts {
        let (kind, severity) = (alert.key.kind, alert.severity.word());
        writeln!(out, "  {} {severity:<8} {kind}: {}", show(alert.raised), alert.finding.summary)?;
    }
    if !top.is_empty() {
        writeln!(out, "\nflows with the most bytes")?;
        writeln!(out, "{:>12} {:>10}  {:<9} originator > responder", "bytes", "packets", "protocol")?;
    }
    for flow in top {
        let json = FlowJson::from(flow);
        let (from, to) = (endpoint(&flow.originator), endpoint(&flow.responder));
        writeln!(out, "{:>12} {:>10}  {:<9} {from} > {to}", json.bytes, json.packets, json.protocol)?;
    }
    out.flush()
}

fn endpoint(side: &nta_core::domain::Endpoint) -> String {
    std::net::SocketAddr::new(side.address, side.port).to_string()
}
