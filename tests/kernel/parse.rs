//! The program against packets built by hand: what it must make of each header, and of each that is cut or wrong.
//!
//! All packets go through one loaded program, each in a window of its own, so that flows and ledger show which packet
//! they belong to; the user engine has to give the same.

use nta_tests::daemon::run_with_input;
use nta_tests::not_run;
use nta_tests::packet::{
    DST4, DST6, SRC4, SRC6, ethernet, extension, fragment_header, icmp, ipv4, ipv6, sctp, tcp, udp, vlan,
};
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use serde_json::{Value, json};

use super::why_not;

const SYN: u8 = 2;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAG: u16 = 0x8100;

/// What becomes of a packet.
enum Expect {
    /// It makes a flow with these fields, among others.
    Flow(Value),
    /// It is in no flow, for this reason.
    Skipped(&'static str),
    /// As `Flow`, and the ledger notes this about it.
    Noted(&'static str, Value),
}

use Expect::{Flow, Noted, Skipped};

struct Case {
    what: &'static str,
    frame: Vec<u8>,
    /// Length on the wire, where the capture holds less of it.
    wire_len: Option<u32>,
    expect: Expect,
}

const fn case(what: &'static str, frame: Vec<u8>, expect: Expect) -> Case {
    Case { what, frame, wire_len: None, expect }
}

fn sliced(what: &'static str, mut frame: Vec<u8>, keep: usize, expect: Expect) -> Case {
    let wire_len = Some(frame.len() as u32);
    frame.truncate(keep);
    Case { what, frame, wire_len, expect }
}

fn v4(protocol: &str, ports: [u16; 2], ip_bytes: u64) -> Value {
    json!({ "protocol": protocol, "source": SRC4, "source_port": ports[0], "destination": DST4,
        "destination_port": ports[1], "orig_packets": 1, "resp_packets": 0, "orig_ip_bytes": ip_bytes })
}

fn v6(protocol: &str, ports: [u16; 2], ip_bytes: u64) -> Value {
    json!({ "protocol": protocol, "source": SRC6, "source_port": ports[0], "destination": DST6,
        "destination_port": ports[1], "orig_packets": 1, "resp_packets": 0, "orig_ip_bytes": ip_bytes })
}

fn with(mut fields: Value, key: &str, value: impl Into<Value>) -> Value {
    fields[key] = value.into();
    fields
}

fn vlans() -> Vec<Case> {
    let packet = || ipv4(UDP, &[], 0, &udp(b"12345"));
    let flow = |id: u16| Flow(with(v4("udp", [40_000, 53], 33), "vlan", id));
    let two = || vlan(7, TAG, &vlan(8, IPV4, &packet()));
    let three = || vlan(6, 0x9100, &two());
    vec![
        case("no tag", ethernet(IPV4, &packet()), Flow(with(v4("udp", [40_000, 53], 33), "vlan", Value::Null))),
        case("one tag", ethernet(TAG, &vlan(0x6005, IPV4, &packet())), flow(5)),
        case("two tags, 802.1ad outside", ethernet(0x88a8, &two()), flow(7)),
        case("three tags", ethernet(TAG, &vlan(6, TAG, &two())), flow(6)),
        case("three tags, the old type", ethernet(0x9100, &vlan(6, 0x88a8, &two())), flow(6)),
        case("four tags", ethernet(TAG, &vlan(5, 0x9100, &three())), Skipped("vlan_too_deep")),
        case("cut in a tag", ethernet(TAG, &[0, 5, 8]), Skipped("vlan_truncated")),
    ]
}

fn ip4() -> Vec<Case> {
    let eth = |packet: &[u8]| ethernet(IPV4, packet);
    let plain = || ipv4(TCP, &[], 0, &tcp(SYN, &[], &[]));
    let broken = |at: usize, byte: u8| {
        let mut packet = plain();
        packet[at] = byte;
        eth(&packet)
    };
    let syn = |ip_bytes| with(v4("tcp", [40_000, 443], ip_bytes), "tcp/orig/syn", 1);
    let options = || ipv4(TCP, &[1; 40], 0, &tcp(SYN, &[], &[]));
    vec![
        case("TCP", eth(&plain()), Flow(syn(40))),
        case("all 40 bytes of options", eth(&options()), Flow(syn(80))),
        case("TCP options", eth(&ipv4(TCP, &[], 0, &tcp(SYN, &[1; 40], b"x"))), Flow(syn(81))),
        case("padding is no payload", [eth(&plain()), vec![0; 6]].concat(), Flow(with(syn(40), "orig_bytes", 60))),
        case("a length of 0 (offload)", broken(3, 0), Flow(syn(40))),
        case("a length beyond the frame", broken(2, 5), Flow(syn(0x528))),
        case("version 5", broken(0, 0x55), Skipped("ipv4_malformed")),
        case("header of 16 bytes", broken(0, 0x44), Skipped("ipv4_malformed")),
        case("length below the header", broken(3, 19), Skipped("ipv4_malformed")),
        case("TCP header of 16 bytes", broken(32, 0x40), Noted("l4_truncated", v4("tcp", [40_000, 443], 40))),
        case("19 bytes", eth(&plain()[..19]), Skipped("ipv4_truncated")),
        case("the header alone", eth(&plain()[..20]), Noted("l4_truncated", v4("tcp", [0, 0], 40))),
        case("another protocol", eth(&ipv4(47, &[], 0, &[0; 8])), Flow(v4("gre", [0, 0], 28))),
    ]
}

fn fragments() -> Vec<Case> {
    let first = |payload: &[u8]| ethernet(IPV4, &ipv4(UDP, &[], 0x2000, payload));
    let later = ethernet(IPV4, &ipv4(UDP, &[], 185, &udp(b"no header, only data")));
    let six = |field| ethernet(IPV6, &ipv6(44, &fragment_header(UDP, field, &udp(b"12345678"))));
    vec![
        case("first", first(&udp(&[0; 8])), Noted("fragment_first", v4("udp", [40_000, 53], 36))),
        case("later: no ports", later, Noted("fragment_later", v4("udp", [0, 0], 48))),
        case("IPv6, first", six(1), Noted("fragment_first", v6("udp", [40_000, 53], 64))),
        case("IPv6, later", six(0xb9), Noted("fragment_later", v6("udp", [0, 0], 64))),
        case("IPv6, the only one", six(0), Flow(v6("udp", [40_000, 53], 64))),
    ]
}

fn ip6() -> Vec<Case> {
    let eth = |next: u8, payload: &[u8]| ethernet(IPV6, &ipv6(next, payload));
    let udp8 = || udp(b"12345678");
    let chain = |headers: usize| {
        let inner = (1..headers).fold(extension(UDP, 0, &udp8()), |inner, _| extension(60, 0, &inner));
        eth(0, &inner)
    };
    let mut wrong = eth(UDP, &udp8());
    wrong[14] = 0x40;
    // Authentication header: 24 bytes, counted in units of 4 less 2.
    let ah = [&[UDP, 4][..], &[0; 22], &udp8()].concat();
    vec![
        case("UDP", eth(UDP, &udp8()), Flow(v6("udp", [40_000, 53], 56))),
        case("TCP", eth(TCP, &tcp(SYN, &[], &[])), Flow(with(v6("tcp", [40_000, 443], 60), "tcp/orig/syn", 1))),
        case("hop by hop", chain(1), Flow(v6("udp", [40_000, 53], 64))),
        case("six extension headers", chain(6), Flow(v6("udp", [40_000, 53], 104))),
        case("seven", chain(7), Noted("ipv6_chain_cut", v6("60", [0, 0], 112))),
        case("a long one", eth(43, &extension(UDP, 20, &udp8())), Flow(v6("udp", [40_000, 53], 224))),
        case("authentication", eth(51, &ah), Flow(v6("udp", [40_000, 53], 80))),
        case("version 4", wrong, Skipped("ipv6_malformed")),
        case("39 bytes", eth(UDP, &udp8())[..53].to_vec(), Skipped("ipv6_truncated")),
    ]
}

fn others() -> Vec<Case> {
    let eth = |protocol: u8, payload: &[u8]| ethernet(IPV4, &ipv4(protocol, &[], 0, payload));
    let jumbo = eth(UDP, &udp(&[0; 9000 - 42]));
    let big = eth(TCP, &tcp(16, &[], &[0; 60_000]));
    let segment = || eth(TCP, &tcp(SYN, &[], &[0; 1000]));
    vec![
        case("echo: asked and answered are one flow", eth(1, &icmp(8, 0, b"ping")), Flow(v4("icmp", [8, 0], 32))),
        case("unreachable: type and code", eth(1, &icmp(3, 1, &[0; 28])), Flow(v4("icmp", [3, 1], 56))),
        case("ICMPv6", ethernet(IPV6, &ipv6(58, &icmp(128, 0, &[]))), Flow(v6("ipv6-icmp", [128, 129], 48))),
        case("SCTP", eth(132, &sctp(&[1, 0, 0, 4])), Flow(v4("sctp", [40_000, 9899], 36))),
        case("UDP-Lite", eth(136, &udp(b"x")), Flow(v4("udplite", [40_000, 53], 29))),
        case("ARP", ethernet(0x0806, &[0; 28]), Skipped("arp")),
        case("LLDP", ethernet(0x88cc, &[0; 46]), Skipped("non_ip")),
        case("802.3 with a length", ethernet(46, &[0; 46]), Skipped("non_ip")),
        case("an Ethernet header alone", ethernet(IPV4, &[]), Skipped("ipv4_truncated")),
        case("13 bytes", ethernet(IPV4, &[])[..13].to_vec(), Skipped("eth_truncated")),
        case("1 byte", vec![0], Skipped("eth_truncated")),
        case("no byte", vec![], Skipped("eth_truncated")),
        case("9000 bytes", jumbo, Flow(with(v4("udp", [40_000, 53], 8986), "orig_bytes", 9000))),
        case("60,054 bytes", big, Flow(with(v4("tcp", [40_000, 443], 60_040), "orig_bytes", 60_054))),
        sliced("snaplen 54", segment(), 54, Flow(with(v4("tcp", [40_000, 443], 1040), "orig_bytes", 1054))),
        sliced("snaplen 53", segment(), 53, Noted("l4_truncated", v4("tcp", [40_000, 443], 1040))),
        sliced("snaplen 38: the ports", segment(), 38, Noted("l4_truncated", v4("tcp", [40_000, 443], 1040))),
        sliced("snaplen 37: no ports", segment(), 37, Noted("l4_truncated", v4("tcp", [0, 0], 1040))),
        sliced("snaplen 20", segment(), 20, Skipped("ipv4_truncated")),
    ]
}

#[test]
fn the_program_parses_as_expected() {
    if let Some(reason) = why_not() {
        return not_run("the_program_parses_as_expected", &reason);
    }
    let cases: Vec<Case> = [vlans(), ip4(), fragments(), ip6(), others()].into_iter().flatten().collect();
    let mut wrong = Vec::new();
    for engine in ["kernel", "user"] {
        // A day between two cases ends every flow before the next begins, so that none run together.
        let frame = |(at, case): (u64, &Case)| {
            let time_ns = (1 + at) * DAY_NS;
            let wire_len = case.wire_len.unwrap_or(case.frame.len() as u32);
            Frame { time_ns, wire_len, data: case.frame.clone() }
        };
        let input = pcap(ETHERNET, &(0..).zip(&cases).map(frame).collect::<Vec<_>>());
        let run = run_with_input(["replay", "--engine", engine, "--format", "jsonl", "-"], &input);
        assert_eq!(run.status, Some(0), "{run:?}");
        let lines = run.json();
        let has_packets = |line: &&Value| line["type"] == "window" && line["packets"] != 0;
        let windows: Vec<&Value> = lines.iter().filter(has_packets).collect();
        assert_eq!(windows.len(), cases.len(), "a window each, and those of the silence between them");
        for (case, window) in cases.iter().zip(windows) {
            let flows = lines.iter().filter(|line| line["type"] == "flow" && line["first_time"] == window["start"]);
            wrong.extend(check(case, window, &flows.collect::<Vec<_>>()).map(|what| format!("{engine}: {what}")));
        }
    }
    println!("{} packets", cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(case: &Case, window: &Value, flows: &[&Value]) -> Option<String> {
    let (note, fields) = match (&case.expect, flows) {
        (Skipped(reason), []) if window["skipped"] == json!({ *reason: 1 }) => return None,
        (Flow(fields), [_]) => (None, fields),
        (Noted(note, fields), [_]) => (Some(*note), fields),
        _ => return Some(format!("{}: {flows:?}, skipped {}", case.what, window["skipped"])),
    };
    let ledger = &window["ledger"];
    let notes = NOTES.iter().filter(|name| ledger[**name] != 0).copied();
    if !notes.eq(note) {
        return Some(format!("{}: not noted as {note:?}: {ledger}", case.what));
    }
    let differ = |(key, value): (&String, &Value)| flows[0].pointer(&format!("/{key}")) != Some(value);
    let differing = fields.as_object().into_iter().flatten().find(|field| differ(*field))?;
    Some(format!("{}: {differing:?}: {}", case.what, flows[0]))
}

const DAY_NS: u64 = 86_400_000_000_000;
const NOTES: [&str; 4] = ["l4_truncated", "ipv6_chain_cut", "fragment_first", "fragment_later"];
