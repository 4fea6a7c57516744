//! DNS messages, ARP packets and neighbour discovery as events, against tshark: every one, in the order of the capture.

use std::path::Path;
use std::process::Command;

use nta_tests::capture_list::{ABSENT, captures};
use nta_tests::daemon::{collect, run};
use nta_tests::{installed, not_run, pool};
use serde_json::Value;

/// Captures with DNS over UDP: common use, multicast, tunnels, odd records.
const DNS: [&str; 16] = [
    "benign/dns/good.pcap",
    "benign/dns/graphtunnel_normal_00000_20230805150331.pcap",
    "benign/chrissanders/dns.pcap",
    "benign/chrissanders/dns_isp_hijack.pcapng",
    "benign/chrissanders/dns_lab.pcapng",
    "benign/chrissanders/dns_query_nonexistent.pcapng",
    "benign/chrissanders/dns_recursivequery_server.pcapng",
    "benign/ipfixprobe/dns.pcap",
    "benign/nfstream/mdns.pcap",
    "benign/ndpi/dns.pcap",
    "benign/zeek/dns-edns-ecs.pcap",
    "benign/zeek/dns-https.pcap",
    "benign/zeek/dns-svcb.pcap",
    "attacks/dns-dga/sgr_dga.pcapng",
    "attacks/dns-tunnel/acandeias_dns-tunnel.pcap",
    "attacks/dns-tunnel/ndpi_dns_exfiltration.pcap",
];

/// Captures with ARP on Ethernet.
const ARP: [&str; 8] = [
    "attacks/arp-spoof/chrissanders_arppoison.pcapng",
    "attacks/arp-spoof/hatboy_arp.pcap",
    "attacks/arp-spoof/pcaphunt_na-arpSpoofing.pcap",
    "attacks/arp-storm/wireshark_arp-storm.pcap",
    "attacks/host-sweep/pcaphunt_hs-arpScan.pcap",
    "attacks/synthetic-suites/tracepcap/week5_shadow_device_arp_spoof.pcap",
    "benign/chrissanders/arp_resolution.pcapng",
    "benign/ipfixprobe/arp.pcap",
];

