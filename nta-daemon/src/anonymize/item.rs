//! Objects of the API with their addresses replaced, wherever they stand: as fields, in sentences, in lists.

use std::net::IpAddr;

use serde_json::Value;

use super::Anonymizer;

/// Fields that are identities: numbers made of addresses, among others.
const IDENTITIES: [&str; 3] = ["id", "alert", "tunnel_parents"];
/// Fields that would lead back to addresses or people: left empty.
const DROPPED: [&str; 2] = ["community_id", "status_by"];

impl Anonymizer {
    /// Replaces what an object of the API says of addresses, and what would lead back to them. Names of hosts and domains in facts and
    /// sentences stay.
    pub fn item(&mut self, item: &mut Value) {
        match item {
            Value::Object(members) => {
                for (name, value) in members {
                    match name.as_str() {
                        dropped if DROPPED.contains(&dropped) => *value = Value::Null,
                        identity if IDENTITIES.contains(&identity) => self.identities(value),
                        "sensor" => self.sensor(value),
                        _ => self.item(value),
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.item(value)),
            Value::String(text) => *text = self.text(text),
            _ => {}
        }
    }

    fn identities(&self, value: &mut Value) {
        match value {
            Value::String(id) => *id = hex(&self.digest("id", id.as_bytes())[..8]),
            Value::Array(ids) => ids.iter_mut().for_each(|id| self.identities(id)),
            // A number of a row says nothing.
            _ => {}
        }
    }

    fn sensor(&self, value: &mut Value) {
        if let Value::String(name) = value {
            *name = format!("sensor-{}", hex(&self.digest("sensor", name.as_bytes())[..4]));
        }
    }

    /// A text with its addresses, networks and MAC addresses replaced.
    fn text(&mut self, text: &str) -> String {
        let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '/');
        let mut written = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(length);
            written.push_str(&self.word(word));
            let next = behind.find(is_part).unwrap_or(behind.len());
            written.push_str(&behind[..next]);
            rest = &behind[next..];
        }
        written
    }

    /// A word, which may end a sentence or have a port behind it.
    fn word(&mut self, word: &str) -> String {
        let bare = word.trim_end_matches(['.', ':', '/']);
        let end = &word[bare.len()..];
        let replaced = self.bare(bare).or_else(|| {
            let (address, port) = bare.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok())?;
            // An IPv6 address with a port has brackets around it, which are no part of a word.
            address.contains('.').then(|| self.bare(address).map(|address| format!("{address}:{port}")))?
        });
        replaced.map_or_else(|| word.to_owned(), |replaced| format!("{replaced}{end}"))
    }

    fn bare(&mut self, word: &str) -> Option<String> {
        if let Ok(address) = word.parse::<IpAddr>() {
            return Some(self.address(address).to_string());
        }
        if let Some((address, length)) = word.split_once('/') {
            let (address, length) = (address.parse::<IpAddr>().ok()?, length.parse().ok()?);
            // The bits of the network are replaced alike for all of its hosts.
            let network = ipnet::IpNet::new(self.address(address), length).ok()?;
            return Some(network.trunc().to_string());
        }
        let mut mac = [0; 6];
        let parts: Vec<&str> = word.split(':').collect();
        if parts.len() != mac.len() || parts.iter().any(|part| part.len() != 2) {
            return None;
        }
        for (byte, part) in mac.iter_mut().zip(parts) {
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        let parts = self.mac(mac).map(|byte| format!("{byte:02x}"));
        Some(parts.join(":"))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
