//! What `replay` prints: text to read, one JSON document, or JSON lines. Windows leave as they close: a capture of a year
//! needs no more memory than one of an hour.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use serde::{Serialize, Serializer};

use super::captures::{CaptureJson, SelectionJson, capture, end, selection};
use super::deciding::{Decided, Deciding};
use super::document::JsonDocument;
use super::exported::{Exported, IpfixFile, Output, conn_log};
use super::format::{Format, Plot};
use crate::export::ConnLog;
use crate::json::{
    ArpJson, DnsJson, FeaturesJson, FlowJson, LedgerJson, NeighborJson, VisibilityJson, WindowJson, skipped,
};
use crate::pipeline::{PipelineEvent, Sink};
use crate::replay::Summary;
use crate::report::{self, Alerts, Look, Page, Report, Tally};
use nta_core::detect::{DetectConfig, detectors};
use nta_core::domain::{Alert, FlowRecord, FlowUpdate, PacketEvent};
use nta_core::window::{HostStats, Snapshot, Span};

/// What is kept of a replay until it is printed; JSON lines and the windows of the JSON document are printed at once.
pub(super) struct Collected {
    format: Format,
    events: bool,
    features: bool,
    document: JsonDocument,
    tally: Tally,
    /// Detectors that look at the traffic.
    detectors: usize,
    tunnels: bool,
    plot: Plot,
    alerts: Alerts,
    deciding: Deciding,
    conn_log: Option<ConnLog<Output>>,
    ipfix: Option<IpfixFile>,
    exported: Option<Exported>,
    failed: Option<io::Error>,
}

/// What is printed, and how.
pub(super) struct OutputOptions<'a> {
    pub(super) format: Format,
    /// Where files go, if not to standard output.
    pub(super) folder: Option<&'a Path>,
    /// What is looked for, and whose side is local.
    pub(super) detect: &'a DetectConfig,
    /// Whether tunnels are opened.
    pub(super) tunnels: bool,
    /// Whether every DNS message and ARP packet is printed.
    pub(super) events: bool,
    /// Whether the features of every host are.
    pub(super) features: bool,
    /// Whether the text has a chart.
    pub(super) plot: Plot,
}

/// The document of `--format json` behind its first field, `windows`. The shapes of windows and ledger are the API's.
#[derive(Serialize)]
struct Document<'a> {
    /// `kernel` or `user`.
    engine: &'a str,
    /// Frames read, analysed or not: what `capinfos` counts. Of a selection, those in it.
    packets: u64,
    /// What was selected by `--filter`, `--from` and `--to`; null when nothing was left out.
    selection: Option<SelectionJson<'a>>,
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
    /// Packets of a pipe with several interfaces that came behind later ones. Those of a file are put in order.
    out_of_order: u64,
    /// Windows that others stand for (`folded`), as so few packets lie in so many windows.
    windows_folded: u64,
    /// Windows without packets that were left out for the same reason: `silence_s` of the next one stands for them.
    windows_left_out: u64,
    /// Alerts in the order in which they were raised, each in its last state.
    #[serde(serialize_with = "one_by_one")]
    alerts: Reported<'a>,
    /// Alerts beyond the 10,000 that are reported.
    alerts_unreported: u64,
    /// Where every packet ended up.
    ledger: LedgerJson,
    /// The files.
    captures: Vec<CaptureJson<'a>>,
    /// Wall time in seconds.
    elapsed_s: f64,
    /// What the text shows.
    report: &'a Report,
}

/// Alerts, and which windows decided.
type Reported<'a> = (&'a [Alert], &'a Deciding);

