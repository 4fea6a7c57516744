//! What the traffic is made of: its parts, hosts, conversations and flows.

use std::net::{IpAddr, SocketAddr};

use super::super::lengths::Range;
use super::super::{Conversation, Host, Report, Share, TopFlow};
use super::number;
use super::numbers::{bit_rate, count, duration, percent};
use super::page::{Column, Page};

pub(super) fn shares(page: &mut Page, title: &'static str, parts: &[Share]) {
    if parts.is_empty() {
        return;
    }
    page.blank();
    let columns = [
        number("packets", 0),
        number("bytes", 0),
        number("share", 1),
        number("flows", 2),
        Column { title, is_number: false, leave: 0 },
    ];
    let row = |part: &Share| {
        let flows = part.flows.map_or_else(|| "-".to_owned(), count);
        vec![count(part.packets), count(part.bytes), percent(part.share), flows, part.name.clone()]
    };
    page.table(&columns, &parts.iter().map(row).collect::<Vec<_>>());
}

pub(super) fn hosts(page: &mut Page, report: &Report) {
    if report.hosts.is_empty() {
        return;
    }
    page.blank();
    let columns = [
        number("sent bytes", 0),
        number("received", 0),
        number("packets sent", 2),
        number("packets received", 3),
        number("flows", 1),
        Column { title: "top talkers", is_number: false, leave: 0 },
    ];
    let row = |host: &Host| {
        let counts =
            [host.bytes_sent, host.bytes_received, host.packets_sent, host.packets_received, host.flows].map(count);
        counts.into_iter().chain([host.address.clone()]).collect()
    };
    page.table(&columns, &report.hosts.iter().map(row).collect::<Vec<_>>());
}

pub(super) fn conversations(page: &mut Page, report: &Report) {
    if report.conversations.is_empty() {
        return;
    }
    page.blank();
    let columns = [
        number("bytes >", 0),
        number("< bytes", 0),
        number("packets >", 4),
        number("< packets", 4),
        number("flows", 3),
        number("from", 5),
        number("lasts", 1),
        number("rate >", 2),
        number("< rate", 2),
        Column { title: "top conversations", is_number: false, leave: 0 },
    ];
    let row = |pair: &Conversation| {
        let Conversation { packets_a_to_b, packets_b_to_a, bytes_a_to_b, bytes_b_to_a, flows, .. } = *pair;
        let counts = [bytes_a_to_b, bytes_b_to_a, packets_a_to_b, packets_b_to_a, flows].map(count);
        let times = [format!("+{}", duration(pair.start_s)), duration(pair.duration_s)];
        let rates = [pair.bits_per_s_a_to_b, pair.bits_per_s_b_to_a].map(rate);
        counts.into_iter().chain(times).chain(rates).chain([format!("{} <> {}", pair.a, pair.b)]).collect()
    };
    page.table(&columns, &report.conversations.iter().map(row).collect::<Vec<_>>());
}

/// A rate in bits; `-` where there is none, or less than one bit a second.
fn rate(number: Option<f64>) -> String {
    number.filter(|rate| *rate >= 1.0).map_or_else(|| "-".to_owned(), bit_rate)
}

pub(super) fn flows(page: &mut Page, flows: &[TopFlow]) {
    if flows.is_empty() {
        return;
    }
    page.blank();
    let columns = [
        number("bytes", 0),
        number("packets", 1),
        Column { title: "protocol", is_number: false, leave: 0 },
        Column { title: "state", is_number: false, leave: 2 },
        Column { title: "top flows, originator > responder", is_number: false, leave: 0 },
    ];
    let row = |top: &TopFlow| {
        let flow = &top.flow;
        let ends = if flow.protocol.contains("icmp") {
            // Type and code are no ports; the message's name says what they are.
            format!("{} > {}", flow.source, flow.destination)
        } else {
            format!(
                "{} > {}",
                endpoint(&flow.source, flow.source_port),
                endpoint(&flow.destination, flow.destination_port)
            )
        };
        let what = match &top.service {
            Some(service) => format!("{ends} {service}"),
            None => ends,
        };
        vec![count(flow.bytes), count(flow.packets), flow.protocol.clone(), flow.conn_state.clone(), what]
    };
    page.table(&columns, &flows.iter().map(row).collect::<Vec<_>>());
}

pub(super) fn endpoint(address: &str, port: u16) -> String {
    match address.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{address}:{port}"),
    }
}

pub(super) fn lengths(page: &mut Page, report: &Report) {
    if report.packet_lengths.is_empty() {
        return;
    }
    page.blank();
    let columns =
        [number("packets", 0), number("share", 0), Column { title: "packet lengths", is_number: false, leave: 0 }];
    let row = |range: &Range| {
        let least = count(range.min_bytes.into());
        let name = match range.max_bytes {
            Some(most) => format!("{least} to {} bytes", count(most.into())),
            None => format!("{least} bytes and more"),
        };
        vec![count(range.packets), percent(range.share), name]
    };
    page.table(&columns, &report.packet_lengths.iter().map(row).collect::<Vec<_>>());
}
