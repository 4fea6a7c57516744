//! Captures in which one host scans ports while others talk, and some in which all only talk.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use nta_tests::packet::ethernet;
use nta_tests::pcap::{ETHERNET, Frame, pcap};

const SYN: u8 = 0x02;
const RST_ACK: u8 = 0x14;
const BEGIN: u64 = 1_700_000_100;
const SECONDS: u64 = 100;
const IPV4: u16 = 0x0800;
const MILLI: u64 = 1_000_000;

/// The tool that the model does not learn from.
pub(crate) const KEPT_BACK: &str = "tool1";

/// Writes eight captures and their labels.
pub(crate) fn write(folder: &Path) {
    let mut labels = "file\ttype\tattacker\tvictim\tattack_start\tattack_end\ttool\n".to_owned();
    for n in 0..8_u8 {
        let (scans, file) = (n < 5, format!("{n}.pcap"));
        let attacker = scans.then(|| Ipv4Addr::new(10, 0, n, 66));
        fs::write(folder.join(&file), capture(n, attacker)).expect("written");
        let row = match attacker {
            Some(attacker) => format!("portscan\t{attacker}\t10.0.{n}.1\t{BEGIN}\t{}\ttool{}", BEGIN + SECONDS, n % 3),
            None => "benign\t-\t-\t-\t-\t-".to_owned(),
        };
        writeln!(labels, "{file}\t{row}").expect("a string");
    }
    fs::write(folder.join("labels.tsv"), labels).expect("written");
}

/// Ten hosts that ask a server, and maybe one that tries its ports.
fn capture(n: u8, attacker: Option<Ipv4Addr>) -> Vec<u8> {
    let server = Ipv4Addr::new(10, 0, n, 1);
    let mut frames = Vec::new();
    let mut add = |time_ns: u64, data: Vec<u8>| frames.push(Frame { time_ns, wire_len: data.len() as u32, data });
    for tick in 0..SECONDS * 10 {
        let time = BEGIN * 1_000_000_000 + tick * 100 * MILLI;
        for host in 10..20_u8 {
            let client = Ipv4Addr::new(10, 0, n, host);
            let length = 40 + usize::from(host) * 3 + (tick as usize % 7) * 20;
            add(time, udp(client, server, 5_000 + u16::from(host), 9_000, length));
            add(time + 10 * MILLI, udp(server, client, 9_000, 5_000 + u16::from(host), 3 * length));
        }
        if let Some(attacker) = attacker {
            for k in 0..3 {
                let port = (tick * 3 + k) as u16 % 60_000 + 1;
                add(time + k * MILLI, tcp(attacker, server, 40_000, port, SYN));
                add(time + (k + 20) * MILLI, tcp(server, attacker, port, 40_000, RST_ACK));
            }
        }
    }
    frames.sort_by_key(|frame| frame.time_ns);
    pcap(ETHERNET, &frames)
}

fn udp(from: Ipv4Addr, to: Ipv4Addr, from_port: u16, to_port: u16, length: usize) -> Vec<u8> {
    let mut datagram = [from_port, to_port, length as u16 + 8, 0].map(u16::to_be_bytes).concat();
    datagram.resize(length + 8, 0);
    packet(17, from, to, &datagram)
}

fn tcp(from: Ipv4Addr, to: Ipv4Addr, from_port: u16, to_port: u16, flags: u8) -> Vec<u8> {
    let mut segment = [from_port, to_port].map(u16::to_be_bytes).concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    packet(6, from, to, &segment)
}

fn packet(protocol: u8, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    ethernet(IPV4, &packet)
}
