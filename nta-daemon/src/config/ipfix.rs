//! `[ipfix]`: flows to an IPFIX collector.

use nta_core::Bounds;

use super::section::section;
use super::url::{Names, Url, UrlKind};

/// Seconds after which a flow that goes on is reported: below a window nothing is new, and a collector waits for no day.
const ACTIVE_S: Bounds = Bounds::new(10.0, 86_400.0);
/// A number of 32 bits.
const DOMAIN: Bounds = Bounds::new(0.0, 4_294_967_295.0);

section! {
    /// Flows of `run` to an IPFIX collector (RFC 7011), such as nfcapd, pmacct, ntopng, Elastiflow.
    IpfixConfig in "ipfix" {
        /// The collector, such as udp://192.0.2.1:4739 or tcp://collector.example.org:4739; empty sends nothing.
        to: IpfixUrl = IpfixUrl::default(),
        /// Observation domain, by which the collector tells exporters behind one address apart.
        domain: u64 = 1 => DOMAIN,
        /// Seconds after which a flow that goes on is reported with what came since.
        active_s: u64 = 60 => ACTIVE_S,
    }
}

/// Where flows go; empty for nowhere.
pub type IpfixUrl = Url<Ipfix>;

/// What [`IpfixUrl`] may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipfix;

impl UrlKind for Ipfix {
    const EXPECTED: &'static str = "udp://HOST:PORT or tcp://HOST:PORT";
    const SCHEMES: &'static [(&'static str, Names)] = &[("udp", Names::HostAndPort), ("tcp", Names::HostAndPort)];
}
