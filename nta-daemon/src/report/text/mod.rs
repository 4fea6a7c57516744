//! A report as text to read: first what the capture is, last what is wrong with the traffic.

mod chart;
mod dns;
mod numbers;
mod page;
mod skipped;
mod tables;
mod tunnels;

use std::fmt::Write as _;

use super::{Report, within};
use crate::json::RttSideJson;
use crate::replay::{FileSummary, Summary};
use nta_capture::{About, End};
use nta_core::domain::{Alert, Party, Severity, Timestamp};
use numbers::{LEAST_PACKET_RATE, bit_rate, bytes, count, counted, duration, milliseconds, packet_rate, percent};
use page::{Column, Style};
pub(crate) use page::{Look, Page};

/// Files that are described; the others are counted.
const MOST_FILES: usize = 10;
/// Interfaces of a file that are described.
const MOST_INTERFACES: usize = 8;

/// Writes the page.
pub(crate) fn write(page: &mut Page, report: &Report, summary: &Summary, alerts: &[Alert], unlisted: u64) {
    captures(page, summary);
    sums(page, report, summary);
    if let (true, Some(times)) = (page.look().plot, summary.times) {
        chart::draw(page, &summary.timeline, times);
    }
    tables::lengths(page, report);
    tables::shares(page, "network", &report.network);
    tables::shares(page, "protocols", &report.protocols);
    tables::shares(page, "services by port", &report.services);
    tables::shares(page, "ICMP messages", &report.icmp);
    dns::write(page, report);
    tables::hosts(page, report);
    tables::conversations(page, report);
    tables::flows(page, &report.top_flows);
    tunnels::write(page, report);
    tcp(page, report, summary.visibility.tcp.is_one_sided());
    round_trips(page, report);
    skipped::write(page, report, summary);
    conclusions(page, report, summary, alerts, unlisted);
}

fn captures(page: &mut Page, summary: &Summary) {
    let files = &summary.files;
    if files.len() > 1 {
        let size: u64 = files.iter().filter_map(|file| file.bytes).sum();
        page.entry("captures", &format!("{}, {}, merged by time", counted(files.len() as u64, "file"), bytes(size)));
    }
    for file in files.iter().take(MOST_FILES) {
        capture(page, file, files.len() == 1);
    }
    if files.len() > MOST_FILES {
        page.entry("", &format!("and {}", counted((files.len() - MOST_FILES) as u64, "more file")));
    }
}

fn capture(page: &mut Page, file: &FileSummary, is_alone: bool) {
    page.entry("capture", &file.name);
    let mut facts = vec![file.format.clone()];
    facts.extend(file.bytes.map(bytes));
    facts.push(counted(file.frames, "packet"));
    let ended = match &file.end {
        End::Complete => "",
        End::Stopped => " · stopped, see below",
        End::CutOff { .. } => " · cut off, see below",
        End::Corrupt { .. } => " · corrupt, see below",
    };
    page.styled("", &(facts.join(" · ") + ended), if ended.is_empty() { Style::Plain } else { Style::Warning });
    match (&file.sha256, file.bytes) {
        (Some(sha256), _) => page.entry("", &format!("SHA-256 {sha256}")),
        (None, Some(_)) => page.styled("", "SHA-256 with --hash", Style::Faint),
        (None, None) => {}
    }
    if is_alone {
        about(page, &file.about);
    } else if let Some(interface) = file.about.interfaces.first() {
        page.entry("", &interface.link_type.to_string());
    }
}

fn about(page: &mut Page, about: &About) {
    for interface in about.interfaces.iter().take(MOST_INTERFACES) {
        let mut facts: Vec<String> = interface.name.iter().map(|name| format!("interface {name}")).collect();
        facts.push(interface.link_type.to_string());
        facts.push(interface.snap_length.map_or_else(
            || "no limit to a packet's length".to_owned(),
            |bytes| format!("at most {} bytes a packet", count(bytes.into())),
        ));
        facts.extend(interface.digits.map(|digits| match digits {
            0 => "times in seconds".to_owned(),
            3 => "times in milliseconds".to_owned(),
            6 => "times in microseconds".to_owned(),
            9 => "times in nanoseconds".to_owned(),
            digits => format!("times with {digits} digits"),
        }));
        page.entry("", &facts.join(" · "));
    }
    let more = about.interface_count.saturating_sub(MOST_INTERFACES as u64);
    if more > 0 {
        page.entry("", &format!("and {}", counted(more, "more interface description")));
    }
    let made = [("made by", &about.application), ("on", &about.system), ("hardware", &about.hardware)];
    let made: Vec<_> = made.iter().filter_map(|(what, text)| Some(format!("{what} {}", text.as_ref()?))).collect();
    if !made.is_empty() {
        page.entry("", &made.join(" · "));
    }
    if let Some(comment) = &about.comment {
        page.entry("", &format!("comment: {comment}"));
    }
}

