//! Packets that are kept: the captures in some folders are searched for those of an alert.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use nta_capture::{LinkType, PcapWriter};
use nta_common::{Family, Packet, SliceReader, TunnelPorts, parse};
use nta_core::domain::Timestamp;

/// Bytes of packets of an answer; what would be more is left out, and said.
pub const MOST_BYTES: u64 = 64 << 20;
/// Captures that are looked at, the newest first.
const MOST_FILES: usize = 10_000;
/// How far before the first packet of an alert and behind its last one is looked: time stamps of windows are rounded.
const AROUND_NS: u64 = 1_000_000_000;
/// The longest packet that the header of the answer speaks of.
const SNAP_LENGTH: u32 = 262_144;

/// One end of the packets that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Anybody.
    Any,
    /// A host.
    Host(IpAddr),
    /// A network.
    Network(IpNet),
    /// A station.
    Station([u8; 6]),
}

impl End {
    /// As an alert writes a party.
    pub fn of_party(party: Option<&str>) -> Self {
        let Some(text) = party else { return Self::Any };
        if let Ok(host) = text.parse() {
            return Self::Host(host);
        }
        if let Ok(network) = text.parse() {
            return Self::Network(network);
        }
        let mut mac = [0; 6];
        let bytes: Option<Vec<u8>> = text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
        match bytes.filter(|bytes| bytes.len() == mac.len()) {
            Some(bytes) => {
                mac.copy_from_slice(&bytes);
                Self::Station(mac)
            }
            None => Self::Any,
        }
    }

    fn is(&self, address: Option<IpAddr>, station: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Host(host) => address == Some(*host),
            Self::Network(network) => address.is_some_and(|address| network.contains(&address)),
            Self::Station(mac) => station == mac,
        }
    }
}

/// Which packets.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Between these, in either direction.
    pub ends: [End; 2],
    /// From the first to the last, and a second around.
    pub times: [Timestamp; 2],
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// A capture, pcap with nanoseconds.
    pub pcap: Vec<u8>,
    /// Packets in it.
    pub packets: u64,
    /// Whether there are more than an answer takes.
    pub is_cut: bool,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// No capture is kept.
    #[error(
        "no packets are kept here: nothing was recorded (POST /api/analysis/start-tcpdump), no capture of that time was uploaded, and \
         there is no packet buffer, or it is empty (capture.ring); a replay has those of its files, and none of what came by a pipe"
    )]
    NoCaptures,
    /// Those that are kept are of other times.
    #[error("none of the {captures} captures that are kept has packets from {} to {}", times[0], times[1])]
    OtherTimes {
        /// How many were looked at.
        captures: usize,
        /// When.
        times: [Timestamp; 2],
    },
    /// They have packets of that time, and none of these ends.
    #[error("the captures that are kept have packets from {} to {}, but none between these parties", times[0], times[1])]
    OtherParties {
        /// When.
        times: [Timestamp; 2],
    },
    /// Whoever asked went away.
    #[error("nobody waits for it any more")]
    GaveUp,
    /// What was found does not fit into memory.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Searches some captures, and all in some folders; `goes_on` is asked now and then whether anybody still waits.
///
/// # Errors
/// Why there are no such packets.
pub fn search(
    (folders, captures): (&[PathBuf], &[PathBuf]),
    wanted: &Wanted,
    goes_on: &dyn Fn() -> bool,
) -> Result<Found, NotFound> {
    let mut captures = captures.to_vec();
    for path in folders.iter().flat_map(|folder| files(folder)) {
        if captures.len() < MOST_FILES && !captures.contains(&path) {
            captures.push(path);
        }
    }
    if captures.is_empty() {
        return Err(NotFound::NoCaptures);
    }
    let [first, last] = around(wanted.times).map(Timestamp::as_nanos);
    let span = first..=last;
    let mut of_time = false;
    let mut found: Vec<(u64, u32, Vec<u8>)> = Vec::new();
    let (mut bytes, mut is_cut) = (0_u64, false);
    for path in &captures {
        let Ok(mut capture) = nta_capture::open(path) else { continue };
        let mut read = 0_u64;
        while let Some(frame) = capture.next_frame() {
            read += 1;
            if read.is_multiple_of(ASK_EVERY) && !goes_on() {
                return Err(NotFound::GaveUp);
            }
            if !span.contains(&frame.time_ns) {
                continue;
            }
            of_time = true;
            if !is_between(frame.wire_len, frame.data, &wanted.ends) {
                continue;
            }
            bytes += nta_capture::packet_bytes(frame.data.len());
            if bytes > MOST_BYTES {
                is_cut = true;
                break;
            }
            found.push((frame.time_ns, frame.wire_len, frame.data.to_vec()));
        }
        if is_cut {
            break;
        }
    }
    if found.is_empty() {
        let (captures, times) = (captures.len(), wanted.times);
        return Err(if of_time { NotFound::OtherParties { times } } else { NotFound::OtherTimes { captures, times } });
    }
    // Several captures may have been recorded side by side.
    found.sort_by_key(|(time_ns, ..)| *time_ns);
    let mut writer = PcapWriter::new(Vec::new(), LinkType::ETHERNET, SNAP_LENGTH)?;
    for (time_ns, wire_len, data) in &found {
        writer.packet(*time_ns, *wire_len, &[data])?;
    }
    Ok(Found { packets: found.len() as u64, pcap: writer.into_inner(), is_cut })
}

