//! TCP and UDP conversations: who talked to whom, packets and frame bytes each way.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Address and port.
pub type Endpoint = (String, u16);

/// Packets and bytes one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Packets.
    pub packets: u64,
    /// Frame bytes.
    pub bytes: u64,
}

/// Conversations by protocol and endpoints, the lower endpoint first; volumes from the first to the second, and back.
/// All flows between two endpoints are one conversation, however often the ports were used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversations(pub BTreeMap<(String, Endpoint, Endpoint), [Volume; 2]>);

impl Conversations {
    /// Adds what went from `from` to `to`, and back.
    pub fn add(&mut self, protocol: &str, from: Endpoint, to: Endpoint, volumes: [Volume; 2]) {
        let [there, back] = volumes;
        let (a, b, volumes) = if from <= to { (from, to, [there, back]) } else { (to, from, [back, there]) };
        let sums = self.0.entry((protocol.to_owned(), a, b)).or_default();
        for (sum, volume) in sums.iter_mut().zip(volumes) {
            sum.packets += volume.packets;
            sum.bytes += volume.bytes;
        }
    }

    /// Those in the lines of `replay --format jsonl`.
    pub fn of_replay(lines: &[Value]) -> Self {
        let mut all = Self::default();
        for flow in lines.iter().filter(|line| line["type"] == "flow") {
            let protocol = flow["protocol"].as_str().expect("protocol");
            if !matches!(protocol, "tcp" | "udp") {
                continue;
            }
            let end = |side: &str| {
                let port = flow[format!("{side}_port")].as_u64().expect("port");
                (flow[side].as_str().expect("address").to_owned(), port as u16)
            };
            let volume = |side: &str| Volume {
                packets: flow[format!("{side}_packets")].as_u64().expect("packets"),
                bytes: flow[format!("{side}_bytes")].as_u64().expect("bytes"),
            };
            all.add(protocol, end("source"), end("destination"), [volume("orig"), volume("resp")]);
        }
        all
    }

    /// As the list in a case's `expected.json`.
    pub fn to_json(&self) -> Value {
        let row = |((protocol, a, b), [there, back]): (&(String, Endpoint, Endpoint), &[Volume; 2])| {
            json!({
                "protocol": protocol, "a": a.0, "a_port": a.1, "b": b.0, "b_port": b.1,
                "a_packets": there.packets, "a_bytes": there.bytes,
                "b_packets": back.packets, "b_bytes": back.bytes,
            })
        };
        self.0.iter().map(row).collect()
    }

    /// What differs, a line each, at most a few.
    pub fn differences(&self, theirs: &Self) -> Vec<String> {
        let mut keys: Vec<_> = self.0.keys().chain(theirs.0.keys()).collect();
        keys.sort();
        keys.dedup();
        let differ = keys.into_iter().filter(|key| self.0.get(*key) != theirs.0.get(*key));
        differ.take(3).map(|key| format!("{key:?}: {:?}, not {:?}", self.0.get(key), theirs.0.get(key))).collect()
    }
}