fn sums(page: &mut Page, report: &Report, summary: &Summary) {
    if let Some(selected) = &summary.selected {
        page.entry("selected", &skipped::selection(selected, summary.packets));
    }
    let Some((first, last)) = summary.times else {
        page.entry("packets", "none");
        return;
    };
    page.entry("time", &format!("{} to {} UTC, {}", date(first), time_after(first, last), duration(report.duration_s)));
    let mut packets = count(summary.packets);
    if let Some(rate) = report.packets_per_s.filter(|rate| *rate >= LEAST_PACKET_RATE) {
        let _always = write!(packets, ", {}", packet_rate(rate));
    }
    if let Some(mean) = report.mean_packet_bytes {
        let _always = write!(packets, ", mean length {mean:.0} bytes");
    }
    page.entry("packets", &packets);
    let mut size = count(summary.bytes);
    if summary.bytes >= 1_000 {
        let _always = write!(size, " ({})", bytes(summary.bytes));
    }
    if let Some(rate) = report.bits_per_s.filter(|rate| *rate >= 1.0) {
        let _always = write!(size, ", {}", bit_rate(rate));
    }
    page.entry("bytes", &size);
    let about = |seen: u64, is_least: bool| if is_least { format!("more than {}", count(seen)) } else { count(seen) };
    page.entry(
        "flows",
        &format!(
            "{}, hosts {}, pairs of them {}",
            count(summary.flows),
            about(report.hosts_seen, report.hosts_estimated),
            about(report.conversations_seen, report.conversations_estimated)
        ),
    );
    let rate = summary.packets as f64 / summary.elapsed.as_secs_f64().max(1e-9);
    let engine = format!("{} engine, {}", summary.engine, duration(summary.elapsed.as_secs_f64()));
    // Whoever writes to a pipe says how fast it is.
    let engine = if summary.is_pipe {
        format!("{engine}, followed as a pipe")
    } else {
        format!("{engine}, {}", packet_rate(rate))
    };
    page.styled("read by", &engine, Style::Faint);
}

fn tcp(page: &mut Page, report: &Report, is_one_sided: bool) {
    let tcp = &report.tcp;
    if tcp.packets == 0 {
        return;
    }
    page.heading("TCP");
    let states: Vec<String> =
        report.connections.iter().map(|(state, many)| format!("{state} {}", count(*many))).collect();
    page.entry("states", &format!("{} (Zeek's conn_state)", states.join(", ")));
    let cut = [(tcp.not_from_start, "not seen from the start"), (tcp.answers_not_seen, "without the answers")];
    let cut: Vec<String> = cut
        .into_iter()
        .filter(|(many, _)| *many > 0)
        .map(|(many, how)| format!("{} {how}", counted(many, "connection")))
        .collect();
    if !cut.is_empty() {
        page.entry("cut", &cut.join(", "));
    }
    let (unanswered, unseen) = if is_one_sided { (0, tcp.unanswered_syns) } else { (tcp.unanswered_syns, 0) };
    let troubles = [
        (unanswered, "unanswered connection attempt"),
        (tcp.refused, "refused connection"),
        (tcp.syn_retries, "repeated SYN or SYN-ACK"),
        (tcp.resets, "reset"),
        (tcp.retransmissions, "retransmission"),
        (tcp.out_of_order, "out-of-order segment"),
        (tcp.duplicate_acks, "duplicate ACK"),
        (tcp.zero_windows, "zero window"),
    ];
    let mut found: Vec<String> =
        troubles.into_iter().filter(|(many, _)| *many > 0).map(|(many, what)| counted(many, what)).collect();
    if unseen > 0 {
        found.insert(0, format!("{} seen from one side", counted(unseen, "connection attempt")));
    }
    if let Some(loss) = tcp.loss_ratio.filter(|loss| *loss > 0.0) {
        found.push(format!("{} of the packets sent again because something was lost", percent(loss)));
    }
    page.entry("trouble", &if found.is_empty() { "none".to_owned() } else { found.join(", ") });
}