/// Times with what is looked through around them.
pub fn around([first, last]: [Timestamp; 2]) -> [Timestamp; 2] {
    [first.as_nanos().saturating_sub(AROUND_NS), last.as_nanos().saturating_add(AROUND_NS)].map(Timestamp::from_nanos)
}

/// Frames between two questions whether anybody still waits.
const ASK_EVERY: u64 = 65_536;

/// The files of a folder, the newest first. What is no capture is passed over when it is opened.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let about = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((about.modified().ok(), entry.path()))
        })
        .collect();
    files.sort_by(|a, b| b.cmp(a));
    files.into_iter().map(|(_, path)| path).collect()
}

/// Whether a frame goes from one end to the other, or back; tunnels are opened, so that what they carry is found.
fn is_between(wire_len: u32, data: &[u8], ends: &[End; 2]) -> bool {
    let (Some(to), Some(from)) = (data.get(..6), data.get(6..12)) else { return false };
    let of = |tunnels: Option<TunnelPorts>| {
        let mut packet = Packet::default();
        match parse(&SliceReader::new(data, wire_len).with_tunnels(tunnels), &mut packet) {
            Ok(Family::V4) => {
                Some([packet.src4, packet.dst4].map(|address| IpAddr::from(Ipv4Addr::from_bits(address))))
            }
            Ok(Family::V6) => Some(
                [packet.src6, packet.dst6]
                    .map(|[high, low]| IpAddr::from(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)))),
            ),
            Err(_) => None,
        }
    };
    let are = |addresses: Option<[IpAddr; 2]>| {
        let [source, destination] = addresses.map_or([None; 2], |both| both.map(Some));
        let forth = ends[0].is(source, from) && ends[1].is(destination, to);
        forth || ends[0].is(destination, to) && ends[1].is(source, from)
    };
    are(of(None)) || are(of(Some(TunnelPorts::default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(source: u8, destination: u8) -> Vec<u8> {
        let mut frame = [&[2, 0, 0, 0, 0, destination, 2, 0, 0, 0, 0, source][..], &[8, 0]].concat();
        frame.extend([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, source, 192, 0, 2, destination]);
        frame.extend([0, 53, 0, 53, 0, 8, 0, 0]);
        frame
    }

    fn folder(packets: &[(u64, u8, u8)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("folder");
        // Two captures, side by side.
        for part in [0, 1] {
            let mut writer = PcapWriter::new(Vec::new(), LinkType::ETHERNET, SNAP_LENGTH).expect("begun");
            for (seconds, source, destination) in packets.iter().skip(part).step_by(2) {
                writer.packet(seconds * 1_000_000_000, 60, &[&frame(*source, *destination)]).expect("written");
            }
            fs::write(folder.path().join(format!("{part}.pcap")), writer.into_inner()).expect("written");
        }
        fs::write(folder.path().join("note.txt"), "no capture").expect("written");
        folder
    }

    fn wanted(source: &str, destination: &str, times: [u64; 2]) -> Wanted {
        let times = times.map(|seconds| Timestamp::from_nanos(seconds * 1_000_000_000));
        Wanted { ends: [source, destination].map(|party| End::of_party(Some(party))), times }
    }

    #[test]
    fn packets_between_both_ends_are_found_in_all_captures_by_time() {
        let folder = folder(&[(10, 1, 2), (11, 2, 1), (12, 1, 3), (13, 1, 2), (30, 1, 2)]);
        let folders = [folder.path().to_owned(), folder.path().join("nowhere")];
        for (source, destination, times, packets) in [
            ("192.0.2.1", "192.0.2.2", [10, 20], 3),
            ("192.0.2.1", "192.0.2.2", [13, 13], 1),
            ("192.0.2.1", "*", [0, 100], 5),
            ("192.0.2.3", "192.0.2.0/24", [0, 100], 1),
            ("02:00:00:00:00:01", "*", [10, 12], 4),
        ] {
            let found = search((&folders, &[]), &wanted(source, destination, times), &|| true).expect("found");
            assert_eq!((found.packets, found.is_cut), (packets, false), "{source} {destination}");
            let mut capture =
                nta_capture::CaptureReader::from_read("x".to_owned(), Box::new(io::Cursor::new(found.pcap)))
                    .expect("a capture");
            let mut last = 0;
            while let Some(frame) = capture.next_frame() {
                assert!(frame.time_ns >= last, "in the order of time");
                last = frame.time_ns;
            }
            assert_eq!(capture.frames(), packets);
        }
    }

    #[test]
    fn why_there_are_none_is_said() {
        let folder = folder(&[(10, 1, 2), (11, 2, 1)]);
        let folders = [folder.path().to_owned()];
        let why = |folders: &[PathBuf], wanted: Wanted| {
            search((folders, &[]), &wanted, &|| true).expect_err("none").to_string()
        };
        assert!(why(&[], wanted("*", "*", [0, 1])).contains("no packets are kept"));
        let said = why(&folders, wanted("*", "*", [100, 101]));
        assert!(said.contains("none of the 3 captures") && said.contains("1970-01-01T00:01:40"), "{said}");
        assert!(why(&folders, wanted("192.0.2.9", "*", [10, 11])).contains("none between these parties"));
    }
}
