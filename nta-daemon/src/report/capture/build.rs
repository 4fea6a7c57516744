//! Makes the report out of what was collected.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nta_common::Counter;

use super::collect::{Collector, FrameLook};
use super::links::Links;
use super::odd::Named;
use super::series::Kind;
use super::{
    CaptureReport, CaptureSpan, ConversationPart, FramePart, HostPart, OverTime, ReadPart, Recommendation,
    ReportReason, ReportTotals, SeriesPart, SharePart, Suspicious, Threat, Unusual,
};
use crate::json::{AlertJson, protocol_name, skipped};
use crate::replay::Summary;
use crate::report::TOP;
use crate::report::tally::Volume;
use nta_capture::End;
use nta_core::domain::{Alert, Severity, Timestamp};

/// Series that are named.
const SERIES: usize = 8;
/// Addresses, reasons of one, and alerts that are named.
const SUSPICIOUS: usize = 50;
const REASONS: usize = 10;
const THREATS: usize = 100;

/// What is known of a capture beside its packets.
pub(crate) struct Read<'a> {
    pub(crate) file_id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) sha256: &'a str,
    pub(crate) bytes: u64,
    /// Why nothing could be read, if so.
    pub(crate) unreadable: Option<String>,
}

/// The report.
pub(crate) fn build(read: &Read<'_>, summary: &Summary, collected: &Collector, frames: &FrameLook) -> CaptureReport {
    let links = Links::new(read.file_id, summary.times);
    let pairs = &collected.tally.pairs;
    let hosts = pairs.top_hosts(TOP);
    let mut alerts: Vec<&Alert> = collected.alerts.all().iter().collect();
    // Stable: of equal ones the first.
    alerts.sort_by(|a, b| b.severity.cmp(&a.severity).then(b.finding.score.total_cmp(&a.finding.score)));
    let unusual = unusual(frames, &links);
    CaptureReport {
        file_id: read.file_id.to_owned(),
        name: read.name.to_owned(),
        sha256: read.sha256.to_owned(),
        file_bytes: read.bytes,
        read: read_part(read, summary),
        time_span: summary.times.map(|(first, last)| CaptureSpan {
            from: first.to_string(),
            to: last.to_string(),
            seconds: last.since(first) as f64 / 1e9,
            link: links.all("/api/metrics", ""),
        }),
        totals: ReportTotals {
            packets: summary.packets,
            bytes: summary.bytes,
            flows: summary.flows,
            hosts: hosts.seen,
            hosts_estimated: pairs.is_estimate,
            alerts: alerts.len() as u64 + collected.alerts.unreported(),
            unusual_packets: unusual.iter().map(|kind| kind.packets).sum(),
            flows_link: links.all("/api/flows", ""),
            hosts_link: links.all("/api/hosts", ""),
            alerts_link: links.all("/api/alerts", ""),
        },
        hosts: hosts
            .first
            .into_iter()
            .map(|(address, amount)| HostPart {
                address: address.to_string(),
                packets_sent: amount.packets[0],
                packets_received: amount.packets[1],
                bytes_sent: amount.bytes[0],
                bytes_received: amount.bytes[1],
                flows: amount.flows,
                link: links.host(address),
            })
            .collect(),
        conversations: conversations(collected, &links),
        protocols: protocols(collected, summary.bytes, &links),
        services: services(collected, summary.bytes, &links),
        dns: collected.tally.dns.report(summary, TOP),
        over_time: over_time(collected, &links),
        suspicious_addresses: suspicious(&alerts, &links),
        unusual_packets: unusual,
        threats: alerts.iter().take(THREATS).map(|alert| threat(alert, &links)).collect(),
        recommendations: recommendations(&alerts, &links),
    }
}

