//! Each service by its bytes, and what has no name.

use super::*;

fn named(is_udp: bool, port: u16, client: &[u8], server: &[u8]) -> Option<&'static str> {
    seen(is_udp, port, client, server, true)
}

fn seen(is_udp: bool, port: u16, client: &[u8], server: &[u8], from_start: bool) -> Option<&'static str> {
    let openings = [client, server].map(|bytes| Opening::of(bytes, from_start));
    let proto = if is_udp { proto::UDP } else { proto::TCP };
    let beginning = Beginning { proto, ports: [40_000, port], openings: openings.each_ref() };
    Service::of(&beginning).map(Service::name)
}

#[test]
fn a_name_reads_back() {
    for service in Service::ALL {
        assert_eq!(Service::parse(service.name()), Some(*service));
    }
    assert_eq!(Service::parse("gopher"), None);
}

/// At a port that says nothing.
#[test]
fn a_stream_is_named_at_any_port() {
    let cases: &[(&str, &[u8], &[u8])] = &[
        ("ssh", b"SSH-2.0-OpenSSH_9.2", b"SSH-2.0-dropbear"),
        ("ssh", b"", b"SSH-1.99-x"),
        ("ssl", b"\x16\x03\x01\x02\0\x01\0\x01", b"\x16\x03\x03\0\x7a\x02\0\0"),
        ("ssl", b"\x16\x03\0\0\x5a\x01\0\0", b""),
        ("ssl", b"\x80\x67\x01\x03\0\0\x4e\0", b""),
        ("ssl", b"\x80\x2e\x01\0\x02\0\x15\0", b""),
        ("ssl", b"", b"\x15\x03\x01\0\x02\x02\x28"),
        ("http", b"GET / HTTP/1.1", b"HTTP/1.1 200 OK"),
        ("http", b"OPTIONS * HTTP/1.1", b""),
        ("http", b"", b"HTTP/1.0 400"),
        ("http", b"PRI * HTTP/2.0", b"\0\0\x12\x04\0\0\0\0"),
        ("smtp", b"EHLO here", b"220 mail.example"),
        ("ftp", b"USER anonymous", b"220 (vsFTPd 3.0)"),
        ("ftp", b"AUTH TLS\r\n", b"220-hello"),
        ("pop3", b"USER alice", b"+OK ready"),
        ("imap", b"a1 LOGIN", b"* OK IMAP4"),
        ("smb", b"\0\0\0\x85\xffSMB", b""),
        ("smb", b"\0\0\0\xc0\xfeSMB", b"\0\0\0\xf8\xfeSMB"),
        ("rdp", b"\x03\0\0\x13\x0e\xe0\0\0", b"\x03\0\0\x13\x0e\xd0\0\0"),
        ("rdp", b"\x03\0\0\x2b\x26\xe0\0\0", b""),
        ("cotp", b"\x03\0\0\x16\x11\xe0\0\0", b""),
        ("telnet", b"", b"\xff\xfd\x18\xff\xfd\x20\xff\xfd"),
        ("telnet", b"\xff\xfb\x1f", b"login: "),
        ("mysql", b"", b"\x4a\0\0\0\x0a8.0"),
        ("mysql", b"", b"\x45\0\0\0\xff\x6a\x04H"),
        ("postgresql", b"\0\0\0\x54\0\x03\0\0", b"R"),
        ("postgresql", b"\0\0\0\x08\x04\xd2\x16\x2f", b"N"),
        ("mssql", b"\x12\x01\0\x2f\0\0\x01\0", b"\x04\x01\0\x25\0\0\x01\0"),
        ("redis", b"*1\r\n$4\r\nPING", b"+PONG\r\n"),
        ("redis", b"KEYS *\r\n", b"-NOAUTH Authentication"),
        ("mqtt", b"\x10\x1a\0\x04MQTT", b"\x20\x02\0\0"),
        ("mqtt", b"\x10\x9a\x01\0\x04MQTT", b""),
        ("amqp", b"AMQP\0\0\x09\x01", b""),
        ("bittorrent", b"\x13BitTorrent protocol", b""),
        ("rfb", b"", b"RFB 003.008\n"),
        ("ldap_tcp", b"\x30\x0c\x02\x01\x01\x60\x07\x02", b"\x30\x0c\x02\x01\x01\x61\x07\x0a"),
        ("modbus", b"\0\x01\0\0\0\x06\x01\x03", b"\0\x01\0\0\0\x05\x01\x03"),
        ("modbus", b"\0\x01\0\0\0\x06\x01\x03", b"\0\x01\0\0\0\x03\x01\x83"),
        ("memcached", b"get key\r\n", b"END\r\n"),
        ("stun", b"\0\x01\0\0\x21\x12\xa4\x42", b""),
        ("sip", b"REGISTER sip:x", b"SIP/2.0 200"),
        ("sip", b"OPTIONS sip:x", b"SIP/2.0 200"),
        ("rtsp", b"OPTIONS rtsp:", b"RTSP/1.0 200"),
        ("socks", b"\x05\x01\0", b"\x05\0"),
        ("dns", b"\0\x1d\x12\x34\x01\0\0\x01", b"\0\x2d\x12\x34\x81\x80\0\x01"),
    ];
    for (service, client, server) in cases {
        assert_eq!(named(false, 902, client, server), Some(*service), "{client:?} {server:?}");
    }
}

