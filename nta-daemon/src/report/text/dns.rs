//! DNS: what was asked, and what was answered.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::number;
use super::numbers::{count, counted};
use super::page::{Column, Page};
use crate::report::Report;
use crate::report::dns::{Dns, Name};

/// Response codes and types of records that are named; the others are summed up.
const MOST: usize = 6;

pub(super) fn write(page: &mut Page, report: &Report) {
    let Some(dns) = &report.dns else { return };
    page.heading("DNS over UDP");
    page.entry("messages", &messages(dns));
    for (label, parts) in [("answers", &dns.codes), ("asked for", &dns.types)] {
        if !parts.is_empty() {
            page.entry(label, &listed(parts));
        }
    }
    if dns.names.is_empty() {
        return;
    }
    page.blank();
    let columns = [
        number("questions", 0),
        number("answers", 0),
        Column { title: "answered", is_number: false, leave: 1 },
        Column { title: "names asked for most", is_number: false, leave: 0 },
    ];
    let row = |name: &Name| {
        let shown = if name.name.is_empty() { "." } else { &name.name };
        vec![count(name.queries), count(name.responses), listed(&name.codes), shown.to_owned()]
    };
    page.table(&columns, &dns.names.iter().map(row).collect::<Vec<_>>());
    let more = dns.names_seen - dns.names.len() as u64;
    if more > 0 {
        let least = if dns.names_estimated { "more than " } else { "" };
        page.entry("", &format!("and {least}{}", counted(more, "more name")));
    }
}

fn messages(dns: &Dns) -> String {
    let mut text = format!("{}, {}", counted(dns.queries, "question"), counted(dns.responses, "answer"));
    if dns.malformed > 0 {
        text += &format!(", {} that are none", count(dns.malformed));
    }
    if dns.left_out > 0 {
        text += &format!("; {} more were not looked at (events.dns_per_second)", count(dns.left_out));
    }
    text
}

/// The largest parts with their numbers.
fn listed(parts: &BTreeMap<String, u64>) -> String {
    let mut all: Vec<(&str, u64)> = parts.iter().map(|(name, many)| (name.as_str(), *many)).collect();
    all.sort_by_key(|(name, many)| (Reverse(*many), *name));
    let rest: u64 = all.iter().skip(MOST).map(|(_, many)| many).sum();
    all.truncate(MOST);
    if rest > 0 {
        all.push(("others", rest));
    }
    let parts: Vec<String> = all.into_iter().map(|(name, many)| format!("{name} {}", count(many))).collect();
    parts.join(", ")
}
