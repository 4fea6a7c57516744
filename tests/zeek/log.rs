//! Zeek's tab-separated logs, whole ones and what `zeek-cut` left of them.

use std::collections::BTreeSet;
use std::fmt;

/// A log: its connections, each with the columns that the log has.
pub(crate) struct Log {
    columns: Vec<String>,
    pub(crate) connections: Vec<Connection>,
}

/// A line: values by column.
pub(crate) struct Connection(Vec<(String, String)>);

/// Columns under the names that Zeek's tests of renaming give them.
const RENAMED: [(&str, &str); 8] = [
    ("src", "id.orig_h"),
    ("src_ip", "id.orig_h"),
    ("src_port", "id.orig_p"),
    ("dst", "id.resp_h"),
    ("dst_ip", "id.resp_h"),
    ("dst_port", "id.resp_p"),
    ("id_orig_h", "id.orig_h"),
    ("id_resp_h", "id.resp_h"),
];

impl Log {
    /// Reads a log. One without `#fields` is a cut of columns whose first line names them, unless `columns` does.
    pub(crate) fn read(text: &str, columns: Option<&str>) -> Self {
        let mut log = Self { columns: columns.map(names).unwrap_or_default(), connections: Vec::new() };
        for line in text.lines() {
            if let Some(fields) = line.strip_prefix("#fields\t") {
                log.columns = names(fields);
            } else if line.starts_with('#') || line.is_empty() {
                continue;
            } else if log.columns.is_empty() {
                log.columns = names(line);
            } else {
                let values = line.split('\t').map(str::to_owned);
                log.connections.push(Connection(log.columns.iter().cloned().zip(values).collect()));
            }
        }
        log
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column == name)
    }
}

fn names(line: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in line.split('\t') {
        let name = RENAMED.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| ours);
        let name = name.strip_prefix("id_").map_or_else(|| name.to_owned(), |end| format!("id.{end}"));
        // Two of Zeek's tests cut the responder's port twice: `zeek-cut` prints it at both places.
        names.push(name);
    }
    names
}

impl Connection {
    /// A column's value, `None` when the log does not have it.
    pub(crate) fn get(&self, column: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == column).map(|(_, value)| value.as_str())
    }

    /// Whether a column has the same value in both, or is not there in one of them.
    pub(crate) fn agrees(&self, other: &Self, column: &str) -> bool {
        match (self.get(column), other.get(column)) {
            (Some(own), Some(others)) => own == others,
            _ => true,
        }
    }

    /// Same originator and responder, as far as they are known.
    pub(crate) fn begins_as(&self, other: &Self) -> bool {
        ["id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p"].iter().all(|column| self.agrees(other, column))
    }

    /// Same protocol, addresses and ports, whoever began.
    pub(crate) fn is_between_the_ends_of(&self, other: &Self) -> bool {
        let swapped = |own: &str, others: &str| match (self.get(own), other.get(others)) {
            (Some(own), Some(others)) => own == others,
            _ => true,
        };
        let turned_round = swapped("id.orig_h", "id.resp_h")
            && swapped("id.orig_p", "id.resp_p")
            && swapped("id.resp_h", "id.orig_h")
            && swapped("id.resp_p", "id.orig_p");
        self.agrees(other, "proto") && (self.begins_as(other) || turned_round)
    }

    /// The tunnels around it, by their ends; `None` when one of them is not in its log, as Zeek logs those in UDP alone, or not
    /// with both its ends.
    pub(crate) fn parents(&self, log: &[Self]) -> Option<BTreeSet<String>> {
        let ends = |uid: &str| {
            let parent = log.iter().find(|connection| connection.get("uid") == Some(uid))?;
            let ends = ["id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p"].map(|column| parent.get(column));
            Some(ends.into_iter().collect::<Option<Vec<&str>>>()?.join(" "))
        };
        self.get("tunnel_parents").filter(|uids| *uids != "-")?.split(',').map(ends).collect()
    }

    /// Whether Zeek found it inside a tunnel.
    pub(crate) fn is_inner(&self) -> bool {
        !matches!(self.get("tunnel_parents"), None | Some("-" | "(empty)"))
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [proto, orig, orig_port, resp, resp_port, state] =
            ["proto", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "conn_state"]
                .map(|column| self.get(column).unwrap_or("?"));
        write!(f, "{proto} {orig} {orig_port} > {resp} {resp_port} {state}")
    }
}