#[test]
fn a_datagram_is_named() {
    let cases: &[(&str, u16, &[u8], &[u8])] = &[
        ("quic", 902, b"\xc3\0\0\0\x01\x08\x11\x22", b""),
        ("quic", 902, b"\xc9Q050\x08\x11\x22", b""),
        ("stun", 902, b"\0\x01\0\x50\x21\x12\xa4\x42", b""),
        ("rtp", 20_000, b"\x80\x00\x12\x34\0\0\0\xa0", b"\x80\x80\x56\x78\0\0\x01\x40"),
        ("dns", 902, b"\x12\x34\x01\0\0\x01\0\0", b"\x12\x34\x81\x80\0\x01\0\x01"),
        ("dns", 53, b"\x12\x34\x01\0\0\x01\0\0", b""),
        ("ntp", 123, b"\x23\0\x06\xec\0\0\0\0", b"\x24\x02\x06\xec\0\0\0\0"),
        ("snmp", 902, b"\x30\x29\x02\x01\x01\x04\x06pu", b""),
        ("snmp", 902, b"\x30\x3e\x02\x01\x03\x30\x11\x02", b""),
        ("dhcp", 67, b"\x01\x01\x06\0\x39\x03\xf3\x26", b""),
        ("sip", 902, b"OPTIONS sip:", b""),
        ("bittorrent", 902, b"d1:ad2:id20:", b""),
        ("bittorrent", 902, b"\x41\0\x12\x34\0\0\0\0", b"\x21\0\x12\x34\0\0\0\0"),
        ("bittorrent", 902, b"\0\0\x04\x17\x27\x10\x19\x80", b""),
        ("ldap_udp", 389, b"\x30\x3d\x02\x01\x01\x63\x38\x04", b""),
        ("dtls", 902, b"\x16\xfe\xfd\0\0\0\0\0", b""),
        ("ssdp", 1900, b"M-SEARCH * HTTP", b""),
        ("memcached", 11211, b"\0\x07\0\0\0\x01\0\0", b"\0\x07\0\x02\0\x09\0\0"),
        ("memcached", 11211, b"\0\0\0\0\0\x01\0\0", b""),
        ("memcached", 11211, b"", b"\0\x07\0\0\0\x09\0\0"),
        ("dns", 137, b"\x80\x12\x29\x10\0\x01\0\0", b""),
        ("dns", 137, b"\x80\x12\x40\x10\0\x01\0\0", b""),
        ("dns", 5353, b"\0\0\x84\0\0\0\0\x03", b""),
        ("dns", 53, b"\x12\x34\x28\0\0\x01\0\0", b"\x12\x34\xa8\x05\0\x01\0\0"),
    ];
    for (service, port, client, server) in cases {
        assert_eq!(named(true, *port, client, server), Some(*service), "{client:?} {server:?}");
    }
}

#[test]
fn what_says_nothing_has_no_name() {
    let streams: &[(u16, &[u8], &[u8])] = &[
        (22, b"", b""),
        (80, b"\0\0\0\0\0\0\0\0", b""),
        (443, b"\x16\x03", b""),
        (902, b"", b"220 VMware Authentication"),
        (902, b"USER x", b""),
        (445, b"\0\0\0\x85", b""),
        (5432, b"\0\0\0\x54\0\x02\0\0", b""),
        (23, b"\xff\xff\xff", b"hello"),
        (502, b"\0\x01\0\0\0\x06\x01\x03", b"hello"),
    ];
    for (port, client, server) in streams {
        assert_eq!(named(false, *port, client, server), None, "{client:?} {server:?}");
    }
    let datagrams: &[(u16, &[u8], &[u8])] = &[
        (20_000, b"\x80\x00\x12\x34\0\0\0\xa0", b""),
        (902, b"\x23\0\x06\xec\0\0\0\0", b"\x24\x02\x06\xec\0\0\0\0"),
        (902, b"\x12\x34\x01\0\0\x01\0\0", b"\x12\x35\x81\x80\0\x01\0\x01"),
        (902, b"GET / HTTP/1.1", b""),
        (53, b"\0\0\0\0\0\0\0\0", b""),
        (53, b"\0\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\0"),
        (53, b"\x12\x34\x40\x10\0\x01\0\0", b""),
        (11211, b"\0\0\0\0\0\0\0\0", b""),
        (11211, b"\0\x07\0\0\0\x01\0\0", b"\0\x08\0\0\0\x01\0\0"),
        (11211, b"hello", b""),
    ];
    for (port, client, server) in datagrams {
        assert_eq!(named(true, *port, client, server), None, "{client:?} {server:?}");
    }
}

/// Bytes from the middle of a stream name it only where nothing else sends them.
#[test]
fn the_middle_of_a_stream_is_named_by_what_is_unmistakable() {
    assert_eq!(seen(false, 902, b"\x17\x03\x03\0\x45\0\0\0", b"", false), Some("ssl"));
    assert_eq!(seen(false, 902, b"GET /next HTTP/1.1", b"", false), Some("http"));
    assert_eq!(seen(false, 902, b"", b"\0\0\0\x40\xfeSMB", false), Some("smb"));
    for (client, server) in [
        (&b"\0\x01\0\0\0\x06\x01\x03"[..], &b"\0\x01\0\0\0\x05\x01\x03"[..]),
        (b"*1\r\n$4\r\n", b"+OK\r\n"),
        (b"USER x", b"220 x"),
        (b"NOOP\r\n", b"200 OK\r\n"),
        (b"\x16\x03\x01\x02\0\x01\0\x01", b""),
        (b"\xff\xfb\x1f", b""),
    ] {
        for port in [21, 502, 902] {
            assert_eq!(seen(false, port, client, server, false), None, "{client:?}");
        }
    }
}
