//! EVE JSON as Suricata 5 to 7 writes it: events of the types `flow`, `alert`, `dns` (version 2) and `stats`, with the field names
//! of its schema. EveBox, Filebeat and Tenzir read them. What nta knows and Suricata has no field for stands in
//! `alert.metadata`; what Suricata has a field for and nta does not know is left out.

mod alert;
mod dns;
mod flow;
mod stats;

use nta_common::packet::icmp_code;
use serde_json::{Map, Value, json};

pub use alert::alert;
#[cfg(test)]
pub(super) use alert::signature_id;
pub use dns::dns;
pub use flow::flow;
pub use stats::Writer;

/// An event under construction.
type Event = Map<String, Value>;

/// The fields that each event begins with; `time` is RFC 3339 in UTC.
fn begin(kind: &str, time: &str) -> Event {
    let mut event = Event::new();
    event.insert("timestamp".to_owned(), timestamp(time).into());
    event.insert("event_type".to_owned(), kind.into());
    event
}

/// As Suricata writes times: microseconds, and the zone without a colon.
fn timestamp(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S.%6f+0000").to_string(),
        Err(_) => time.to_owned(),
    }
}

/// The identity of a flow, cut as Suricata does: to 51 bits, which any reader of JSON holds.
fn flow_id(id: &str) -> Option<Value> {
    u64::from_str_radix(id, 16).ok().map(|id| json!(id & ((1 << 51) - 1)))
}

/// Addresses and, where the protocol has them, ports or ICMP's type and code.
fn ends(event: &mut Event, [source, destination]: [&str; 2], [source_port, destination_port]: [u64; 2], number: u64) {
    let mut set = |name: &str, value: Value| drop(event.insert(name.to_owned(), value));
    let is_icmp = number == 1 || number == 58;
    let has_ports = matches!(number, 6 | 17 | 132);
    set("src_ip", source.into());
    if has_ports {
        set("src_port", source_port.into());
    }
    set("dest_ip", destination.into());
    if has_ports {
        set("dest_port", destination_port.into());
    }
    set("ip_v", if source.contains(':') { 6 } else { 4 }.into());
    set("proto", proto(number).into());
    if is_icmp {
        set("icmp_type", source_port.into());
        let [kind, port] = [source_port, destination_port].map(|port| u16::try_from(port).unwrap_or_default());
        set("icmp_code", icmp_code(u8::try_from(number).unwrap_or_default(), kind, port).into());
    }
}

/// Suricata's word for an IP protocol; what it has none for it writes as three digits.
fn proto(number: u64) -> String {
    match number {
        1 => "ICMP",
        2 => "IGMP",
        6 => "TCP",
        17 => "UDP",
        41 => "IPv6",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "IPv6-ICMP",
        132 => "SCTP",
        other => return format!("{other:03}"),
    }
    .to_owned()
}

fn text<'v>(item: &'v Value, name: &str) -> &'v str {
    item[name].as_str().unwrap_or_default()
}

fn number(item: &Value, name: &str) -> u64 {
    item[name].as_u64().unwrap_or_default()
}
