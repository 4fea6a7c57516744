//! What Wireshark's tools say about a capture: the independent opinion that results are compared with.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::conversations::{Conversations, Endpoint, Volume};
use crate::daemon::collect;

/// One run of tshark over a capture, which prints the conversations twice.
pub struct Tshark {
    /// Summed from the frames it lists, exact. Headers quoted in ICMP errors do not count.
    pub exact: Conversations,
    /// The tables of `-z conv,tcp -z conv,udp`, summed by endpoints: packets are exact.
    pub table: Conversations,
    /// Sizes in the tables as they are printed, for conversations of one row; above 10,000 bytes they are cut to kB.
    pub sizes: BTreeMap<(String, Endpoint, Endpoint), [String; 2]>,
}

impl Tshark {
    /// Runs it; names are not looked up.
    pub fn read(capture: &Path) -> Self {
        let mut command = Command::new("tshark");
        command.args(["-n", "-T", "fields", "-E", "occurrence=l", "-z", "conv,tcp", "-z", "conv,udp"]);
        command.args(FIELDS.iter().flat_map(|field| ["-e", field])).arg("-r").arg(capture);
        let run = collect(command, &[]);
        let text = String::from_utf8_lossy(&run.stdout);
        let (exact, table, sizes) = (Conversations::default(), Conversations::default(), BTreeMap::new());
        let mut read = Self { exact, table, sizes };
        let mut table = None;
        for line in text.lines() {
            match (line, table) {
                ("TCP Conversations", _) => table = Some("tcp"),
                ("UDP Conversations", _) => table = Some("udp"),
                (_, None) => read.frame(line),
                (_, Some(protocol)) => read.row(protocol, line),
            }
        }
        read
    }

    /// A frame: [`FIELDS`], between tabs.
    fn frame(&mut self, line: &str) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [bytes, src4, dst4, src6, dst6, tcp_from, tcp_to, udp_from, udp_to, "", ""] = fields[..] else { return };
        let (src, dst) = if src4.is_empty() { (src6, dst6) } else { (src4, dst4) };
        let (protocol, from, to) =
            if tcp_from.is_empty() { ("udp", udp_from, udp_to) } else { ("tcp", tcp_from, tcp_to) };
        let (Ok(from), Ok(to), Ok(bytes)) = (from.parse(), to.parse(), bytes.parse()) else { return };
        let volumes = [Volume { packets: 1, bytes }, Volume::default()];
        self.exact.add(protocol, (src.to_owned(), from), (dst.to_owned(), to), volumes);
    }

    /// `A:p <-> B:q  packets size unit (from B)  packets size unit (from A)  …`
    fn row(&mut self, protocol: &str, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [a, "<->", b, back, back_size, back_unit, there, there_size, there_unit, ..] = words[..] else { return };
        let end = |text: &str| {
            let (address, port) = text.rsplit_once(':')?;
            Some((address.to_owned(), port.parse::<u16>().ok()?))
        };
        let (Some(a), Some(b)) = (end(a), end(b)) else { return };
        let packets = |text: &str| Volume { packets: text.parse().expect("packets"), bytes: 0 };
        let mut sizes = [format!("{there_size} {there_unit}"), format!("{back_size} {back_unit}")];
        self.table.add(protocol, a.clone(), b.clone(), [packets(there), packets(back)]);
        let key = if a <= b {
            (protocol.to_owned(), a, b)
        } else {
            sizes.reverse();
            (protocol.to_owned(), b, a)
        };
        // A second row of the same endpoints: the sum of two cut numbers says nothing exact.
        self.sizes.entry(key).and_modify(|sizes| *sizes = Default::default()).or_insert(sizes);
    }

    /// What differs from these conversations, in the frames or in the tables.
    pub fn differences(&self, ours: &Conversations) -> Vec<String> {
        let mut all = ours.differences(&self.exact);
        let packets = |of: &Conversations| {
            let only = |volumes: &[Volume; 2]| volumes.map(|volume| Volume { bytes: 0, ..volume });
            Conversations(of.0.iter().map(|(key, volumes)| (key.clone(), only(volumes))).collect())
        };
        all.extend(packets(ours).differences(&self.table));
        for (key, sizes) in &self.sizes {
            let mine = ours.0.get(key).map(|volumes| volumes.map(|volume| size(volume.bytes)));
            if !sizes[0].is_empty() && mine.as_ref() != Some(sizes) {
                all.push(format!("{key:?}: {mine:?}, not {sizes:?}"));
            }
        }
        all
    }
}

/// A size as tshark prints it.
fn size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    let unit = units.into_iter().find(|(unit, _)| bytes / unit >= 10);
    unit.map_or_else(|| format!("{bytes} bytes"), |(unit, name)| format!("{} {name}", bytes / unit))
}

/// Frames and their bytes on the wire, of each of these captures that capinfos can read.
pub fn capinfos(folder: &Path, captures: &[String]) -> BTreeMap<String, Volume> {
    let mut command = Command::new("capinfos");
    command.args(["-T", "-r", "-c", "-d", "-M"]).args(captures).current_dir(folder);
    let text = String::from_utf8_lossy(&collect(command, &[]).stdout).into_owned();
    let row = |line: &str| {
        let [path, packets, bytes] = line.split('\t').collect::<Vec<_>>()[..] else { return None };
        Some((path.to_owned(), Volume { packets: packets.parse().ok()?, bytes: bytes.parse().ok()? }))
    };
    text.lines().filter_map(row).collect()
}

const FIELDS: [&str; 11] = [
    "frame.len",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "udp.srcport",
    "udp.dstport",
    "icmp.type",
    "icmpv6.type",
];
