//! What a port is registered for: a guess at the service where its content does not say it, and the one name of both.
//!
//! Names are those of IANA's "Service Name and Transport Protocol Port Number Registry". Of its 12,000 entries these are the ones
//! that are met on networks: most others are of products nobody runs any more, and a client's ephemeral port that got such a
//! name would say something wrong.

use nta_common::packet::proto;

use super::Service;

/// The service that is registered for this port.
pub fn registered(protocol: u8, port: u16) -> Option<&'static str> {
    let table = match protocol {
        proto::TCP => TCP,
        proto::UDP | proto::UDP_LITE => UDP,
        proto::SCTP => SCTP,
        _ => return None,
    };
    table.binary_search_by_key(&port, |(port, _)| *port).ok().map(|at| table[at].1)
}

/// Of the originator's and the responder's port that of who was asked; of a conversation whose beginning was not seen the one
/// that has a name.
pub fn server_port(protocol: u8, [orig, resp]: [u16; 2]) -> u16 {
    let is_named = |port| registered(protocol, port).is_some();
    if !is_named(resp) && is_named(orig) { orig } else { resp }
}

/// The one name of a flow's service: what its content says, else what its port (of originator or responder) is registered for. Of
/// encryption, whose content names what is encrypted by nothing, the port says more. `None` where neither says anything.
pub fn service_name(protocol: u8, ports: [u16; 2], content: Option<Service>) -> Option<&'static str> {
    let by_port = registered(protocol, server_port(protocol, ports));
    match content {
        Some(Service::Ssl | Service::Dtls | Service::Quic) if by_port.is_some_and(|name| ENCRYPTED.contains(&name)) => {
            by_port
        }
        Some(content) => Some(content.name()),
        None => by_port.map(|name| SAME.iter().find(|(registered, _)| *registered == name).map_or(name, |same| same.1)),
    }
}

/// Registered names of what is encrypted from its first byte on.
const ENCRYPTED: [&str; 19] = [
    "https",
    "nntps",
    "ldaps",
    "domain-s",
    "ftps-data",
    "ftps",
    "telnets",
    "imaps",
    "pop3s",
    "docker-s",
    "msft-gc-ssl",
    "sips",
    "stuns",
    "amqps",
    "coaps",
    "wsmans",
    "syslog-tls",
    "ircs-u",
    "secure-mqtt",
];

/// Registered names for which content has another word.
const SAME: [(&str, &str); 12] = [
    ("domain", "dns"),
    ("mdns", "dns"),
    ("llmnr", "dns"),
    ("bootps", "dhcp"),
    ("bootpc", "dhcp"),
    ("iso-tsap", "cotp"),
    ("dnp", "dnp3_tcp"),
    ("mbap", "modbus"),
    ("memcache", "memcached"),
    ("ms-sql-s", "mssql"),
    ("ms-wbt-server", "rdp"),
    ("ircu", "irc"),
];

