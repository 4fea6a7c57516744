//! What is in no flow, and why; and what is to be known of the packets that are.

use nta_common::Counter;

use super::numbers::{count, counted};
use super::page::{Page, Style};
use crate::replay::{Selected, Summary};
use crate::report::Report;
use nta_capture::End;
use nta_core::domain::Conversations;

/// Files that did not end well, as many as are named.
const MOST_FILES: usize = 5;

pub(super) fn write(page: &mut Page, report: &Report, summary: &Summary) {
    page.heading("skipped");
    let (mut skipped, notes) = (reasons(report, summary), notes(report, summary));
    let ends = ends(summary);
    for end in &ends {
        page.paragraph(2, end, Style::Warning);
    }
    if skipped.is_empty() && ends.is_empty() {
        skipped.push(if summary.packets == 0 {
            "nothing".to_owned()
        } else {
            "nothing: each packet is in a flow".to_owned()
        });
    }
    for reason in &skipped {
        page.paragraph(2, reason, Style::Plain);
    }
    if !summary.ledger.balances() {
        page.paragraph(2, "the ledger DOES NOT BALANCE: some packets were counted twice or not at all", Style::Bad);
    }
    if !notes.is_empty() {
        page.heading("to know");
    }
    for note in &notes {
        page.paragraph(2, note, Style::Plain);
    }
}

/// What was selected, and how much was left out.
pub(super) fn selection(selected: &Selected, packets: u64) -> String {
    let Selected { filter, from, to, filtered, outside } = selected;
    let all = packets + filtered + outside;
    let mut text = format!("{} of {}", count(packets), counted(all, "packet"));
    if let Some(filter) = filter {
        text += &format!("; {} left out by the filter '{filter}'", count(*filtered));
    }
    if from.is_some() || to.is_some() {
        let from = from.map(|time| format!(" from {time}")).unwrap_or_default();
        let to = to.map(|time| format!(" until {time}")).unwrap_or_default();
        text += &format!("; {} not in the time{from}{to}", count(*outside));
    }
    text
}

/// Captures that are cut off or corrupt.
fn ends(summary: &Summary) -> Vec<String> {
    let bad = |file: &crate::replay::FileSummary| {
        let whole = counted(file.frames, "packet");
        let (what, at, detail) = match &file.end {
            End::Complete => return None,
            End::Stopped => return Some(format!("{}: stopped before its end; {whole} are analysed", file.name)),
            End::CutOff { at_byte, detail } => ("cut off", at_byte, detail),
            End::Corrupt { at_byte, detail } => ("corrupt", at_byte, detail),
        };
        Some(format!("{}: {what} at byte {}: {detail}; the {whole} before are analysed", file.name, count(*at)))
    };
    let mut all: Vec<String> = summary.files.iter().filter_map(bad).collect();
    if all.len() > MOST_FILES {
        let more = all.len() - MOST_FILES;
        all.truncate(MOST_FILES);
        all.push(format!("and {} that did not end well", counted(more as u64, "more file")));
    }
    all
}

fn reasons(report: &Report, summary: &Summary) -> Vec<String> {
    let mut reasons = Vec::new();
    for (link_type, frames) in &summary.skipped_link_types {
        reasons.push(format!("{} of {link_type}, which is not analysed", counted(*frames, "packet")));
    }
    let total = summary.ledger.total();
    for counter in Counter::ALL.into_iter().filter(|counter| counter.is_skip()) {
        let packets = total.get(counter);
        if packets == 0 || counter == Counter::NonIp && !report.not_ip.is_empty() {
            continue;
        }
        reasons.push(format!("{} {}", counted(packets, "packet"), sentence(counter)));
    }
    if total.get(Counter::NonIp) > 0 {
        let kinds = report.not_ip.iter().filter(|(name, _)| name.as_str() != ARP);
        let kinds: Vec<String> = kinds.map(|(name, packets)| format!("{name} {}", count(*packets))).collect();
        if !kinds.is_empty() {
            let packets = counted(total.get(Counter::NonIp), "packet");
            reasons.push(format!("{packets} without IP: {}", kinds.join(", ")));
        }
    }
    let overflow = total.get(Counter::Overflow);
    if overflow > 0 {
        reasons
            .push(format!("{} that found the flow table full (capture.map_memory_mib)", counted(overflow, "packet")));
    }
    reasons
}

/// As [`crate::replay`] names it among the frames without IP.
const ARP: &str = "ARP";

const fn sentence(counter: Counter) -> &'static str {
    match counter {
        Counter::Arp => "of ARP",
        Counter::NonIp => "without IP",
        Counter::SampledOut => "left out by sampling (capture.sample)",
        Counter::EthTruncated => "shorter than an Ethernet header",
        Counter::VlanTruncated => "that end inside a VLAN tag",
        Counter::VlanTooDeep => "with more VLAN tags than are read",
        Counter::ShimMalformed => "that end inside MPLS labels or PPPoE",
        Counter::Ipv4Truncated => "that end inside the IPv4 header",
        Counter::Ipv4Malformed => "with a damaged IPv4 header",
        Counter::Ipv6Truncated => "that end inside the IPv6 header",
        Counter::Ipv6Malformed => "with a damaged IPv6 header",
        _ => "for another reason",
    }
}

