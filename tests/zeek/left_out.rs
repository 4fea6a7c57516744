//! Logs that Zeek made of something else than the capture's packets, each with what its test says.

/// Tests of Zeek whose logs are of several captures, with the one that each log is of.
const SEVERAL: &[(&str, &str, &str)] = &[
    ("core.conn-size-flip/", "conn.log.ctu", "ctu-64702-888.pcap"),
    ("core.conn-size-flip/", "conn.log.one-sided", "one-sided-2745.pcap"),
    ("core.print-bpf-filters/", "conn.log", "mixed-vlan-mpls.pcap"),
    ("core.tcp.rxmit-history/", "conn-1.log", "retransmit-fast009.pcap"),
    ("core.tcp.rxmit-history/", "conn-2.log", "wikipedia.pcap"),
    (
        "scripts.base.frameworks.analyzer.request-response-protocol-differences/",
        "conn-https-to-http.log",
        "https-to-http.pcap",
    ),
    (
        "scripts.base.frameworks.analyzer.request-response-protocol-differences/",
        "conn-http-to-ssh.log",
        "http-to-ssh.pcap",
    ),
    ("scripts.base.protocols.modbus.events/", "conn-first.log", "modbus.pcap"),
    ("scripts.base.protocols.modbus.events/", "conn-second.log", "modbus-eit.pcap"),
    ("scripts.policy.protocols.conn.mac-logging/", "conn1.log", "wikipedia.pcap"),
    ("scripts.policy.protocols.conn.mac-logging/", "conn2.log", "radiotap.pcap"),
    ("scripts.policy.protocols.conn.mac-logging/", "conn3.log", "llc.pcap"),
    ("scripts.policy.protocols.conn.speculative-service/", "conn-post-large.log", "http-post-large.pcap"),
    ("scripts.policy.protocols.conn.speculative-service/", "conn-wiki.log", "wikipedia.pcap"),
    ("spicy.replaces/", "conn.log", "ssh-on-port-80.pcap"),
];

/// Tests that make Zeek see other packets than the capture's, or forget some of them.
const OTHERWISE: &[(&str, &str)] = &[
    ("core.expire-all-timers/conn-limited", "a script that holds time-outs back"),
    ("core.pcap.dynamic-filter/", "a script that filters packets"),
    ("core.pcap.read-trace-with-filter/", "-f \"port 50000\""),
    ("core.print-bpf-filters/", "PacketFilter::restricted_filter=\"vlan\""),
    ("core.skip_analyzer/", "a script that switches an analyzer off"),
    ("scripts.base.files.mime.mime-content-hash/", "-f \"tcp port 25\""),
    ("scripts.base.frameworks.analyzer.request-analyzer/", "-f \"port 53 or port 80\""),
    ("scripts.base.frameworks.netcontrol.packetfilter/", "a script that drops packets"),
    ("scripts.policy.frameworks.conn_key.vlan_fivetuple", "a script that distinguishes connections by VLAN"),
];

/// Cut logs whose columns are not named in them, with the columns of the test's `zeek-cut`.
const CUT: &[(&str, &str)] = &[(
    "scripts.policy.protocols.conn.community-id-logging",
    "id.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tcommunity_id",
)];

/// Whether this log is of another capture of the same test.
pub(crate) fn is_of_another(capture: &str, log: &str) -> bool {
    SEVERAL.iter().any(|(test, name, of)| log.starts_with(test) && log.ends_with(name) && !capture.ends_with(of))
}

/// Why this log is not compared.
pub(crate) fn reason(log: &str) -> Option<&'static str> {
    OTHERWISE.iter().find(|(test, _)| log.starts_with(test)).map(|(_, reason)| *reason)
}

/// The columns of a log that does not name them.
pub(crate) fn columns(log: &str) -> Option<&'static str> {
    CUT.iter().find(|(test, _)| log.starts_with(test)).map(|(_, columns)| *columns)
}
