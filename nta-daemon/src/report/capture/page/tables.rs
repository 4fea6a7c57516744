//! The parts of the page, the worst first: what was read, threats, what to do, who talked to whom.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::chart::{bars, seconds, stacked};
use super::{bytes, escaped};
use crate::report::capture::CaptureReport;

/// Writes all parts.
pub(super) fn all(report: &CaptureReport, html: &mut String) {
    read(report, html);
    sums(report, html);
    recommendations(report, html);
    threats(report, html);
    suspicious(report, html);
    unusual(report, html);
    over_time(report, html);
    talk(report, html);
    shares(report, html);
    dns(report, html);
}

fn section(title: &str, html: &mut String) {
    let _fits = write!(html, "<section><h2>{}</h2>", escaped(title));
}

/// A link of ours: its text is escaped, and it is a path.
fn link(to: &str, text: &str) -> String {
    format!("<a href=\"{}\">{}</a>", escaped(to), escaped(text))
}

fn may_link(to: Option<&String>, text: &str) -> String {
    to.map_or_else(|| escaped(text), |to| link(to, text))
}

/// A table; columns whose title begins with `#` hold numbers. Cells are HTML.
fn table(titles: &[&str], rows: impl Iterator<Item = Vec<String>>, html: &mut String) {
    let class = |title: &str| if title.starts_with('#') { " class=\"n\"" } else { "" };
    html.push_str("<table><thead><tr>");
    for title in titles {
        let _fits = write!(html, "<th{}>{}</th>", class(title), escaped(title.trim_start_matches('#')));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for (title, cell) in titles.iter().zip(row) {
            let _fits = write!(html, "<td{}>{cell}</td>", class(title));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></section>");
}

fn read(report: &CaptureReport, html: &mut String) {
    let read = &report.read;
    section("What was read", html);
    let class = if read.end == "complete" { "" } else { " class=\"high\"" };
    let _fits = write!(html, "<p{class}>{}</p>", escaped(&read.summary));
    let _fits = write!(html, "<p>{} · {}</p>", escaped(&read.format), escaped(&read.link_types.join(", ")));
    for (reason, count) in &read.skipped {
        let _fits = write!(html, "<p>{count} packets are in no flow: {}</p>", escaped(reason));
    }
    if let Some(dropped) = read.dropped_while_capturing.filter(|dropped| *dropped > 0) {
        let _fits = write!(html, "<p>{dropped} packets were dropped while it was captured.</p>");
    }
    if read.wrong_times > 0 {
        let _fits = write!(html, "<p>{} packets had a wrong time stamp.</p>", read.wrong_times);
    }
    html.push_str("</section>");
}

fn sums(report: &CaptureReport, html: &mut String) {
    let totals = &report.totals;
    section("Sums", html);
    html.push_str("<ul class=\"sums\">");
    let mut sum = |number: String, what: &str| {
        let _fits = write!(html, "<li><b>{number}</b>{}</li>", escaped(what));
    };
    sum(totals.packets.to_string(), "packets");
    sum(bytes(totals.bytes), "on the wire");
    sum(link(&totals.flows_link, &totals.flows.to_string()), "flows");
    let about = if totals.hosts_estimated { "hosts, estimated" } else { "hosts" };
    sum(link(&totals.hosts_link, &totals.hosts.to_string()), about);
    sum(link(&totals.alerts_link, &totals.alerts.to_string()), "alerts");
    sum(totals.unusual_packets.to_string(), "unusual packets");
    if let Some(span) = &report.time_span {
        sum(link(&span.link, &seconds(span.seconds)), &format!("{} to {}", span.from, span.to));
    }
    html.push_str("</ul></section>");
}

fn severity(word: &str) -> String {
    format!("<span class=\"{0}\">{0}</span>", escaped(word))
}

fn recommendations(report: &CaptureReport, html: &mut String) {
    if report.recommendations.is_empty() {
        return;
    }
    section("What to do", html);
    let row = |what: &crate::report::capture::Recommendation| {
        vec![severity(&what.severity), link(&what.link, &what.kind), what.alerts.to_string(), escaped(&what.text)]
    };
    table(&["severity", "because of", "#alerts", "do"], report.recommendations.iter().map(row), html);
}

fn threats(report: &CaptureReport, html: &mut String) {
    section("Threats", html);
    if report.threats.is_empty() {
        html.push_str("<p>No detector found anything.</p></section>");
        return;
    }
    let row = |threat: &crate::report::capture::Threat| {
        let party = |party: &Option<String>| party.as_deref().unwrap_or("–").to_owned();
        let ends = format!("{} → {}", party(&threat.source), party(&threat.destination));
        let technique = threat.technique.as_deref().unwrap_or("–");
        vec![
            severity(&threat.severity),
            link(&threat.link, &threat.kind),
            may_link(threat.flows_link.as_ref(), &ends),
            format!("{:.2}", threat.score),
            escaped(&threat.from),
            escaped(&threat.summary),
            escaped(technique),
        ]
    };
    let titles = ["severity", "kind", "who", "#score", "from", "what happened", "ATT&CK"];
    table(&titles, report.threats.iter().map(row), html);
}

fn suspicious(report: &CaptureReport, html: &mut String) {
    if report.suspicious_addresses.is_empty() {
        return;
    }
    section("Suspicious addresses", html);
    let row = |address: &crate::report::capture::Suspicious| {
        let reasons: Vec<String> = address
            .reasons
            .iter()
            .map(|reason| format!("<p>{}: {}</p>", link(&reason.link, &reason.kind), escaped(&reason.summary)))
            .collect();
        vec![
            severity(&address.severity),
            may_link(address.link.as_ref(), &address.address),
            address.alerts.to_string(),
            reasons.concat(),
            address.wireshark.as_deref().map(|filter| format!("<code>{}</code>", escaped(filter))).unwrap_or_default(),
        ]
    };
    table(
        &["severity", "address", "#alerts", "why", "in Wireshark"],
        report.suspicious_addresses.iter().map(row),
        html,
    );
}

fn unusual(report: &CaptureReport, html: &mut String) {
    if report.unusual_packets.is_empty() {
        return;
    }
    section("Unusual packets", html);
    let row = |kind: &crate::report::capture::Unusual| {
        let frames: Vec<String> =
            kind.frames.iter().map(|frame| may_link(frame.link.as_ref(), &frame.number.to_string())).collect();
        vec![
            escaped(&kind.about),
            kind.packets.to_string(),
            frames.join(", "),
            format!("<code>{}</code>", escaped(&kind.wireshark)),
        ]
    };
    table(&["what", "#packets", "first frames", "in Wireshark"], report.unusual_packets.iter().map(row), html);
}

fn over_time(report: &CaptureReport, html: &mut String) {
    let Some(over_time) = &report.over_time else { return };
    section("Over time", html);
    let axis = (over_time.start.as_str(), over_time.step_s);
    let _fits =
        write!(html, "<p>{}, bytes in steps of {}</p>", link(&over_time.link, "windows"), seconds(over_time.step_s));
    stacked("Bytes over time by protocol", axis, &over_time.protocols, html);
    stacked("Bytes over time by service", axis, &over_time.services, html);
    html.push_str("</section>");
}

fn talk(report: &CaptureReport, html: &mut String) {
    if report.hosts.is_empty() {
        return;
    }
    section("Who talked to whom", html);
    let hosts: Vec<(String, u64)> =
        report.hosts.iter().map(|host| (host.address.clone(), host.bytes_sent + host.bytes_received)).collect();
    bars("Hosts with the most bytes", &hosts, html);
    let row = |host: &crate::report::capture::HostPart| {
        vec![
            link(&host.link, &host.address),
            bytes(host.bytes_sent),
            bytes(host.bytes_received),
            (host.packets_sent + host.packets_received).to_string(),
            host.flows.to_string(),
        ]
    };
    table(&["host", "#sent", "#received", "#packets", "#flows"], report.hosts.iter().map(row), html);
    html.push_str("<section>");
    let row = |pair: &crate::report::capture::ConversationPart| {
        vec![
            link(&pair.link, &format!("{} ↔ {}", pair.a, pair.b)),
            bytes(pair.bytes_a_to_b),
            bytes(pair.bytes_b_to_a),
            pair.flows.to_string(),
            seconds(pair.duration_s),
        ]
    };
    table(&["conversation", "#→", "#←", "#flows", "#for"], report.conversations.iter().map(row), html);
}

fn shares(report: &CaptureReport, html: &mut String) {
    for (title, parts) in [("Protocols", &report.protocols), ("Services", &report.services)] {
        if parts.is_empty() {
            continue;
        }
        section(title, html);
        let row = |part: &crate::report::capture::SharePart| {
            vec![
                may_link(part.link.as_ref(), &part.name),
                part.packets.to_string(),
                bytes(part.bytes),
                part.flows.to_string(),
                format!("{:.1} %", part.share * 100.0),
            ]
        };
        table(&["name", "#packets", "#bytes", "#flows", "#share"], parts.iter().map(row), html);
    }
}

fn dns(report: &CaptureReport, html: &mut String) {
    let Some(dns) = &report.dns else { return };
    section("DNS over UDP", html);
    let _fits = write!(html, "<p>{} questions, {} answers", dns.queries, dns.responses);
    if dns.malformed > 0 {
        let _fits = write!(html, ", {} messages that are none", dns.malformed);
    }
    if dns.left_out > 0 {
        let _fits = write!(html, "; {} more were not looked at (events.dns_per_second)", dns.left_out);
    }
    html.push_str("</p>");
    for (what, parts) in [("Answers", &dns.codes), ("Asked for", &dns.types)] {
        if !parts.is_empty() {
            let _fits = write!(html, "<p>{what}: {}</p>", escaped(&listed(parts)));
        }
    }
    let row = |name: &crate::report::dns::Name| {
        let shown = if name.name.is_empty() { "." } else { &name.name };
        vec![escaped(shown), name.queries.to_string(), name.responses.to_string(), escaped(&listed(&name.codes))]
    };
    table(&["names asked for most", "#questions", "#answers", "answered"], dns.names.iter().map(row), html);
    let more = dns.names_seen.saturating_sub(dns.names.len() as u64);
    if more > 0 {
        let least = if dns.names_estimated { "more than " } else { "" };
        let _fits = write!(html, "<p>and {least}{more} more names</p>");
    }
}

/// Parts with their numbers, the largest first.
fn listed(parts: &BTreeMap<String, u64>) -> String {
    let mut all: Vec<(&String, &u64)> = parts.iter().collect();
    all.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    all.iter().map(|(name, many)| format!("{name} {many}")).collect::<Vec<_>>().join(", ")
}
