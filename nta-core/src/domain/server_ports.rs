//! Ports at which Zeek expects a server: `likely_server_ports` with all that its standard scripts add to it.
//!
//! The scripts are those that the reference of `likely_server_ports` lists (docs.zeek.org, scripts/base/init-bare.zeek);
//! MySQL, PostgreSQL and POP3 have analyzers, but are not among them.

use nta_common::packet::proto;

/// Sorted, each with the script that adds it.
const TCP: &[u16] = &[
    21,    // ftp
    22,    // ssh
    25,    // smtp
    53,    // dns
    79,    // finger
    80,    // http
    81,    // http
    88,    // krb
    135,   // dce-rpc
    139,   // smb
    143,   // imap
    389,   // ldap
    443,   // ssl
    445,   // smb
    502,   // modbus
    563,   // ssl: nntps
    585,   // ssl: imap4-ssl
    587,   // smtp
    614,   // ssl: sshell
    631,   // http: ipp
    636,   // ssl: ldaps
    989,   // ssl: ftps-data
    990,   // ssl: ftps
    992,   // ssl: telnets
    993,   // ssl: imaps
    995,   // ssl: pop3s
    1080,  // http, socks
    1883,  // mqtt
    2811,  // ftp: gridftp
    3128,  // http
    3268,  // ldap: global catalog
    3389,  // rdp
    5222,  // xmpp
    5223,  // ssl: xmpps
    5269,  // xmpp
    6666,  // irc
    6667,  // irc
    6668,  // irc
    6669,  // irc
    8000,  // http
    8080,  // http
    8888,  // http
    20000, // dnp3
];

/// Sorted, each with the script that adds it.
const UDP: &[u16] = &[
    53,    // dns
    67,    // dhcp, without the client's 68
    88,    // krb
    123,   // ntp
    137,   // dns: netbios names
    161,   // snmp
    162,   // snmp
    389,   // ldap
    443,   // ssl: dtls
    514,   // syslog
    1812,  // radius
    2123,  // gtpv1
    2152,  // gtpv1
    3389,  // rdp: rdpeudp
    3544,  // teredo
    4789,  // vxlan
    5060,  // sip
    5072,  // ayiya
    5353,  // dns: mdns
    5355,  // dns: llmnr
    6081,  // geneve
    20000, // dnp3
];

/// Whether Zeek expects a server there.
pub(super) fn is_server_port(proto: u8, port: u16) -> bool {
    let ports = if proto == proto::TCP { TCP } else { UDP };
    ports.binary_search(&port).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_can_be_searched() {
        assert!(TCP.is_sorted() && UDP.is_sorted());
        assert!(is_server_port(proto::TCP, 80) && !is_server_port(proto::UDP, 80));
        assert!(is_server_port(proto::UDP, 67) && !is_server_port(proto::UDP, 68));
    }
}