/// Captures with neighbour discovery: recorded ones, and those that scapy made.
const ND: [&str; 4] = [
    "benign/chrissanders/icmpv6_neighbor_solicitation.pcapng",
    "benign/chrissanders/ipv6_fragments.pcapng",
    concat!(env!("CARGO_MANIFEST_DIR"), "/cases/nd_spoof-hit/input.pcap.gz"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/cases/nd_spoof-quiet/input.pcap.gz"),
];

const DNS_FILTER: &str = "(dns || mdns) && (udp.port == 53 || udp.port == 5353) && !icmp && !icmpv6";
const DNS_FIELDS: [&str; 5] = ["dns.id", "dns.flags.response", "dns.flags.rcode", "dns.qry.name", "dns.count.answers"];
const ARP_FILTER: &str = "arp.hw.type == 1 && arp.proto.type == 0x0800";
const ARP_FIELDS: [&str; 7] = [
    "arp.opcode",
    "arp.src.hw_mac",
    "arp.src.proto_ipv4",
    "arp.dst.hw_mac",
    "arp.dst.proto_ipv4",
    "eth.src",
    "eth.dst",
];

const ND_FILTER: &str = "(icmpv6.type == 135 || icmpv6.type == 136) && ipv6.hlim == 255";
const ND_FIELDS: [&str; 9] = [
    "icmpv6.type",
    "icmpv6.nd.na.flag.o",
    "icmpv6.opt.linkaddr",
    "icmpv6.nd.ns.target_address",
    "icmpv6.nd.na.target_address",
    "ipv6.src",
    "ipv6.dst",
    "eth.src",
    "eth.dst",
];

#[test]
fn dns_messages_equal_those_of_tshark() {
    let count = compare("dns_messages_equal_those_of_tshark", &DNS, our_dns, |file| {
        rows(file, DNS_FILTER, &DNS_FIELDS).iter().map(|row| their_dns(row)).collect()
    });
    println!("{} captures, {count} messages", DNS.len());
}

#[test]
fn arp_packets_equal_those_of_tshark() {
    let count = compare("arp_packets_equal_those_of_tshark", &ARP, our_arp, |file| {
        rows(file, ARP_FILTER, &ARP_FIELDS).iter().map(|row| row.join(" ")).collect()
    });
    println!("{} captures, {count} packets", ARP.len());
}

#[test]
fn neighbour_discovery_equals_that_of_tshark() {
    let count = compare("neighbour_discovery_equals_that_of_tshark", &ND, our_nd, |file| {
        rows(file, ND_FILTER, &ND_FIELDS).iter().map(|row| their_nd(row)).collect()
    });
    println!("{} captures, {count} messages", ND.len());
}

/// Compares the events of each capture, one by one, and returns how many there were; none when it could not run.
fn compare(
    test: &str,
    list: &[&str],
    ours: impl Fn(&Value) -> Option<String> + Sync,
    theirs: impl Fn(&Path) -> Vec<String> + Sync,
) -> usize {
    let Some(folder) = captures().filter(|_| installed("tshark")) else {
        not_run(test, if installed("tshark") { ABSENT } else { "tshark is not installed" });
        return 0;
    };
    let results = pool::map(list, |path| {
        let file = folder.join(path);
        let flags = ["replay", "--format", "jsonl", "--events"].map(AsRef::as_ref);
        let ours: Vec<String> =
            run(flags.into_iter().chain([file.as_os_str()])).json().iter().filter_map(&ours).collect();
        let theirs = theirs(&file);
        let wrong = match ours.iter().zip(&theirs).enumerate().find(|(_, (ours, theirs))| ours != theirs) {
            Some((at, (ours, theirs))) => Some(format!("{path}: event {at}: {ours}, not {theirs}")),
            None if ours.len() != theirs.len() => Some(format!("{path}: {} events, not {}", ours.len(), theirs.len())),
            None if ours.is_empty() => Some(format!("{path}: no event")),
            None => None,
        };
        (ours.len(), wrong)
    });
    let count = results.iter().map(|(count, _)| count).sum();
    let wrong: Vec<String> = results.into_iter().filter_map(|(_, wrong)| wrong).collect();
    assert!(wrong.is_empty(), "{} captures differ:\n{}", wrong.len(), wrong.join("\n"));
    count
}

/// Number, direction, response code, names and answers of a DNS line.
fn our_dns(line: &Value) -> Option<String> {
    if line["type"] != "dns" {
        return None;
    }
    let response = line["response"].as_bool().expect("response");
    let rcode = if response { line["rcode"].as_u64().expect("rcode") } else { 0 };
    let names: Vec<&str> = line["questions"].as_array().expect("questions").iter().map(|q| text(&q["name"])).collect();
    let names = unescaped(&names.join("|"));
    Some(format!("{} {response} {rcode} {names} {}", line["id"], line["answers"]))
}

/// tshark prints every byte of a name as it is: `\DDD` and `\X` back to what they stand for.
fn unescaped(names: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = names.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..3).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
        let byte;
        (byte, rest) = match (first, digits, behind) {
            (b'\\', Some(byte), _) => (byte, &behind[3..]),
            (b'\\', None, [escaped, behind @ ..]) => (*escaped, behind),
            _ => (first, behind),
        };
        bytes.push(byte);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn their_dns(row: &[String]) -> String {
    let [id, response, rcode, names, answers] = row else { panic!("{row:?}") };
    let id = u16::from_str_radix(id.trim_start_matches("0x"), 16).expect("an id");
    let response = matches!(response.as_str(), "1" | "True");
    let rcode = if response { rcode.as_str() } else { "0" };
    // In a dynamic update (RFC 2136) the field has another name.
    let answers = if answers.is_empty() { "0" } else { answers };
    format!("{id} {response} {rcode} {} {answers}", names.replace("<Root>", ""))
}

fn our_arp(line: &Value) -> Option<String> {
    if line["type"] != "arp" {
        return None;
    }
    let fields = ["sender_mac", "sender_ip", "target_mac", "target_ip", "frame_source", "frame_destination"];
    let fields: Vec<&str> = fields.iter().map(|field| text(&line[*field])).collect();
    Some(format!("{} {}", line["operation"], fields.join(" ")))
}

fn our_nd(line: &Value) -> Option<String> {
    if line["type"] != "nd" {
        return None;
    }
    let fields = ["target", "source", "destination", "frame_source", "frame_destination"];
    let fields: Vec<&str> = fields.iter().map(|field| text(&line[*field])).collect();
    let link_layer = line["link_layer"].as_str().unwrap_or("-");
    Some(format!("{} {} {link_layer} {}", line["kind"], line["overrides"], fields.join(" ")))
}

fn their_nd(row: &[String]) -> String {
    let [kind, overrides, link_layer, asked, claimed, rest @ ..] = row else { panic!("{row:?}") };
    let overrides = matches!(overrides.as_str(), "1" | "True");
    let link_layer = if link_layer.is_empty() { "-" } else { link_layer };
    format!("{kind} {overrides} {link_layer} {asked}{claimed} {}", rest.join(" "))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

/// What tshark prints of the frames that pass the filter; several values of a field are joined by `|`.
fn rows(capture: &Path, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=|", "-Y", filter]);
    command.args(fields.iter().flat_map(|field| ["-e", field])).arg("-r").arg(capture);
    let text = String::from_utf8_lossy(&collect(command, &[]).stdout).into_owned();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}
