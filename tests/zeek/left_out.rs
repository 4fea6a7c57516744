//! Logs that cannot be compared, and why.

/// Captures whose link type or encapsulation is not looked into.
const LINKS: &[&str] = &[
    "parsing/zeek/llc.pcap",
    "parsing/zeek/radiotap.pcap",
    "parsing/zeek/wlanmon.pcap",
    "parsing/zeek/pbb.pcap",
    "parsing/zeek/cisco-fabric-path.pcap",
    "parsing/zeek/vntag.pcap",
    "parsing/zeek/vntag_vlan_sandwich_clean.pcap",
    "parsing/zeek/pppoe.pcap",
    "parsing/zeek/pppoe-over-qinq.pcap",
    "parsing/zeek/mixed-vlan-mpls.pcap",
    "parsing/zeek/mpls-in-vlan.pcap",
];

/// Tests of Zeek whose logs are of several captures, with the one that each log is of.
const SEVERAL: &[(&str, &str, &str)] = &[
    ("scripts.policy.protocols.conn.mac-logging", "conn1.log", "wikipedia.pcap"),
    ("scripts.policy.protocols.conn.mac-logging", "conn2.log", "radiotap.pcap"),
    ("scripts.policy.protocols.conn.mac-logging", "conn3.log", "llc.pcap"),
    ("core.tcp.rxmit-history", "conn-1.log", "retransmit-fast009.pcap"),
    ("core.tcp.rxmit-history", "conn-2.log", "wikipedia.pcap"),
    ("scripts.policy.protocols.conn.speculative-service", "conn-post-large.log", "http-post-large.pcap"),
    ("scripts.policy.protocols.conn.speculative-service", "conn-wiki.log", "wikipedia.pcap"),
    ("request-response-protocol-differences", "conn-https-to-http.log", "https-to-http.pcap"),
    ("request-response-protocol-differences", "conn-http-to-ssh.log", "http-to-ssh.pcap"),
    ("scripts.base.protocols.modbus.events", "conn-first.log", "modbus.pcap"),
    ("scripts.base.protocols.modbus.events", "conn-second.log", "modbus-eit.pcap"),
    ("spicy.replaces", "conn.log", "ssh-on-port-80.pcap"),
    ("core.print-bpf-filters", "conn.log", "mixed-vlan-mpls.pcap"),
];

/// Tests that run Zeek with a script or an option of their own that changes conn.log.
const OPTIONS: &[(&str, &str)] = &[
    ("core.checksums_ignore_nets/conn-failed", "packets with bad checksums dropped"),
    ("core.skip_analyzer/", "an analyzer switched off"),
    ("core.pcap.dynamic-filter/", "a capture filter"),
    ("core.pcap.read-trace-with-filter/", "a capture filter"),
    ("core.print-bpf-filters/", "a capture filter"),
    ("scripts.base.frameworks.analyzer.request-analyzer/", "packets and bytes not counted"),
    ("scripts.base.frameworks.netcontrol.packetfilter/", "a script that drops packets"),
    ("core.expire-all-timers/", "time-outs changed"),
];

/// Why this log is not compared with this capture.
pub(crate) fn reason(capture: &str, log: &str) -> Option<&'static str> {
    let is_of_another =
        |(test, name, of): &&(&str, &str, &str)| log.contains(test) && log.ends_with(name) && !capture.ends_with(of);
    if SEVERAL.iter().find(is_of_another).is_some() {
        return Some("of another capture of the same test");
    }
    if LINKS.contains(&capture) {
        return Some("link type or encapsulation not looked into");
    }
    if capture.contains("/tunnels/") || capture.contains("/erspan") || log.starts_with("core.tunnels.") {
        return Some("tunnel: Zeek logs the inner connections too");
    }
    OPTIONS.iter().find(|(test, _)| log.starts_with(test)).map(|(_, reason)| *reason)
}
