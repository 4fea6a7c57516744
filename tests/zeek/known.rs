//! Logs that differ from ours: in how many connections, and why. The list may shrink, it may not grow.

const BARE: &str = "zeek -b knows no server ports: a lone SYN-ACK from port 80 is not turned round";
const CHECKSUMS: &str = "Zeek drops packets with bad checksums without -C; checksums are not looked at here";
const TUNNEL: &str = "inside a tunnel that is not opened: Aruba's";
const DEEPER: &str = "a third tunnel within two is not opened: the packet inside is not logged";
const EXTENSIONS: &str = "IPv6 extension headers count as payload of ICMP";
const FRAGMENTS: &str = "Zeek counts datagrams where fragments are counted here";
const ANALYZER: &str = "an analyzer or a script turns the direction round, or stops looking (DNS, NTP, NCP, GridFTP)";
const LIMIT: &str = "a limit of an analyzer is shown as X in the history";

/// Log, connections that differ, reason.
const KNOWN: &[(&str, usize, &str)] = &[
    ("core.checksums_ignore_nets/conn-failed.log", 2, CHECKSUMS),
    ("core.pppoe/conn.log", 1, EXTENSIONS),
    ("core.reporter-limit-reached-weird/conn.log", 1, LIMIT),
    ("core.tcp.bad-checksum-syn/conn.log", 1, CHECKSUMS),
    ("core.tunnels.ayiya/conn.log", 3, EXTENSIONS),
    ("core.tunnels.count-default-tunnel-changes/conn.log", 1, LIMIT),
    ("core.tunnels.geneve-inner-tcp-bad-checksum/conn.log", 1, CHECKSUMS),
    ("core.tunnels.gre-aruba-amsdu/conn.log", 1, TUNNEL),
    ("core.tunnels.gtp.different_dl_and_ul/conn.log", 1, FRAGMENTS),
    ("core.tunnels.gtp.outer_ip_frag/conn.log", 2, FRAGMENTS),
    ("core.tunnels.max-depth-exceeded/conn.log.cut", 1, LIMIT),
    ("core.tunnels.max-depth/conn.log.cut", 1, DEEPER),
    ("core.tunnels.teredo/conn.log", 2, "DNS over the same ports ends after 10 s in Zeek (dns_session_timeout)"),
    ("core.tunnels.vxlan-inner-tcp-bad-checksum/conn.log", 1, CHECKSUMS),
    ("core.tunnels.vxlan-unknown-internal-packet/conn.log", 3, CHECKSUMS),
    ("core.udp-corrupt/conn.log", 1, CHECKSUMS),
    ("core.vntag-in-vlan/conn.log", 1, "the TCP options are cut off: Zeek counts nothing"),
    ("scripts.base.frameworks.logging.field-extension-complex/conn.log", 1, BARE),
    ("scripts.base.frameworks.logging.field-extension-include-exclude/conn-exc.log", 1, BARE),
    ("scripts.base.frameworks.logging.field-extension-include-exclude/conn-inc.log", 1, BARE),
    ("scripts.base.frameworks.logging.field-extension-optional/conn.log", 1, BARE),
    ("scripts.base.frameworks.logging.field-extension/conn.log", 1, BARE),
    ("scripts.base.frameworks.logging.field-name-map/conn.log", 1, BARE),
    ("scripts.base.frameworks.logging.field-name-map2/conn.log", 1, CHECKSUMS),
    ("scripts.base.frameworks.logging.scope_sep/conn.log", 1, BARE),
    ("scripts.base.frameworks.logging.scope_sep_and_field_name_map/conn.log", 1, BARE),
    ("scripts.base.protocols.dns.max-compression-depth/conn.log", 1, ANALYZER),
    ("scripts.base.protocols.dns.max-queries/conn.log", 1, LIMIT),
    ("scripts.base.protocols.ftp.gridftp/conn.log", 1, ANALYZER),
    ("scripts.base.protocols.gnutella.max-header-length/conn.log", 1, LIMIT),
    ("scripts.base.protocols.gnutella.max-line-length/conn.log", 1, LIMIT),
    ("scripts.base.protocols.http.deeply-nested-mime/conn.log", 1, LIMIT),
    ("scripts.base.protocols.ldap.gap/conn.log", 1, "content gaps (g in the history) are not reported here"),
    (
        "scripts.base.protocols.ldap.sasl-signed-clear-2/conn.log",
        1,
        "an IP length of 0 (segmentation offload): Zeek counts 0 bytes, the frame's are counted here",
    ),
    ("scripts.base.protocols.ncp.frame_size_tuning/conn.log", 1, ANALYZER),
    ("scripts.base.protocols.ntp.misordered-ntp/conn.log", 1, ANALYZER),
    (
        "scripts.base.protocols.pop3.basic/conn.log",
        4,
        "several refused attempts from one port within a window are reported as one",
    ),
    ("scripts.base.protocols.ssh.max-kexinit-algorithms/conn.log", 1, LIMIT),
    ("scripts.policy.protocols.conn.mac-logging/conn1.log", 1, BARE),
];

/// How many connections of a log are known to differ, by reason.
pub(crate) fn differences(log: &str) -> impl Iterator<Item = (usize, &'static str)> {
    KNOWN.iter().filter(move |(name, ..)| *name == log).map(|(_, connections, reason)| (*connections, *reason))
}