fn round_trips(page: &mut Page, report: &Report) {
    let trips = &report.round_trips;
    if trips.all.samples == 0 {
        return;
    }
    page.blank();
    let columns = [
        number("min", 0),
        number("p50", 0),
        number("p95", 2),
        number("p99", 0),
        number("max", 1),
        number("samples", 3),
        Column { title: "TCP round trips", is_number: false, leave: 0 },
    ];
    let row = |side: &RttSideJson, name: &str| {
        let times = [side.min_ms, side.p50_ms, side.p95_ms, side.p99_ms, side.max_ms].map(milliseconds);
        times.into_iter().chain([count(side.samples), name.to_owned()]).collect()
    };
    page.table(&columns, &[row(&trips.server, "to servers"), row(&trips.client, "to clients")]);
}

fn conclusions(page: &mut Page, report: &Report, summary: &Summary, alerts: &[Alert], unlisted: u64) {
    let looked = format!(
        "{} looked at {}",
        counted(report.detection.detectors as u64, "detector"),
        counted(report.detection.windows, "window")
    );
    if alerts.is_empty() {
        page.blank();
        if summary.packets == 0 {
            page.entry("alerts", "none: there was nothing to look at");
        } else {
            let allowed = match report.detection.allowed {
                0 => String::new(),
                many => format!("; {} about what the allow-list names", counted(many, "finding")),
            };
            page.styled("alerts", &format!("nothing unusual: {looked}{allowed}"), Style::Good);
        }
        return;
    }
    let all = alerts.len() as u64 + unlisted;
    page.heading(&format!("{} ({looked})", counted(all, "alert")));
    for alert in alerts {
        self::alert(page, alert, summary);
    }
    if unlisted > 0 {
        page.paragraph(2, &format!("and {} more", count(unlisted)), Style::Plain);
    }
}

fn alert(page: &mut Page, alert: &Alert, summary: &Summary) {
    let [from, until] = alert.went_on();
    let from = within(from, summary.times);
    let style = match alert.severity {
        Severity::Low => Style::Plain,
        Severity::Medium => Style::Warning,
        Severity::High | Severity::Critical => Style::Bad,
    };
    let mut head = format!("{} {} {}", alert.severity.word(), alert.key.kind, date(from));
    let until = summary.times.map_or(until, |(_, last)| until.min(last));
    if until > from {
        let _always = write!(head, " to {}", time_after(from, until));
    }
    page.paragraph(2, &head, style);
    let party = |party: &Party, many: &str| match party {
        Party::Nobody => None,
        Party::Many => Some(many.to_owned()),
        party => Some(party.to_string()),
    };
    let port = alert.finding.port.map(|port| format!(" port {port}")).unwrap_or_default();
    let parties = match (party(&alert.key.source, "many hosts"), party(&alert.key.destination, "many hosts")) {
        (Some(source), Some(destination)) => format!("{source} > {destination}{port}"),
        (Some(one), None) | (None, Some(one)) => format!("{one}{port}"),
        (None, None) => String::new(),
    };
    if !parties.is_empty() {
        page.paragraph(4, &parties, Style::Plain);
    }
    page.paragraph(4, &alert.finding.summary, Style::Plain);
}

const fn number(title: &'static str, leave: u8) -> Column {
    Column { title, is_number: true, leave }
}

/// A time as people write it: `2026-11-28 13:00:00.000000`.
fn date(time: Timestamp) -> String {
    time.to_string().replacen('T', " ", 1).trim_end_matches('Z').to_owned()
}

/// The later of two times, without the date where it is the same.
fn time_after(earlier: Timestamp, later: Timestamp) -> String {
    let (one, other) = (date(earlier), date(later));
    match (one.split_once(' '), other.split_once(' ')) {
        (Some((day, _)), Some((same, time))) if day == same => time.to_owned(),
        _ => other,
    }
}

#[cfg(test)]
mod tests;
