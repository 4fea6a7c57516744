//! The services, by name.

macro_rules! services {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// What a flow's first bytes say it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Service {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Service {
            /// All of them, in the order of the declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name: Zeek's, where Zeek has one.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

services! {
    /// Advanced Message Queuing Protocol.
    Amqp = "amqp",
    /// BitTorrent: peers, uTP, the distributed table and trackers over UDP.
    BitTorrent = "bittorrent",
    /// ISO transport over TCP, as S7 speaks it.
    Cotp = "cotp",
    /// Dynamic Host Configuration Protocol.
    Dhcp = "dhcp",
    /// DNP3.
    Dnp3 = "dnp3_tcp",
    /// DNS, also multicast and link-local.
    Dns = "dns",
    /// TLS over datagrams.
    Dtls = "dtls",
    /// File Transfer Protocol, the control connection.
    Ftp = "ftp",
    /// HTTP, of any version without encryption.
    Http = "http",
    /// Internet Message Access Protocol.
    Imap = "imap",
    /// Internet Relay Chat.
    Irc = "irc",
    /// Lightweight Directory Access Protocol.
    Ldap = "ldap_tcp",
    /// The same without connections.
    LdapUdp = "ldap_udp",
    /// memcached, text or binary.
    Memcached = "memcached",
    /// Modbus over TCP.
    Modbus = "modbus",
    /// MQTT.
    Mqtt = "mqtt",
    /// Microsoft SQL Server.
    Mssql = "mssql",
    /// MySQL and MariaDB.
    Mysql = "mysql",
    /// Network Time Protocol.
    Ntp = "ntp",
    /// Post Office Protocol.
    Pop3 = "pop3",
    /// PostgreSQL.
    Postgresql = "postgresql",
    /// QUIC.
    Quic = "quic",
    /// Remote Desktop Protocol.
    Rdp = "rdp",
    /// Redis.
    Redis = "redis",
    /// Remote frame buffer (VNC).
    Rfb = "rfb",
    /// rsync's daemon.
    Rsync = "rsync",
    /// Real-time Transport Protocol.
    Rtp = "rtp",
    /// Real Time Streaming Protocol.
    Rtsp = "rtsp",
    /// Session Initiation Protocol.
    Sip = "sip",
    /// Server Message Block.
    Smb = "smb",
    /// Simple Mail Transfer Protocol.
    Smtp = "smtp",
    /// Simple Network Management Protocol.
    Snmp = "snmp",
    /// SOCKS.
    Socks = "socks",
    /// Simple Service Discovery Protocol.
    Ssdp = "ssdp",
    /// Secure Shell.
    Ssh = "ssh",
    /// TLS and SSL.
    Ssl = "ssl",
    /// STUN and TURN.
    Stun = "stun",
    /// Telnet.
    Telnet = "telnet",
    /// WireGuard.
    WireGuard = "wireguard",
    /// XMPP.
    Xmpp = "xmpp",
}
