//! `labels.tsv`: what is known about captures.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::domain::{AlertKind, Party, Timestamp};

/// Columns that are needed, in any order; `tool` and `source` may be there too.
const COLUMNS: [&str; 6] = ["file", "type", "attacker", "victim", "attack_start", "attack_end"];

/// A label file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// A line is wrong.
    #[error("{path}: line {line}: {reason}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// A side of an attack, as labelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelledSide {
    /// Not known.
    Unknown,
    /// Made-up addresses.
    Spoofed,
    /// One of these.
    Parties(Vec<Party>),
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Number of its line, from 1.
    pub line: usize,
    /// Capture, relative to the folder.
    pub file: String,
    /// `benign`, or the word for the attack.
    pub word: String,
    /// Who attacks.
    pub attacker: LabelledSide,
    /// Who is attacked.
    pub victim: LabelledSide,
    /// First packet of the attack, or of the capture; `None` when not known.
    pub start: Option<Timestamp>,
    /// Its last packet.
    pub end: Option<Timestamp>,
    /// What made it; empty or `-` when not known.
    pub tool: String,
    /// Where the capture comes from, such as a repository; empty or `-` when not known. Captures of one source resemble each other.
    pub origin: String,
}

impl Label {
    /// Whether nothing is to be found.
    pub fn is_benign(&self) -> bool {
        self.word == BENIGN
    }

    /// The kind of alert that it calls for; `None` for benign traffic and for attacks that nothing here looks for.
    pub fn kind(&self) -> Option<AlertKind> {
        kind_of(&self.word)
    }
}

/// Short words for kinds of alerts.
const SHORT: [(&str, AlertKind); 11] = [
    ("portscan", AlertKind::PortScan),
    ("hostsweep", AlertKind::PortScan),
    ("sshbrute", AlertKind::SshBruteForce),
    ("arpspoof", AlertKind::ArpSpoof),
    ("dnstunnel", AlertKind::DnsTunnel),
    ("synflood", AlertKind::SynFlood),
    ("httpflood", AlertKind::HttpFlood),
    ("icmptunnel", AlertKind::IcmpTunnel),
    ("otherbruteforce", AlertKind::BruteForce),
    ("udpflood", AlertKind::UdpFlood),
    ("icmpflood", AlertKind::IcmpFlood),
];
/// The word for an attack that nothing here looks for.
const OTHER: &str = "other";
const BENIGN: &str = "benign";

/// The kind of alert that a label's word calls for.
pub(crate) fn kind_of(word: &str) -> Option<AlertKind> {
    let short = SHORT.iter().find(|(short, _)| *short == word).map(|(_, kind)| *kind);
    short.or_else(|| AlertKind::named(word))
}

/// The first label whose word is none that is known, and the words that are. It says of an attack that nothing here looks for, which
/// has a word of its own, and may as well be misspelt.
pub fn unknown_word(labels: &[Label]) -> Option<(&Label, String)> {
    let is_known = |label: &&Label| label.is_benign() || label.word == OTHER || label.kind().is_some();
    let label = labels.iter().find(|label| !is_known(label))?;
    let short: Vec<&str> = SHORT.iter().map(|(short, _)| *short).collect();
    let words = format!(
        "`{BENIGN}`, `{OTHER}` (an attack that nothing here looks for), {}, {}",
        AlertKind::words(),
        short.join(", ")
    );
    Some((label, words))
}

/// Reads a label file's text; `path` is its name in errors.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Label>, LabelError> {
    let wrong = |line: usize, reason: String| LabelError::Line { path: path.to_owned(), line, reason };
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with("##"));
    let (_, header) = lines.next().ok_or_else(|| wrong(1, "the file is empty".to_owned()))?;
    let names: Vec<&str> = header.trim_start_matches('#').split('\t').map(str::trim).collect();
    let mut at = [0; COLUMNS.len()];
    for (index, column) in at.iter_mut().zip(COLUMNS) {
        *index = names.iter().position(|name| *name == column).ok_or_else(|| {
            wrong(1, format!("there is no column '{column}' (tab-separated: {} tool)", COLUMNS.join(" ")))
        })?;
    }
    let more = ["tool", "source"].map(|column| names.iter().position(|name| *name == column));
    let read =
        |(number, line): (usize, &str)| label(number + 1, line, at, more).map_err(|reason| wrong(number + 1, reason));
    lines.map(read).collect()
}

