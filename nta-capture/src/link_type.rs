//! Link types: which are read, and what the others are called.
//!
//! Numbers and names: <https://www.tcpdump.org/linktypes.html>.

use std::fmt;

/// The number a capture gives its link layer, with the reserved bits of a pcap header, should one have set them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkType(u32);

/// How a frame's link header is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Ethernet,
    /// IPv4 or IPv6 by the version field.
    RawIp,
    Ipv4,
    Ipv6,
    Null,
    CookedV1,
    CookedV2,
    Ppp,
    CiscoHdlc,
    Fddi,
    Wireless,
    Radiotap,
    Unsupported(LinkType),
}

impl Link {
    /// The registered type of a frame with this header; where several numbers mean the same, one of them.
    pub(super) fn link_type(self, frame: &[u8]) -> LinkType {
        LinkType(match self {
            Self::Ethernet => 1,
            Self::RawIp => 101,
            Self::Ipv4 => 228,
            Self::Ipv6 => 229,
            // The address family in network order, or of a machine with the other byte order than ours.
            Self::Null if matches!(frame, [0, 0, _, _, ..]) => 108,
            Self::Null => 0,
            Self::CookedV1 => 113,
            Self::CookedV2 => 276,
            Self::Ppp => 9,
            Self::CiscoHdlc => 104,
            Self::Fddi => 10,
            Self::Wireless => 105,
            Self::Radiotap => 127,
            Self::Unsupported(link_type) => return link_type,
        })
    }
}

impl LinkType {
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// IPv4 or IPv6 without a header in front.
    pub const RAW: Self = Self(101);
    pub(super) const TOKEN_RING: Self = Self(6);
    pub(super) const FDDI: Self = Self(10);

    /// From a pcap file header: the top six bits hold the length of the frame check sequence (draft-ietf-opsawg-pcap section 4),
    /// which changes nothing here, since every length that counts is in the packet.
    pub(super) fn from_pcap_header(field: u32) -> Self {
        Self(field & 0x03ff_ffff)
    }

    pub(super) fn from_interface(field: i32) -> Self {
        Self(field.unsigned_abs() & 0xffff)
    }

    /// The number, as registered.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The one that frames of this type are called by, see [`Link::link_type`]; `None` for types that are not read.
    pub(super) fn canonical(self) -> Option<Self> {
        match self.link() {
            Link::Unsupported(_) => None,
            link => Some(link.link_type(&[])),
        }
    }

    pub(super) fn link(self) -> Link {
        match self.0 {
            1 => Link::Ethernet,
            // DLT_RAW has a different number on OpenBSD, and had on BSD/OS
            12 | 14 | 101 => Link::RawIp,
            228 => Link::Ipv4,
            229 => Link::Ipv6,
            0 | 108 => Link::Null,
            113 => Link::CookedV1,
            276 => Link::CookedV2,
            9 | 50 => Link::Ppp,
            104 => Link::CiscoHdlc,
            10 => Link::Fddi,
            105 => Link::Wireless,
            127 => Link::Radiotap,
            _ => Link::Unsupported(self),
        }
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(number, _)| *number == self.0).map(|(_, name)| name);
        match name {
            Some(name) => write!(f, "link type {} ({name})", self.0),
            None if self.0 > 0xffff => write!(f, "link type {:#010x} (reserved bits set)", self.0),
            None => write!(f, "link type {}", self.0),
        }
    }
}

/// For messages: what [`LinkType::link`] supports.
pub(super) const SUPPORTED: &str = "Ethernet, raw IP, Linux cooked, BSD loopback, PPP, Cisco HDLC, FDDI and 802.11";

/// What captures of other links are called.
const NAMES: &[(u32, &str)] = &[
    (0, "NULL"),
    (1, "ETHERNET"),
    (3, "AX25"),
    (6, "IEEE802_5"),
    (7, "ARCNET_BSD"),
    (8, "SLIP"),
    (9, "PPP"),
    (10, "FDDI"),
    (50, "PPP_HDLC"),
    (51, "PPP_ETHER"),
    (100, "ATM_RFC1483"),
    (101, "RAW"),
    (104, "C_HDLC"),
    (105, "IEEE802_11"),
    (106, "ATM_CLIP"),
    (107, "FRELAY"),
    (108, "LOOP"),
    (113, "LINUX_SLL"),
    (114, "LTALK"),
    (117, "PFLOG"),
    (119, "IEEE802_11_PRISM"),
    (122, "IP_OVER_FC"),
    (123, "SUNATM"),
    (127, "IEEE802_11_RADIOTAP"),
    (129, "ARCNET_LINUX"),
    (130, "JUNIPER_MLPPP"),
    (132, "JUNIPER_ES"),
    (137, "JUNIPER_ATM1"),
    (140, "MTP2"),
    (141, "MTP3"),
    (147, "USER0"),
    (163, "IEEE802_11_AVS"),
    (164, "JUNIPER_MONITOR"),
    (165, "BACNET_MS_TP"),
    (166, "PPP_PPPD"),
    (178, "JUNIPER_ETHER"),
    (182, "JUNIPER_FRELAY_MFR"),
    (187, "BLUETOOTH_HCI_H4"),
    (189, "USB_LINUX"),
    (192, "PPI"),
    (195, "IEEE802_15_4_WITHFCS"),
    (201, "BLUETOOTH_HCI_H4_WITH_PHDR"),
    (204, "PPP_WITH_DIR"),
    (220, "USB_LINUX_MMAPPED"),
    (226, "IPNET"),
    (227, "CAN_SOCKETCAN"),
    (230, "IEEE802_15_4_NOFCS"),
    (231, "DBUS"),
    (239, "NFLOG"),
    (240, "NETANALYZER"),
    (242, "IPOIB"),
    (247, "INFINIBAND"),
    (249, "USBPCAP"),
    (251, "BLUETOOTH_LE_LL"),
    (252, "WIRESHARK_UPPER_PDU"),
    (253, "NETLINK"),
    (254, "BLUETOOTH_LINUX_MONITOR"),
    (258, "PKTAP"),
    (271, "VSOCK"),
    (274, "ETHERNET_MPACKET"),
    (278, "OPENVIZSLA"),
    (281, "DSA_TAG_BRCM"),
    (282, "DSA_TAG_BRCM_PREPEND"),
    (283, "IEEE802_15_4_TAP"),
    (284, "DSA_TAG_DSA"),
    (285, "DSA_TAG_EDSA"),
];