fn read_part(read: &Read<'_>, summary: &Summary) -> ReadPart {
    let file = summary.files.first();
    let (end, detail) = match (file.map(|file| &file.end), &read.unreadable) {
        (_, Some(reason)) => ("unreadable", Some(reason.clone())),
        (None | Some(End::Complete), _) => ("complete", None),
        (Some(End::Stopped), _) => ("stopped", Some("the analysis was stopped before the end".to_owned())),
        (Some(End::CutOff { at_byte, detail }), _) => ("cut_off", Some(format!("at byte {at_byte}: {detail}"))),
        (Some(End::Corrupt { at_byte, detail }), _) => ("corrupt", Some(format!("at byte {at_byte}: {detail}"))),
    };
    let ledger = summary.ledger.total();
    let mut reasons = skipped(&ledger);
    reasons.extend(summary.skipped_link_types.clone());
    let analysed = ledger.get(Counter::Seen).saturating_sub(skipped(&ledger).values().sum());
    let about = file.map(|file| &file.about);
    let mut text = format!("{analysed} of {} packets are in flows", summary.packets);
    match (end, &detail) {
        ("complete", _) => text += "; the capture was read to its end.",
        (_, Some(detail)) => {
            text += &format!("; the capture was not read to its end ({}: {detail}).", end.replace('_', " "));
        }
        _ => text.push('.'),
    }
    ReadPart {
        format: file.map_or_else(|| "unknown".to_owned(), |file| file.format.clone()),
        end: end.to_owned(),
        detail,
        packets: summary.packets,
        analysed_packets: analysed,
        skipped: reasons,
        link_types: about
            .map(|about| {
                let all: std::collections::BTreeSet<String> =
                    about.interfaces.iter().map(|interface| interface.link_type.to_string()).collect();
                all.into_iter().collect()
            })
            .unwrap_or_default(),
        dropped_while_capturing: about.and_then(|about| about.dropped),
        wrong_times: summary.wrong_times,
        lengths_clamped: file.map_or(0, |file| file.lengths_clamped),
        summary: text,
    }
}

fn conversations(collected: &Collector, links: &Links) -> Vec<ConversationPart> {
    let of = |([a, b], amount): ([IpAddr; 2], crate::report::ranking::Amount)| {
        let [first, last] = [amount.first, amount.last].map(Timestamp::from_nanos);
        ConversationPart {
            a: a.to_string(),
            b: b.to_string(),
            packets_a_to_b: amount.packets[0],
            packets_b_to_a: amount.packets[1],
            bytes_a_to_b: amount.bytes[0],
            bytes_b_to_a: amount.bytes[1],
            flows: amount.flows,
            duration_s: last.since(first) as f64 / 1e9,
            link: links.host_at(a, (first, last)),
        }
    };
    collected.tally.pairs.top(TOP).first.into_iter().map(of).collect()
}

fn part(name: String, volume: &Volume, all_bytes: u64, link: Option<String>) -> SharePart {
    let &Volume { packets, bytes, flows } = volume;
    let share = if all_bytes > 0 { bytes as f64 / all_bytes as f64 } else { 0.0 };
    SharePart { name, packets, bytes, flows, share, link }
}

fn protocols(collected: &Collector, all_bytes: u64, links: &Links) -> Vec<SharePart> {
    let mut by_number: BTreeMap<u8, Volume> = BTreeMap::new();
    for ((_, number), volume) in &collected.tally.protocols {
        by_number.entry(*number).or_default().add(volume);
    }
    let link = |number: u8| Some(links.all("/api/flows", &format!("&proto={number}")));
    let of = |(number, volume): (&u8, &Volume)| part(protocol_name(*number), volume, all_bytes, link(*number));
    let mut all: Vec<SharePart> = by_number.iter().map(of).collect();
    all.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.name.cmp(&b.name)));
    all
}

fn services(collected: &Collector, all_bytes: u64, links: &Links) -> Vec<SharePart> {
    let link = |proto: u8, port: u16| Some(links.all("/api/flows", &format!("&proto={proto}&port={port}")));
    let of = |((proto, port), volume): ((u8, u16), &Volume)| {
        part(crate::report::service_name(proto, port), volume, all_bytes, link(proto, port))
    };
    let mut all: Vec<SharePart> = collected.tally.services().map(of).collect();
    all.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.name.cmp(&b.name)));
    if all.len() > TOP + 1 {
        let rest = all.split_off(TOP);
        let mut sum = Volume::default();
        for SharePart { packets, bytes, flows, .. } in &rest {
            sum.add(&Volume { packets: *packets, bytes: *bytes, flows: *flows });
        }
        all.push(part(format!("{} others", rest.len()), &sum, all_bytes, None));
    }
    all
}

