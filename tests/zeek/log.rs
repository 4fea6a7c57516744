//! Zeek's tab-separated logs.

use std::collections::BTreeMap;
use std::fmt;

/// A log: its fields' names and its connections.
pub(crate) struct Log {
    fields: Vec<String>,
    pub(crate) connections: Vec<Connection>,
}

/// A line: values by field.
pub(crate) struct Connection(BTreeMap<String, String>);

impl Log {
    pub(crate) fn read(text: &str) -> Self {
        let mut log = Self { fields: Vec::new(), connections: Vec::new() };
        for line in text.lines() {
            if let Some(names) = line.strip_prefix("#fields\t") {
                log.fields = names.split('\t').map(str::to_owned).collect();
            } else if !line.starts_with('#') && !line.is_empty() {
                let values = line.split('\t').map(str::to_owned);
                log.connections.push(Connection(log.fields.iter().cloned().zip(values).collect()));
            }
        }
        log
    }

    pub(crate) fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.fields.iter().any(|field| field == name))
    }
}

impl Connection {
    pub(crate) fn get(&self, field: &str) -> &str {
        self.0.get(field).map_or("", String::as_str)
    }

    fn ends(&self) -> [(&str, &str); 2] {
        [(self.get("id.orig_h"), self.get("id.orig_p")), (self.get("id.resp_h"), self.get("id.resp_p"))]
    }

    /// Same protocol, addresses and ports, whoever began.
    pub(crate) fn is_between_the_ends_of(&self, other: &Self) -> bool {
        let mut ends = [self.ends(), other.ends()];
        ends.iter_mut().for_each(|pair| pair.sort_unstable());
        self.get("proto") == other.get("proto") && ends[0] == ends[1]
    }

    /// Same originator.
    pub(crate) fn begins_as(&self, other: &Self) -> bool {
        self.ends() == other.ends()
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [(orig, orig_port), (resp, resp_port)] = self.ends();
        write!(f, "{} {orig} {orig_port} > {resp} {resp_port} {}", self.get("proto"), self.get("conn_state"))
    }
}
