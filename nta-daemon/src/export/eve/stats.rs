//! Windows as events of the type `stats`. Suricata's counters only grow: they are summed up from the first window that is written.

use serde_json::{Map, Value, json};

use super::{begin, number, text};

/// Sums up windows in the order of time.
#[derive(Debug, Default)]
pub struct Writer {
    first: Option<jiff::Timestamp>,
    sums: Sums,
}

#[derive(Debug, Default)]
struct Sums {
    packets: u64,
    bytes: u64,
    protocols: [u64; 4],
    invalid: u64,
    new_flows: u64,
    syn: u64,
    syn_ack: u64,
    rst: u64,
}

/// Those that Suricata's decoder counts by name, by IP protocol number.
const PROTOCOLS: [(u64, &str); 4] = [(6, "tcp"), (17, "udp"), (1, "icmpv4"), (58, "icmpv6")];

/// The reasons by which the ledger counts packets that could not be parsed.
const INVALID: [&str; 8] = [
    "eth_truncated",
    "vlan_truncated",
    "shim_malformed",
    "ipv4_truncated",
    "ipv4_malformed",
    "ipv6_truncated",
    "ipv6_malformed",
    "l4_truncated",
];

impl Writer {
    /// The event at the end of a window in the API's shape; `None` where the window has no times.
    pub fn stats(&mut self, window: &Value) -> Option<Value> {
        let [start, end] = ["start", "end"].map(|name| text(window, name).parse::<jiff::Timestamp>().ok());
        let first = *self.first.get_or_insert(start?);
        let uptime = end?.duration_since(first).as_secs();
        let sums = &mut self.sums;
        sums.packets += number(window, "packets");
        sums.bytes += number(window, "bytes");
        for protocol in window["protocols"].as_array().into_iter().flatten() {
            if let Some(place) = PROTOCOLS.iter().position(|(known, _)| *known == number(protocol, "number")) {
                sums.protocols[place] += number(protocol, "packets");
            }
        }
        sums.invalid += INVALID.iter().map(|reason| number(&window["skipped"], reason)).sum::<u64>();
        sums.new_flows += number(window, "new_flows");
        sums.syn += number(window, "syn");
        sums.syn_ack += number(window, "syn_ack");
        sums.rst += number(window, "rst");
        let mut decoder = Map::new();
        decoder.insert("pkts".to_owned(), sums.packets.into());
        decoder.insert("bytes".to_owned(), sums.bytes.into());
        decoder.insert("invalid".to_owned(), sums.invalid.into());
        for ((_, name), packets) in PROTOCOLS.iter().zip(sums.protocols) {
            decoder.insert((*name).to_owned(), packets.into());
        }
        let mut event = begin("stats", text(window, "end"));
        if let Some(sensor) = window["sensor"].as_str() {
            event.insert("host".to_owned(), sensor.into());
        }
        let stats = json!({
            "uptime": uptime,
            "capture": { "kernel_packets": sums.packets },
            "decoder": decoder,
            "flow": { "total": sums.new_flows, "active": number(window, "flows") },
            "tcp": { "syn": sums.syn, "synack": sums.syn_ack, "rst": sums.rst },
        });
        event.insert("stats".to_owned(), stats);
        Some(event.into())
    }
}