const TCP: &[(u16, &str)] = &[
    (7, "echo"),
    (9, "discard"),
    (13, "daytime"),
    (17, "qotd"),
    (19, "chargen"),
    (20, "ftp-data"),
    (21, "ftp"),
    (22, "ssh"),
    (23, "telnet"),
    (25, "smtp"),
    (37, "time"),
    (43, "whois"),
    (49, "tacacs"),
    (53, "domain"),
    (70, "gopher"),
    (79, "finger"),
    (80, "http"),
    (88, "kerberos"),
    (102, "iso-tsap"),
    (110, "pop3"),
    (111, "sunrpc"),
    (113, "ident"),
    (119, "nntp"),
    (123, "ntp"),
    (135, "epmap"),
    (137, "netbios-ns"),
    (138, "netbios-dgm"),
    (139, "netbios-ssn"),
    (143, "imap"),
    (161, "snmp"),
    (162, "snmptrap"),
    (179, "bgp"),
    (194, "irc"),
    (389, "ldap"),
    (427, "svrloc"),
    (443, "https"),
    (445, "microsoft-ds"),
    (464, "kpasswd"),
    (500, "isakmp"),
    (502, "mbap"),
    (512, "exec"),
    (513, "login"),
    (514, "shell"),
    (515, "printer"),
    (554, "rtsp"),
    (563, "nntps"),
    (587, "submission"),
    (623, "asf-rmcp"),
    (631, "ipp"),
    (636, "ldaps"),
    (639, "msdp"),
    (646, "ldp"),
    (700, "epp"),
    (830, "netconf-ssh"),
    (853, "domain-s"),
    (860, "iscsi"),
    (873, "rsync"),
    (989, "ftps-data"),
    (990, "ftps"),
    (992, "telnets"),
    (993, "imaps"),
    (995, "pop3s"),
    (1080, "socks"),
    (1194, "openvpn"),
    (1352, "lotusnote"),
    (1433, "ms-sql-s"),
    (1434, "ms-sql-m"),
    (1701, "l2tp"),
    (1720, "h323hostcall"),
    (1723, "pptp"),
    (1812, "radius"),
    (1813, "radius-acct"),
    (1883, "mqtt"),
    (2049, "nfs"),
    (2375, "docker"),
    (2376, "docker-s"),
    (2379, "etcd-client"),
    (2380, "etcd-server"),
    (3260, "iscsi-target"),
    (3268, "msft-gc"),
    (3269, "msft-gc-ssl"),
    (3283, "net-assistant"),
    (3306, "mysql"),
    (3389, "ms-wbt-server"),
    (3478, "stun"),
    (3690, "svn"),
    (3702, "ws-discovery"),
    (3868, "diameter"),
    (4500, "ipsec-nat-t"),
    (4840, "opcua-tcp"),
    (5004, "avt-profile-1"),
    (5005, "avt-profile-2"),
    (5060, "sip"),
    (5061, "sips"),
    (5222, "xmpp-client"),
    (5349, "stuns"),
    (5353, "mdns"),
    (5355, "llmnr"),
    (5432, "postgresql"),
    (5671, "amqps"),
    (5672, "amqp"),
    (5683, "coap"),
    (5684, "coaps"),
    (5900, "rfb"),
    (5985, "wsman"),
    (5986, "wsmans"),
    (6000, "x11"),
    (6379, "redis"),
    (6514, "syslog-tls"),
    (6667, "ircu"),
    (6697, "ircs-u"),
    (8008, "http-alt"),
    (8080, "http-alt"),
    (8140, "puppet"),
    (8883, "secure-mqtt"),
    (9042, "cql"),
    (9100, "pdl-datastream"),
    (9418, "git"),
    (10050, "zabbix-agent"),
    (10051, "zabbix-trapper"),
    (11211, "memcache"),
    (20000, "dnp"),
    (27017, "mongodb"),
    (44818, "EtherNet-IP-2"),
    (47808, "bacnet"),
];

const UDP: &[(u16, &str)] = &[
    (7, "echo"),
    (9, "discard"),
    (13, "daytime"),
    (17, "qotd"),
    (19, "chargen"),
    (37, "time"),
    (49, "tacacs"),
    (53, "domain"),
    (67, "bootps"),
    (68, "bootpc"),
    (69, "tftp"),
    (88, "kerberos"),
    (111, "sunrpc"),
    (123, "ntp"),
    (135, "epmap"),
    (137, "netbios-ns"),
    (138, "netbios-dgm"),
    (139, "netbios-ssn"),
    (161, "snmp"),
    (162, "snmptrap"),
    (319, "ptp-event"),
    (320, "ptp-general"),
    (389, "ldap"),
    (427, "svrloc"),
    (443, "https"),
    (445, "microsoft-ds"),
    (464, "kpasswd"),
    (500, "isakmp"),
    (514, "syslog"),
    (520, "router"),
    (521, "ripng"),
    (546, "dhcpv6-client"),
    (547, "dhcpv6-server"),
    (554, "rtsp"),
    (623, "asf-rmcp"),
    (636, "ldaps"),
    (853, "domain-s"),
    (1194, "openvpn"),
    (1433, "ms-sql-s"),
    (1434, "ms-sql-m"),
    (1701, "l2tp"),
    (1812, "radius"),
    (1813, "radius-acct"),
    (1900, "ssdp"),
    (2049, "nfs"),
    (2123, "gtp-control"),
    (2152, "gtp-user"),
    (3283, "net-assistant"),
    (3389, "ms-wbt-server"),
    (3478, "stun"),
    (3544, "teredo"),
    (3702, "ws-discovery"),
    (3784, "bfd-control"),
    (3785, "bfd-echo"),
    (3868, "diameter"),
    (4341, "lisp-data"),
    (4342, "lisp-control"),
    (4500, "ipsec-nat-t"),
    (4739, "ipfix"),
    (4784, "bfd-multi-ctl"),
    (4789, "vxlan"),
    (4790, "vxlan-gpe"),
    (5004, "avt-profile-1"),
    (5005, "avt-profile-2"),
    (5060, "sip"),
    (5061, "sips"),
    (5222, "xmpp-client"),
    (5246, "capwap-control"),
    (5247, "capwap-data"),
    (5349, "stuns"),
    (5353, "mdns"),
    (5355, "llmnr"),
    (5683, "coap"),
    (5684, "coaps"),
    (6081, "geneve"),
    (6343, "sflow"),
    (6379, "redis"),
    (6635, "mpls-udp"),
    (6653, "openflow"),
    (8080, "http-alt"),
    (9100, "pdl-datastream"),
    (10050, "zabbix-agent"),
    (10051, "zabbix-trapper"),
    (11211, "memcache"),
    (20000, "dnp"),
    (34964, "profinet-cm"),
    (47808, "bacnet"),
];