fn notes(report: &Report, summary: &Summary) -> Vec<String> {
    let total = summary.ledger.total();
    let mut notes = Vec::new();
    let mut note = |number: u64, text: &dyn Fn() -> String| {
        if number > 0 {
            notes.push(text());
        }
    };
    let packets = |number: u64| counted(number, "packet");
    let dropped: u64 = summary.files.iter().filter_map(|file| file.about.dropped).sum();
    note(dropped, &|| format!("{} were dropped while the capture was made, by its own statistics", packets(dropped)));
    let clamped: u64 = summary.files.iter().map(|file| file.lengths_clamped).sum();
    note(clamped, &|| {
        format!("{} with a damaged length on the wire of more than 1 GiB count as 1 GiB", packets(clamped))
    });
    let Summary { wrong_times, set_back, late_packets, duplicates, .. } = *summary;
    let mut hashes = std::collections::BTreeMap::new();
    let copies = summary.files.iter().filter_map(|file| {
        let first: &str = hashes.entry(file.sha256.as_ref()?).or_insert(&file.name);
        (*first != file.name).then_some([&file.name, first])
    });
    let copies: Vec<_> = copies.collect();
    note(copies.len() as u64, &|| {
        let [copy, first] = copies[0];
        format!("{} counted again: {copy} has the same bytes as {first}", counted(copies.len() as u64, "capture"))
    });
    let has_neighbours = summary.timeless.is_empty() || wrong_times != summary.packets;
    note(if has_neighbours { wrong_times } else { 0 }, &|| {
        format!("{} had wrong time stamps, and the time of their neighbours is used", packets(wrong_times))
    });
    for name in &summary.timeless {
        note(1, &|| {
            format!(
                "no packet of {name} has a time that can be used: the first one is put at 1970, the others as long after it as they came"
            )
        });
    }
    note(set_back, &|| {
        format!("the time of the capture went back {} by more than a minute", counted(set_back, "time"))
    });
    note(summary.out_of_order, &|| {
        format!(
            "{} of several interfaces came through the pipe behind later ones, and are taken as they came; those of a file are put \
             in order (docs/TIME.md)",
            packets(summary.out_of_order)
        )
    });
    note(summary.windows_folded, &|| {
        format!("{} with few packets are folded into others (docs/TIME.md)", counted(summary.windows_folded, "window"))
    });
    note(summary.windows_left_out, &|| {
        format!("{} without packets are left out (docs/TIME.md)", counted(summary.windows_left_out, "window"))
    });
    note(late_packets, &|| {
        format!("{} came later than their window, and are counted in the next", packets(late_packets))
    });
    note(duplicates, &|| format!("{} passed twice, as mirror ports deliver them", counted(duplicates, "TCP segment")));
    for (protocol, of) in [("TCP", summary.visibility.tcp), ("UDP", summary.visibility.udp)] {
        let all = of.whole + of.half;
        note(u64::from(of.is_one_sided()), &|| {
            format!(
                "one-sided {protocol}: of flows with ten packets in a window both sides show in {} of {} windows",
                count(of.whole),
                count(all)
            )
        });
    }
    // Such flows are too short for that, and show it all the same: what was never answered was closed in good order.
    let state = |name| report.connections.get(name).copied().unwrap_or_default();
    let (one_sided, all) = (state("SH") + state("SHR"), report.connections.values().sum::<u64>());
    let is_known = summary.visibility.tcp != Conversations::default();
    note(if !is_known && one_sided * 10 >= all * 9 { one_sided } else { 0 }, &|| {
        format!("{} of {} TCP connections show one side alone (SH, SHR)", count(one_sided), count(all))
    });
    let [first, missed, cut, chain] =
        [Counter::FragmentFirst, Counter::FragmentMiss, Counter::L4Truncated, Counter::Ipv6ChainCut]
            .map(|counter| total.get(counter));
    let later = total.get(Counter::FragmentLater);
    note(first + later, &|| {
        let lost = if missed > 0 {
            format!("; {} without their first one have no ports", count(missed))
        } else {
            String::new()
        };
        format!("{} are fragments{lost}", packets(first + later))
    });
    note(cut, &|| format!("{} were captured without their whole transport header, and have no ports", packets(cut)));
    note(chain, &|| format!("{} have IPv6 extension headers beyond what is read", packets(chain)));
    let opened = total.get(Counter::TunnelOpened);
    note(opened, &|| format!("{} of tunnels are counted by what is inside", packets(opened)));
    let closed: Vec<String> =
        report.tunnels_closed.iter().map(|(name, packets)| format!("{name} {}", count(*packets))).collect();
    note(closed.len() as u64, &|| {
        let are_opened = opened > 0 || report.opens_tunnels;
        let advice = if are_opened { "what they carry could not be read" } else { "capture.tunnels = true opens them" };
        format!("tunnels are counted by their outer addresses ({}); {advice}", closed.join(", "))
    });
    notes
}