/// A line of `--format jsonl`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Flow(&'a FlowJson),
    Dns(&'a DnsJson),
    Arp(&'a ArpJson),
    Nd(&'a NeighborJson),
    Window(&'a WindowJson),
    Features(&'a FeaturesJson),
    Alert {
        alert: &'a Decided,
    },
    Summary {
        windows: [(); 0],
        #[serde(flatten)]
        rest: &'a Document<'a>,
    },
}

impl Collected {
    /// Output as it was asked for.
    pub(super) fn new(options: &OutputOptions<'_>) -> io::Result<Self> {
        let &OutputOptions { format, folder, detect, tunnels, events, features, plot } = options;
        let local = &detect.local_networks;
        let ipfix = if format == Format::Ipfix { Some(IpfixFile::create(folder)?) } else { None };
        let conn_log = if format == Format::Zeek { Some(conn_log(folder, local.clone())?) } else { None };
        Ok(Self {
            format,
            events,
            features,
            plot,
            document: JsonDocument::default(),
            tally: Tally::default(),
            detectors: detectors(detect).len(),
            tunnels,
            alerts: Alerts::default(),
            deciding: Deciding::default(),
            conn_log,
            ipfix,
            exported: Exported::create(format, folder)?,
            failed: None,
        })
    }

    /// Prints what is left to print, and warns of files that are not whole.
    pub(super) fn print(mut self, summary: &Summary) -> io::Result<()> {
        // Others hold them, and count their findings.
        self.alerts.without_folded();
        for file in &summary.files {
            if let (state @ ("cut_off" | "corrupt" | "stopped"), Some(detail)) = end(&file.end) {
                tracing::warn!(capture = file.name, packets = file.frames, "{state}: {detail}; analysed up to there");
            }
        }
        let report = Report::new(summary, &self.tally, self.detectors).with_tunnels_opened(self.tunnels);
        let (alerts, unreported) = (self.alerts.all(), self.alerts.unreported());
        let written = match (self.failed, self.format) {
            (Some(error), _) => Err(error),
            (None, Format::Text) => {
                let mut page = Page::new(look(self.plot));
                report::write(&mut page, &report, summary, alerts, unreported);
                print(&page.text())
            }
            (None, Format::Json) => {
                self.document.end(&document(summary, &report, (alerts, &self.deciding), unreported))
            }
            (None, Format::Zeek) => self.conn_log.map_or(Ok(()), |log| log.close().map(drop)),
            (None, Format::Ipfix) => self.ipfix.map_or(Ok(()), IpfixFile::end),
            (None, Format::Csv | Format::Eve) => self.exported.map_or(Ok(()), |exported| exported.end(alerts)),
            (None, Format::Jsonl) => jsonl_end(summary, &report, (alerts, &self.deciding), unreported),
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

    /// Where a format of `export` is asked for.
    fn export(&mut self, write: impl FnOnce(&mut Exported) -> io::Result<()>) {
        let written = self.exported.as_mut().map_or(Ok(()), write);
        self.note(written);
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
            PipelineEvent::Flow { update, flow } if update.ended.is_some() => self.ended(update, || *flow),
            PipelineEvent::FlowEnded(update) => self.ended(update, || FlowRecord::of(update)),
            PipelineEvent::Packet(event) => self.event(event),
            PipelineEvent::Window(snapshot) => self.window(snapshot),
            PipelineEvent::Alert(_change, alert) => self.alert(alert),
            PipelineEvent::Closed(_) => self.closed(),
            PipelineEvent::Closing(_)
            | PipelineEvent::Flow { .. }
            | PipelineEvent::FlowGone(_)
            | PipelineEvent::Judged(_) => {}
        }
    }
}

impl Collected {
    /// A flow that is over; its record is made only where it is needed.
    fn ended(&mut self, update: &FlowUpdate<'_>, record: impl FnOnce() -> FlowRecord) {
        match self.format {
            Format::Json | Format::Text => self.tally.flow(update),
            Format::Zeek => {
                if let Some(log) = &mut self.conn_log {
                    let written = log.connection(&record());
                    self.note(written);
                }
            }
            Format::Ipfix => {
                if let Some(file) = &mut self.ipfix {
                    let written = file.flow(&record());
                    self.note(written);
                }
            }
            Format::Csv | Format::Eve => self.export(|to| to.flow(&FlowJson::from(&record()))),
            Format::Jsonl => {
                self.tally.flow(update);
                let written = line(&Line::Flow(&FlowJson::from(&record())));
                self.note(written);
            }
        }
    }

    fn event(&mut self, event: &PacketEvent) {
        if let PacketEvent::Dns(message) = event {
            self.export(|to| to.dns(message));
        }
        if matches!(self.format, Format::Text | Format::Json | Format::Jsonl) {
            self.tally.event(event);
        }
        if !self.events {
            return;
        }
        let written = match event {
            PacketEvent::Dns(message) => line(&Line::Dns(&DnsJson::from(message))),
            PacketEvent::Arp(packet) => line(&Line::Arp(&ArpJson::from(packet))),
            PacketEvent::Nd(message) => line(&Line::Nd(&NeighborJson::from(message))),
            PacketEvent::ArpMalformed(_) | PacketEvent::NdMalformed(_) | PacketEvent::RawPacket(_) => return,
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
        self.tally.window(&snapshot.window);
        self.deciding.window(&snapshot.window);
        match self.format {
            Format::Json => {
                let written = self.document.window(&WindowJson::from(&snapshot.window));
                self.note(written);
            }
            Format::Jsonl => {
                let written = line(&Line::Window(&WindowJson::from(&snapshot.window)));
                self.note(written);
            }
            Format::Csv | Format::Eve => self.export(|to| to.window(&WindowJson::from(&snapshot.window))),
            Format::Text | Format::Zeek | Format::Ipfix => {}
        }
    }

    /// Whoever reads the connections as they end has those of a window with it.
    fn closed(&mut self) {
        let flushed = self.conn_log.as_mut().map_or(Ok(()), ConnLog::flush);
        self.note(flushed);
        self.export(Exported::flush);
    }

    /// An alert is reported once, in its last state.
    fn alert(&mut self, alert: &Alert) {
        self.deciding.alert(alert);
        self.alerts.take(alert);
    }
}

/// Makes the shape of an alert when its turn comes.
fn one_by_one<S: Serializer>((alerts, deciding): &Reported<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(alerts.iter().map(|alert| deciding.with(alert)))
}

fn line(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// The alerts, each a line, and the summary.
fn jsonl_end(summary: &Summary, report: &Report, alerts: Reported<'_>, unreported: u64) -> io::Result<()> {
    let (alerts, deciding) = alerts;
    for alert in alerts {
        line(&Line::Alert { alert: &deciding.with(alert) })?;
    }
    line(&Line::Summary { windows: [], rest: &document(summary, report, (&[], deciding), unreported) })
}

fn document<'a>(summary: &'a Summary, report: &'a Report, alerts: Reported<'a>, unreported: u64) -> Document<'a> {
    let mut reasons = skipped(&summary.ledger.total());
    reasons.extend(summary.skipped_link_types.clone());
    Document {
        engine: summary.engine,
        packets: summary.packets,
        selection: summary.selected.as_ref().map(selection),
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
        out_of_order: summary.out_of_order,
        windows_folded: summary.windows_folded,
        windows_left_out: summary.windows_left_out,
        alerts,
        alerts_unreported: unreported,
        ledger: LedgerJson::from(&summary.ledger),
        captures: summary.files.iter().map(capture).collect(),
        elapsed_s: summary.elapsed.as_secs_f64(),
        report,
    }
}

/// How the text looks: as wide as the terminal; elsewhere as `COLUMNS` says, or 100 columns.
fn look(plot: Plot) -> Look {
    const ELSEWHERE: usize = 100;
    let out = io::stdout();
    let is_terminal = out.is_terminal();
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    let terminal =
        terminal_size::terminal_size_of(&out).map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0);
    let has_no_colour = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    Look {
        width: terminal.or_else(columns).unwrap_or(ELSEWHERE),
        colour: is_terminal && !has_no_colour("NO_COLOR") && !is_dumb,
        plot: plot == Plot::Always || plot == Plot::Auto && is_terminal,
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
