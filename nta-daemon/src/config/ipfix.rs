//! `[ipfix]`: flows to an IPFIX collector.

use std::fmt;

use nta_core::Bounds;
use serde::{Deserialize, Serialize};

use super::section::section;

/// Seconds after which a flow that goes on is reported: below a window nothing is new, and a collector waits for no day.
const ACTIVE_S: Bounds = Bounds::new(10.0, 86_400.0);
/// A number of 32 bits.
const DOMAIN: Bounds = Bounds::new(0.0, 4_294_967_295.0);

section! {
    /// Flows of `run` to an IPFIX collector (RFC 7011), such as nfcapd, pmacct, ntopng, Elastiflow.
    IpfixConfig in "ipfix" {
        /// The collector, such as udp://192.0.2.1:4739 or tcp://collector.example.org:4739; empty sends nothing.
        to: IpfixTarget = IpfixTarget::default(),
        /// Observation domain, by which the collector tells exporters behind one address apart.
        domain: u64 = 1 => DOMAIN,
        /// Seconds after which a flow that goes on is reported with what came since.
        active_s: u64 = 60 => ACTIVE_S,
    }
}

/// Where flows go; empty for nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IpfixTarget {
    text: String,
    is_tcp: bool,
}

/// A text that names no collector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}`: expected udp://HOST:PORT or tcp://HOST:PORT", .0.escape_debug())]
pub struct IpfixTargetError(String);

impl IpfixTarget {
    /// Host and port, and whether by TCP; `None` where nothing is sent.
    pub fn place(&self) -> Option<(&str, bool)> {
        self.text.split_once("://").map(|(_, place)| (place, self.is_tcp))
    }
}

impl fmt::Display for IpfixTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::str::FromStr for IpfixTarget {
    type Err = IpfixTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let wrong = || IpfixTargetError(text.chars().take(100).collect());
        let uri: axum::http::Uri = text.parse().map_err(|_error| wrong())?;
        let is_tcp = match uri.scheme_str() {
            Some("udp") => false,
            Some("tcp") => true,
            _ => return Err(wrong()),
        };
        let is_plain = uri.path_and_query().is_none_or(|rest| rest.as_str() == "/") && !text.contains('@');
        if !is_plain || uri.port_u16().is_none_or(|port| port == 0) || uri.host().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        Ok(Self { text: text.trim_end_matches('/').to_owned(), is_tcp })
    }
}

impl TryFrom<String> for IpfixTarget {
    type Error = IpfixTargetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<IpfixTarget> for String {
    fn from(target: IpfixTarget) -> Self {
        target.text
    }
}