fn over_time(collected: &Collector, links: &Links) -> Option<OverTime> {
    let series = |kind: Kind| {
        let top = collected.over_time.top(kind, SERIES).into_iter();
        top.map(|(name, bytes)| SeriesPart { name, bytes }).collect::<Vec<_>>()
    };
    collected.over_time.steps().map(|(start_ns, step_ns)| OverTime {
        start: Timestamp::from_nanos(start_ns).to_string(),
        step_s: step_ns as f64 / 1e9,
        protocols: series(Kind::Protocols),
        services: series(Kind::Services),
        link: links.all("/api/metrics", ""),
    })
}

fn suspicious(alerts: &[&Alert], links: &Links) -> Vec<Suspicious> {
    let mut order: Vec<Suspicious> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for alert in alerts {
        let json = AlertJson::from(*alert);
        let Some(address) = json.source.clone().filter(|source| source != "*") else { continue };
        let place = *places.entry(address.clone()).or_insert_with(|| {
            let host = alert.key.source.host();
            order.push(Suspicious {
                wireshark: host.map(|host| format!("{}.addr == {host}", if host.is_ipv6() { "ipv6" } else { "ip" })),
                link: host.map(|host| links.host(host)),
                address,
                severity: json.severity.clone(),
                score: 0.0,
                alerts: 0,
                reasons: Vec::new(),
            });
            order.len() - 1
        });
        let known = &mut order[place];
        known.alerts += 1;
        known.score = known.score.max(json.score);
        if known.reasons.len() < REASONS {
            known.reasons.push(ReportReason {
                kind: json.kind,
                severity: json.severity,
                summary: json.why.summary,
                link: links.alert(&json.id),
            });
        }
    }
    order.truncate(SUSPICIOUS);
    order
}

fn unusual(frames: &FrameLook, links: &Links) -> Vec<Unusual> {
    let frame = |named: &Named| FramePart {
        number: named.number,
        time: named.time.to_string(),
        source: named.ends.map(|[source, _]| source.to_string()),
        destination: named.ends.map(|[_, destination]| destination.to_string()),
        bytes: named.wire_len.into(),
        link: named.ends.map(|[source, _]| links.host_at(source, (named.time, named.time))),
    };
    let kinds = frames.0.kinds().into_iter();
    kinds
        .map(|(kind, about, packets, named)| {
            let numbers: Vec<String> = named.iter().map(|named| named.number.to_string()).collect();
            Unusual {
                kind: kind.to_owned(),
                about: about.to_owned(),
                packets,
                frames: named.iter().map(frame).collect(),
                wireshark: format!("frame.number in {{{}}}", numbers.join(", ")),
            }
        })
        .collect()
}

fn threat(alert: &Alert, links: &Links) -> Threat {
    let json = AlertJson::from(alert);
    let [first, last] = alert.went_on();
    let host = alert.key.source.host().or_else(|| alert.key.destination.host());
    Threat {
        kind: json.kind,
        severity: json.severity,
        score: json.score,
        source: json.source,
        destination: json.destination,
        from: json.first_seen,
        to: json.last_seen,
        summary: json.why.summary,
        technique: json.why.technique.map(|technique| format!("{} {}", technique.id, technique.name)),
        link: links.alert(&json.id),
        flows_link: host.map(|host| links.host_at(host, (first, last))),
    }
}

/// One for each kind, in the order of the worst alert of it.
fn recommendations(alerts: &[&Alert], links: &Links) -> Vec<Recommendation> {
    let mut all: Vec<Recommendation> = Vec::new();
    for alert in alerts {
        let kind = alert.key.kind;
        match all.iter_mut().find(|known| known.kind == kind.word()) {
            Some(known) => known.alerts += 1,
            None => all.push(Recommendation {
                text: kind.recommendation().to_owned(),
                kind: kind.word().to_owned(),
                severity: Severity::word(alert.severity).to_owned(),
                alerts: 1,
                link: links.all("/api/alerts", &format!("&type={}", kind.word())),
            }),
        }
    }
    all
}