fn label(number: usize, line: &str, at: [usize; COLUMNS.len()], more: [Option<usize>; 2]) -> Result<Label, String> {
    let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
    let cell = |column: usize| cells.get(at[column]).copied().unwrap_or_default();
    if let Some(empty) = (0..2).find(|column| cell(*column).is_empty()) {
        return Err(format!("the column '{}' is empty: file and type are needed", COLUMNS[empty]));
    }
    let [tool, origin] = more.map(|at| at.and_then(|at| cells.get(at)).copied().unwrap_or_default().to_owned());
    Ok(Label {
        line: number,
        file: cell(0).to_owned(),
        word: cell(1).to_owned(),
        attacker: side(cell(2))?,
        victim: side(cell(3))?,
        start: time(cell(4))?,
        end: time(cell(5))?,
        tool,
        origin,
    })
}

fn side(cell: &str) -> Result<LabelledSide, String> {
    match cell {
        "" | "-" => Ok(LabelledSide::Unknown),
        "*" => Ok(LabelledSide::Spoofed),
        list => list.split(',').map(|one| party(one.trim())).collect::<Result<_, _>>().map(LabelledSide::Parties),
    }
}

fn party(text: &str) -> Result<Party, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Party::Host(address));
    }
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        let part = parts.next().and_then(|part| u8::from_str_radix(part, 16).ok());
        *octet = part.ok_or_else(|| format!("'{text}' is neither an IP nor a MAC address"))?;
    }
    if parts.next().is_some() {
        return Err(format!("'{text}' is neither an IP nor a MAC address"));
    }
    Ok(Party::Mac(octets))
}

fn time(cell: &str) -> Result<Option<Timestamp>, String> {
    if matches!(cell, "" | "-") {
        return Ok(None);
    }
    match cell.parse::<f64>() {
        // Times before 1970 are those of broken clocks; captures are read with 0 there.
        Ok(seconds) if seconds.is_finite() => Ok(Some(Timestamp::from_nanos((seconds.max(0.0) * 1e9) as u64))),
        _ => Err(format!("'{cell}' is no Unix time in seconds")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Label>, LabelError> {
        super::parse(Path::new("labels.tsv"), text)
    }

    #[test]
    fn rows_are_read_by_the_names_of_their_columns() {
        let text = "file\ttype\tattacker\tvictim\tattack_start\tattack_end\ttool\n\
                    a.pcap\tportscan\t192.0.2.1\t-\t12.5\t13\tnmap\n\
                    b.pcap\tarpspoof\t00:25:b3:bf:91:ee\t192.0.2.9,192.0.2.10\t-\t-\t-\n";
        let labels = parse(text).expect("two rows");
        assert_eq!(labels[0].kind(), Some(AlertKind::PortScan));
        assert_eq!(labels[0].start, Some(Timestamp::from_nanos(12_500_000_000)));
        assert_eq!(labels[1].attacker, LabelledSide::Parties(vec![Party::Mac([0, 0x25, 0xb3, 0xbf, 0x91, 0xee])]));
        assert!(matches!(&labels[1].victim, LabelledSide::Parties(hosts) if hosts.len() == 2));
    }

    #[test]
    fn a_word_that_is_none_is_found_with_its_line_and_those_that_are() {
        let header = "file\ttype\tattacker\tvictim\tattack_start\tattack_end\n";
        let rows = "a\tbenign\nb\tother\nc\tsyn_flood\nd\tsynflood\n";
        let sound = parse(&format!("{header}{rows}")).expect("labels");
        assert!(unknown_word(&sound).is_none());
        let labels = parse(&format!("{header}\n{rows}e\tportscna\n")).expect("labels");
        let (label, words) = unknown_word(&labels).expect("a misspelt word");
        assert_eq!((label.line, label.word.as_str()), (7, "portscna"));
        assert!(["benign", "other", "portscan", "port_scan", "dns_tunnel"].iter().all(|word| words.contains(word)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let header = "file\ttype\tattacker\tvictim\tattack_start\tattack_end\ttool\n";
        for (text, says) in [
            ("", "empty"),
            ("file\ttype\n", "no column 'attacker'"),
            (&format!("{header}a.pcap\tportscan\thost\t-\t1\t2\t-\n"), "line 2: 'host'"),
            (&format!("{header}a.pcap\tportscan\t-\t-\tnow\t2\t-\n"), "'now' is no Unix time"),
            (&format!("{header}\tportscan\t-\t-\t1\t2\t-\n"), "file and type"),
        ] {
            let error = parse(text).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
