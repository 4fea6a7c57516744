//! What `replay` prints: text to read, one JSON document, or JSON lines.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;

use super::conn_log::ConnLog;
use super::replay::Format;
use crate::domain::{Event, FlowRecord, FlowUpdate, Timestamp};
use crate::json::{ArpJson, DnsJson, FlowJson, LedgerJson, WindowJson, skipped};
use crate::replay::{FileSummary, Summary};
use crate::source::capture::End;
use crate::window::Window;

/// Flows that the text names, those with the most bytes.
const TOP_FLOWS: usize = 10;

/// What is kept of a replay until it is printed; JSON lines are printed at once.
pub(super) struct Collected {
    format: Format,
    events: bool,
    windows: Vec<WindowJson>,
    window_count: u64,
    top_flows: Vec<FlowRecord>,
    conn_log: Option<ConnLog>,
    failed: Option<io::Error>,
}

/// The document of `--format json`. The shapes of windows and ledger are the API's.
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
    /// Windows in order.
    windows: &'a [WindowJson],
    /// Alerts; empty until detectors exist.
    alerts: [(); 0],
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
    Summary(&'a Document<'a>),
}

impl Collected {
    /// Output in this format; `folder` is where conn.log goes, if not to standard output; `events` prints those as well.
    pub(super) fn new(format: Format, folder: Option<&Path>, events: bool) -> io::Result<Self> {
        let conn_log = if format == Format::Zeek { Some(ConnLog::create(folder)?) } else { None };
        let (windows, top_flows) = (Vec::new(), Vec::new());
        Ok(Self { format, events, windows, window_count: 0, top_flows, conn_log, failed: None })
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
            (None, Format::Text) => text(summary, self.window_count, &self.top_flows),
            (None, Format::Json) => line(&document(summary, &self.windows)),
            (None, Format::Zeek) => self.conn_log.map_or(Ok(()), |mut log| log.close()),
            (None, Format::Jsonl) => line(&Line::Summary(&document(summary, &[]))),
        };
        match written {
            // Whoever read has had enough (`| head`).
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }

    fn note(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }
}

pub(super) fn flow(to: &mut Collected, update: &FlowUpdate<'_>) {
    if update.ended.is_none() {
        return;
    }
    match to.format {
        Format::Json => {}
        Format::Zeek => {
            if let Some(log) = &mut to.conn_log {
                let written = log.connection(&FlowRecord::of(update));
                to.note(written);
            }
        }
        Format::Jsonl => {
            let written = line(&Line::Flow(&FlowJson::from(&FlowRecord::of(update))));
            to.note(written);
        }
        Format::Text => {
            let size = update.flow.totals[0].bytes + update.flow.totals[1].bytes;
            let at = to.top_flows.partition_point(|top| bytes(top) >= size);
            if at < TOP_FLOWS {
                to.top_flows.truncate(TOP_FLOWS - 1);
                to.top_flows.insert(at.min(to.top_flows.len()), FlowRecord::of(update));
            }
        }
    }
}

pub(super) fn event(to: &mut Collected, event: &Event) {
    if !to.events {
        return;
    }
    let written = match event {
        Event::Dns(message) => line(&Line::Dns(&DnsJson::from(message))),
        Event::Arp(packet) => line(&Line::Arp(&ArpJson::from(packet))),
        Event::ArpMalformed(_) | Event::RawPacket(_) => return,
    };
    to.note(written);
}

pub(super) fn window(to: &mut Collected, window: &Window) {
    to.window_count += 1;
    match to.format {
        Format::Json => to.windows.push(WindowJson::from(window)),
        Format::Jsonl => {
            let written = line(&Line::Window(&WindowJson::from(window)));
            to.note(written);
        }
        Format::Text | Format::Zeek => {}
    }
}

fn bytes(flow: &FlowRecord) -> u64 {
    flow.originator.sent.bytes + flow.responder.sent.bytes
}

fn line(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

fn document<'a>(summary: &'a Summary, windows: &'a [WindowJson]) -> Document<'a> {
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
        windows,
        alerts: [],
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

fn text(summary: &Summary, windows: u64, top: &[FlowRecord]) -> io::Result<()> {
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

fn endpoint(side: &crate::domain::Endpoint) -> String {
    std::net::SocketAddr::new(side.address, side.port).to_string()
}