const SCTP: &[(u16, &str)] = &[
    (22, "ssh"),
    (80, "http"),
    (179, "bgp"),
    (443, "https"),
    (2905, "m3ua"),
    (2944, "megaco-h248"),
    (2945, "h248-binary"),
    (3868, "diameter"),
    (4739, "ipfix"),
    (5060, "sip"),
    (5061, "sips"),
    (9899, "sctp-tunneling"),
    (36412, "s1-control"),
    (36422, "x2-control"),
    (38412, "ng-control"),
    (38422, "xn-control"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_their_names_and_tables_are_in_order() {
        for table in [TCP, UDP, SCTP] {
            assert!(table.is_sorted_by(|(one, _), (other, _)| one < other));
        }
        assert_eq!((registered(proto::TCP, 443), registered(proto::UDP, 53)), (Some("https"), Some("domain")));
        assert_eq!((registered(proto::UDP, 22), registered(proto::ICMP, 8)), (None, None));
    }

    #[test]
    fn a_flow_has_one_name_by_content_or_port() {
        let name = |ports, content| service_name(proto::TCP, ports, content);
        assert_eq!(name([40_000, 80], None), Some("http"));
        assert_eq!(name([40_000, 3306], Some(Service::Mysql)), name([3306, 40_000], None));
        assert_eq!(name([40_000, 443], Some(Service::Ssl)), name([40_000, 443], None), "before and after it was seen");
        assert_eq!(name([40_000, 80], Some(Service::Ssl)), Some("ssl"), "not what the port says");
        assert_eq!(name([40_000, 8080], Some(Service::Http)), Some("http"));
        assert_eq!(
            service_name(proto::UDP, [40_000, 53], Some(Service::Dns)),
            service_name(proto::UDP, [40_000, 53], None)
        );
        assert_eq!((name([40_000, 40_001], None), service_name(proto::ICMP, [8, 0], None)), (None, None));
        for (registered, content) in SAME {
            assert!(Service::ALL.iter().any(|service| service.name() == content), "{content}");
            assert!([TCP, UDP].concat().iter().any(|(_, name)| *name == registered), "{registered}");
        }
    }

    /// Debian's /etc/services (package netbase) follows the registry too.
    #[test]
    fn names_are_those_of_the_systems_table() {
        // Renamed in the registry, or one of two names there.
        const OTHERS: [&str; 8] = ["auth", "imap2", "snmp-trap", "sip-tls", "ircd", "route", "l2f", "kerberos"];
        let Ok(text) = std::fs::read_to_string("/etc/services") else {
            return println!("not run: names_are_those_of_the_systems_table: no /etc/services");
        };
        let mut compared = 0;
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(name), Some((port, protocol))) =
                (words.next(), words.next().and_then(|word| word.split_once('/')))
            else {
                continue;
            };
            let number = match protocol {
                "tcp" => proto::TCP,
                "udp" => proto::UDP,
                "sctp" => proto::SCTP,
                _ => continue,
            };
            if let Some(own) = port.parse().ok().and_then(|port| registered(number, port)) {
                compared += 1;
                assert!(own == name || OTHERS.contains(&name), "{port}/{protocol}: {own} is {name}");
            }
        }
        assert!(compared > 80, "{compared}");
    }
}
