//! What an interface is, from sysfs and procfs: decides which hook suits it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::SourceError;
use nta_core::domain::NicCounts;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Name as in `ip link`.
    pub name: String,
    /// Index.
    pub index: u32,
    /// Driver of a physical (or paravirtual) NIC; `None` for veth, bridge, tun and the like.
    pub driver: Option<String>,
    /// Maximum transmission unit in bytes.
    pub mtu: u32,
    /// `up`, `down`, `unknown` as the kernel says.
    pub state: String,
}

impl Device {
    /// Looks an interface up in this network namespace.
    pub fn find(name: &str) -> Result<Self, SourceError> {
        let index = index_of(name).ok_or_else(|| SourceError::NoInterface(name.to_owned()))?;
        let path = sysfs(name);
        let driver = fs::read_link(path.join("device/driver"))
            .ok()
            .and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned()));
        let mtu = read(&path.join("mtu")).and_then(|text| text.parse().ok()).unwrap_or(0);
        let state = read(&path.join("operstate")).unwrap_or_else(|| "unknown".to_owned());
        Ok(Self { name: name.to_owned(), index, driver, mtu, state })
    }

    /// All interfaces of this network namespace but the loopback, by index.
    pub fn all() -> Vec<Self> {
        let names = fs::read_to_string("/proc/net/dev").unwrap_or_default();
        let names = names.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim()));
        let mut devices: Vec<Self> =
            names.filter(|name| *name != "lo").filter_map(|name| Self::find(name).ok()).collect();
        devices.sort_by_key(|device| device.index);
        devices
    }

    /// The interfaces that there are, for a message about one that there is not.
    pub fn there_are() -> String {
        Self::list(&Self::all())
    }

    /// The same of these interfaces; the loopback is none of those that are listed.
    pub fn list(all: &[Self]) -> String {
        let all: Vec<&str> = all.iter().map(|device| device.name.as_str()).filter(|name| *name != "lo").collect();
        if all.is_empty() { "there is none but lo".to_owned() } else { format!("there are {}", all.join(", ")) }
    }

    /// What an interface of this network namespace has counted itself since it exists.
    pub fn counts(name: &str) -> NicCounts {
        counts(&fs::read_to_string("/proc/net/dev").unwrap_or_default(), name).unwrap_or_default()
    }

    /// The name that the interface of this index has now; `None` when it is gone.
    pub fn name_of(index: u32) -> Option<String> {
        name_of(index)
    }

    /// Whether an interface was set up (`ip link set NAME up`), with a carrier or not.
    pub fn is_up(name: &str) -> bool {
        const IFF_UP: u32 = 1;
        let flags = read(&sysfs(name).join("flags"));
        // A process in another network namespace may see the wrong sysfs: what it does not know is no trouble.
        flags
            .and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok())
            .is_none_or(|f| f & IFF_UP != 0)
    }

    /// The interface of the default route: IPv4's with the lowest metric, else IPv6's.
    pub fn of_default_route() -> Option<String> {
        let v4 = fs::read_to_string("/proc/net/route").unwrap_or_default();
        let v6 = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
        default_route_v4(&v4).or_else(|| default_route_v6(&v6))
    }
}

/// Lines are `name: bytes packets errs drop …` received (8 columns), then the same sent.
fn counts(table: &str, name: &str) -> Option<NicCounts> {
    let columns = table.lines().find_map(|line| {
        let (face, columns) = line.split_once(':')?;
        (face.trim() == name).then_some(columns)
    })?;
    let columns: Vec<u64> = columns.split_whitespace().map_while(|column| column.parse().ok()).collect();
    let column = |at: usize| columns.get(at).copied().unwrap_or_default();
    Some(NicCounts {
        rx_bytes: column(0),
        rx_packets: column(1),
        rx_dropped: column(3),
        tx_bytes: column(8),
        tx_packets: column(9),
    })
}

/// Lines are `Iface Destination Gateway Flags RefCnt Use Metric Mask …`.
fn default_route_v4(table: &str) -> Option<String> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default = *fields.get(1)? == "00000000" && *fields.get(7)? == "00000000";
        is_default.then(|| Some((fields.get(6)?.parse::<u32>().ok()?, (*fields.first()?).to_owned())))?
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, name)| name)
}

/// Lines are `destination length source length next-hop metric refcnt use flags iface`, metrics in hexadecimal.
fn default_route_v6(table: &str) -> Option<String> {
    const UNUSED: &str = "lo";
    let routes = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let name = *fields.get(9)?;
        let is_default = *fields.get(1)? == "00" && fields.first()?.bytes().all(|b| b == b'0') && name != UNUSED;
        is_default.then(|| Some((u32::from_str_radix(fields.get(5)?, 16).ok()?, name.to_owned())))?
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, name)| name)
}

/// The index comes from procfs, not sysfs: a process in another network namespace may see the wrong sysfs.
fn index_of(name: &str) -> Option<u32> {
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: a NUL-terminated string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// The name of an interface of this network namespace.
pub(crate) fn name_of(index: u32) -> Option<String> {
    let mut name = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the length that the call asks for.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
    let name = std::ffi::CStr::from_bytes_until_nul(&name).ok()?;
    (!found.is_null()).then(|| name.to_string_lossy().into_owned())
}

fn sysfs(name: &str) -> PathBuf {
    Path::new("/sys/class/net").join(name)
}

fn read(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_an_interface_are_found_by_its_whole_name() {
        let table = "Inter-|   Receive |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n\
            veth0:     100       2    0    1    0     0          0         0      300       4    0    0    0\n\
            \x20  eth0: 5 6 0 7 0 0 0 0 8 9 0 0 0 0 0 0\n";
        let eth0 = NicCounts { rx_bytes: 5, rx_packets: 6, rx_dropped: 7, tx_bytes: 8, tx_packets: 9 };
        assert_eq!(counts(table, "eth0"), Some(eth0));
        assert_eq!(counts(table, "eth"), None);
    }

    #[test]
    fn the_default_route_with_the_lowest_metric_wins() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
            eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(default_route_v4(table).as_deref(), Some("eth0"));
        assert_eq!(default_route_v4("Iface\n"), None);
        let zeros = "0".repeat(32);
        let line = |metric: &str, name: &str| format!("{zeros} 00 {zeros} 00 {zeros} {metric} 1 0 00000003 {name}\n");
        let table = line("ffffffff", "lo") + &line("00000400", "eth1") + &line("00000100", "eth2");
        assert_eq!(default_route_v6(&table).as_deref(), Some("eth2"));
    }
}
