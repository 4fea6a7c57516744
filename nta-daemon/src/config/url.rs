//! URLs of places that something is sent to or read from: one checked type for all, which differ in what they may name.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::str::FromStr;

use axum::http::Uri;
use serde::{Deserialize, Serialize};

/// Characters of a refused text that are shown.
const MAX_SHOWN: usize = 200;
/// Places that one URL may name.
const MOST_PLACES: usize = 16;
/// Schemes under which nobody who reads the line reads what is said.
const WITH_TLS: [&str; 2] = ["https", "tls"];

/// What a kind of URL may name.
pub trait UrlKind: Clone + fmt::Debug + Default + Eq {
    /// For a refusal.
    const EXPECTED: &'static str;
    /// Its schemes; all places of one URL have the same.
    const SCHEMES: &'static [(&'static str, Names)];
}

/// What stands behind a scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// A host, and maybe a port.
    Host,
    /// Hosts, separated by commas, each with its scheme in front.
    Hosts,
    /// A host and a port.
    HostAndPort,
    /// A host, maybe a port, and a path, maybe with a query.
    HostAndPath,
    /// An absolute path of this machine.
    Path,
}

/// A URL of a kind; empty for no place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String", bound = "K: UrlKind")]
pub struct Url<K: UrlKind> {
    text: String,
    kind: PhantomData<K>,
}

/// A text that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}`: expected {expected}", .text.escape_debug())]
pub struct UrlError {
    text: String,
    expected: &'static str,
}

impl<K: UrlKind> Url<K> {
    /// Whether it names no place.
    pub const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its scheme; empty without a place.
    pub fn scheme(&self) -> &str {
        self.text.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// Host and port as they were given, or the path; of several places the first.
    pub fn place(&self) -> &str {
        let rest = self.text.split_once(':').map_or("", |(_, rest)| rest);
        rest.strip_prefix("//").unwrap_or(rest)
    }

    /// The URL of each place.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.text.split(',').filter(|place| !place.is_empty())
    }

    /// Whether a place on another machine is spoken to without TLS.
    pub(super) fn is_plain_to_others(&self) -> bool {
        let host = |place: &str| place.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        !WITH_TLS.contains(&self.scheme()) && self.places().filter_map(host).any(|host| !is_loopback(&host))
    }
}

/// Whether a URL's host is this machine, by an address that no other one reaches.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

impl<K: UrlKind> fmt::Display for Url<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<K: UrlKind> FromStr for Url<K> {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || UrlError { text: text.chars().take(MAX_SHOWN).collect(), expected: K::EXPECTED };
        if text.is_empty() {
            return Ok(Self::default());
        }
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
        let (scheme, names) = *K::SCHEMES.iter().find(|(known, _)| *known == scheme).ok_or_else(wrong)?;
        let text = match names {
            Names::Path => path(scheme, text),
            Names::Hosts => {
                let places = text.split(',').map(|place| host(scheme, names, place.trim()));
                let places = places.collect::<Option<Vec<_>>>().filter(|places| places.len() <= MOST_PLACES);
                places.map(|places| places.join(","))
            }
            Names::Host | Names::HostAndPort | Names::HostAndPath => host(scheme, names, text),
        };
        Ok(Self { text: text.ok_or_else(wrong)?, kind: PhantomData })
    }
}

/// `scheme:///path`, however many slashes were given.
fn path(scheme: &str, text: &str) -> Option<String> {
    let path = text.strip_prefix(scheme)?.strip_prefix(':')?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let is_one = Path::new(path).is_absolute() && !path.ends_with('/') && !path.contains(['\0', '\n']);
    is_one.then(|| format!("{scheme}://{path}"))
}

fn host(scheme: &str, names: Names, text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let has_user = uri.authority()?.as_str().contains('@');
    let has_path = uri.path_and_query().is_some_and(|rest| rest.as_str() != "/");
    let is_one = uri.scheme_str() == Some(scheme)
        && !has_user
        && uri.host().is_some_and(|host| !host.is_empty())
        && (names == Names::HostAndPath || !has_path)
        && (names != Names::HostAndPort || uri.port_u16().is_some_and(|port| port != 0));
    is_one.then(|| if has_path { text.to_owned() } else { text.trim_end_matches('/').to_owned() })
}

impl<K: UrlKind> TryFrom<String> for Url<K> {
    type Error = UrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl<K: UrlKind> From<Url<K>> for String {
    fn from(url: Url<K>) -> Self {
        url.text
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BrokerUrl, EveUrl, IpfixUrl, ShipUrl};
    use super::*;

    fn is<K: UrlKind>(text: &str) -> bool {
        text.parse::<Url<K>>().is_ok_and(|url| url.to_string() == text)
    }

    #[test]
    fn each_kind_takes_its_schemes_and_what_stands_behind_them() {
        let url: BrokerUrl = "tls://a.example.org:4222, tls://b.example.org/".parse().expect("a URL");
        assert_eq!(url.places().collect::<Vec<_>>(), ["tls://a.example.org:4222", "tls://b.example.org"]);
        assert_eq!("https://[2001:db8::1]:1/".parse::<ShipUrl>().expect("a URL").as_str(), "https://[2001:db8::1]:1");
        let eve: EveUrl = "file:/var/log/nta/eve.json".parse().expect("a URL");
        assert_eq!((eve.scheme(), eve.place()), ("file", "/var/log/nta/eve.json"));
        assert_eq!("udp://192.0.2.1:4739".parse::<IpfixUrl>().expect("a URL").place(), "192.0.2.1:4739");
        for (text, is) in [
            ("udp://h:1", is::<super::super::ipfix::Ipfix> as fn(&str) -> bool),
            ("tcp://[::1]:9", is::<super::super::ipfix::Ipfix>),
            ("unix:///run/x.sock", is::<super::super::eve::Eve>),
            ("tcp://h:9", is::<super::super::eve::Eve>),
            ("nats://a,nats://b:1", is::<super::super::ship::Ship>),
        ] {
            assert!(is(text), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_what_was_expected() {
        let refused = "nta.example.org".parse::<ShipUrl>().expect_err("refused").to_string();
        assert!(refused.starts_with("`nta.example.org`: expected https://HOST:PORT"), "{refused}");
        for wrong in
            ["nats://a,tls://b", "nats://u@a", "nats://a/x", "nats://", "nats://a,,nats://b", "http://a", "a:1"]
        {
            assert!(wrong.parse::<BrokerUrl>().is_err(), "{wrong}");
        }
        for wrong in ["nats://h,https://h", "tls://u@h", "https://u@h", "https://h/p", "https://h?a=b", "https://"] {
            assert!(wrong.parse::<ShipUrl>().is_err(), "{wrong}");
        }
        for wrong in ["udp://h", "udp://h:0", "http://h:1", "tcp://h:1/p", "udp://:1"] {
            assert!(wrong.parse::<IpfixUrl>().is_err(), "{wrong}");
        }
        for wrong in ["file:eve.json", "file://", "file:///var/log/", "unix://run", "tcp://h", "https://h"] {
            assert!(wrong.parse::<EveUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn another_machine_without_tls_is_noticed() {
        let is_plain = |text: &str| text.parse::<ShipUrl>().expect("a URL").is_plain_to_others();
        assert!(is_plain("nats://127.0.0.1,nats://192.0.2.1") && is_plain("http://192.0.2.1"));
        assert!(!is_plain("nats://127.0.0.1:1,nats://localhost") && !is_plain("http://[::1]:5000"));
        assert!(!is_plain("tls://192.0.2.1") && !is_plain("https://192.0.2.1") && !is_plain(""));
    }
}
