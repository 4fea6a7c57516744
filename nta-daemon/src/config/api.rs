//! `[api]`: the HTTP interface.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nta_core::Bounds;
use nta_core::detect::Networks;
use serde::{Deserialize, Serialize};

use super::problem::Refused;
use super::section::section;

const CONNECTIONS: Bounds = Bounds::new(1.0, 65_536.0);

section! {
    /// The HTTP interface.
    ApiConfig in "api" {
        /// Address and port of REST. On the loopback nobody needs a token while none was made.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)),
        /// Names and addresses, without port, that clients reach the server by; localhost and the address listened on are
        /// always among them.
        hosts: Vec<HostName> = Vec::new(),
        /// Origins such as "https://console.example.org" whose pages may write; the server's own always may.
        origins: Vec<Origin> = Vec::new(),
        /// PEM file with the certificate of the server, and behind it those that lead to its authority; empty for plain HTTP. It and
        /// the key are read again at SIGHUP.
        tls_cert: PathBuf = PathBuf::new(),
        /// PEM file with the key of that certificate.
        tls_key: PathBuf = PathBuf::new(),
        /// Connections open at a time; at most three quarters of the descriptors that the process may have, and 136 fewer than those.
        connections: usize = 512 => CONNECTIONS,
        /// Readers that follow the events at a time; at most three quarters of the connections.
        stream_readers: usize = 256 => CONNECTIONS,
        /// Requests a second of one token or, without one, of one address (of IPv6 one network of 64 bits); four times as many may come
        /// at once.
        requests_per_s: u32 = 500 => Bounds::new(1.0, 100_000.0),
        /// Addresses or networks of proxies that say by X-Forwarded-For for whom they ask. From others that header counts for nothing.
        trusted_proxies: Networks = Networks::from(Vec::new()),
        /// Who may read /metrics: "open" for everybody, "viewer" for who has that role.
        metrics: MetricsAccess = MetricsAccess::Open,
        /// Whether POST /graphql answers: reads by GraphQL, to who has the role viewer.
        graphql: bool = false,
        /// "i understand" serves a listener that other machines reach also without TLS and while no token was made; "" does not.
        insecure: Insecure = Insecure::default(),
    }
}

impl ApiConfig {
    /// Whether other machines reach the listener, and it may not do without tokens and TLS.
    pub fn is_exposed(&self) -> bool {
        !self.listen.ip().to_canonical().is_loopback() && !self.insecure.is_accepted()
    }

    /// The files that TLS is spoken with; `None` for plain HTTP.
    pub fn tls(&self) -> Option<(&Path, &Path)> {
        let (cert, key) = (self.tls_cert.as_path(), self.tls_key.as_path());
        (!cert.as_os_str().is_empty() && !key.as_os_str().is_empty()).then_some((cert, key))
    }

    pub(super) fn check_together(&self, refused: &mut Vec<Refused>) {
        let [cert, key] = [&self.tls_cert, &self.tls_key].map(|path| !path.as_os_str().is_empty());
        if cert != key {
            let (has, lacks) = if cert { ("tls_cert", "api.tls_key") } else { ("tls_key", "api.tls_cert") };
            let path = if cert { &self.tls_cert } else { &self.tls_key };
            refused.push(Refused::new(
                format!("api.{has}"),
                path.display(),
                format_args!("{lacks} beside it, or neither"),
            ));
        } else if !cert && self.is_exposed() {
            let expected = "a loopback address (other machines reach it by `ssh -L`), or `api.tls_cert` and `api.tls_key`: other machines \
                            reach this one, and tokens would be read on the way; `api.insecure = \"i understand\"` serves it all the same";
            refused.push(Refused::new("api.listen", self.listen, expected));
        }
    }

    /// What to say about an address that others reach; `None` on the loopback.
    pub(super) fn exposure(&self) -> Option<String> {
        let listen = self.listen;
        (!listen.ip().to_canonical().is_loopback()).then(|| {
            if self.insecure.is_accepted() {
                format!("{listen} is reached from other machines: while no token was made, whoever reaches it reads and writes all")
            } else {
                format!("{listen} is reached from other machines: `run` demands that there is a token (`nta-daemon tokens create --role admin`)")
            }
        })
    }
}

/// Who may read `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsAccess {
    /// Everybody.
    #[default]
    Open,
    /// Who has the role viewer, or one above it.
    Viewer,
}

/// Whether what is sent over a network may do without TLS, and a listener without tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Insecure(bool);

impl Insecure {
    const WORDS: &str = "i understand";

    /// Whether it may.
    pub const fn is_accepted(&self) -> bool {
        self.0
    }
}

impl TryFrom<String> for Insecure {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "" => Ok(Self(false)),
            Self::WORDS => Ok(Self(true)),
            _ => Err(format!("`{}`: expected \"{}\" or \"\"", shown(&text).escape_debug(), Self::WORDS)),
        }
    }
}

impl From<Insecure> for String {
    fn from(insecure: Insecure) -> Self {
        if insecure.0 { Insecure::WORDS.to_owned() } else { Self::new() }
    }
}

/// A name or address without port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

/// Scheme, host and port of pages, as a browser sends it: in lower case, without the scheme's own port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

/// A text that names no host or no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiNameError {
    /// No host.
    #[error("`{}`: expected a name or an address without scheme and port, such as nta.example.org or 192.0.2.1", .0.escape_debug())]
    Host(String),
    /// No origin.
    #[error("`{}`: expected http:// or https://, a host and, if it is not the scheme's own, a port, without a path, such as \
             https://console.example.org", .0.escape_debug())]
    Origin(String),
}

impl FromStr for HostName {
    type Err = ApiNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self(address.to_string()));
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() <= 253 && name.split('.').all(is_label) {
            return Ok(Self(name.to_ascii_lowercase()));
        }
        Err(ApiNameError::Host(shown(text)))
    }
}

impl FromStr for Origin {
    type Err = ApiNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ApiNameError::Origin(shown(text));
        let (scheme, rest) = text.split_once("://").ok_or_else(refused)?;
        let scheme = scheme.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return Err(refused()),
        };
        // The colons of an IPv6 address stand in brackets.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse::<u16>().ok().ok_or_else(refused)?),
            _ => (rest, default),
        };
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        let HostName(host) = host.parse().ok().ok_or_else(refused)?;
        let host = match host.contains(':') {
            true if !is_bracketed => return Err(refused()),
            true => format!("[{host}]"),
            false => host,
        };
        let port = if port == default { String::new() } else { format!(":{port}") };
        Ok(Self(format!("{scheme}://{host}{port}")))
    }
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

impl TryFrom<String> for HostName {
    type Error = ApiNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for Origin {
    type Error = ApiNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_alone() {
        for (text, read) in [
            ("NTA.example.org.", "nta.example.org"),
            ("localhost", "localhost"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(text.parse::<HostName>().map(String::from).as_deref(), Ok(read), "{text}");
        }
        for text in ["", "https://nta.example.org", "nta.example.org:5000", "192.0.2.1:5000", "a b", "a/b", "*"] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_has_a_scheme_and_no_path() {
        for (text, read) in [
            ("https://Console.example.org", "https://console.example.org"),
            ("HTTPS://console.example.org:443", "https://console.example.org"),
            ("http://console.example.org:443", "http://console.example.org:443"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[2001:db8::1]:80", "http://[2001:db8::1]"),
        ] {
            assert_eq!(text.parse::<Origin>().map(String::from).as_deref(), Ok(read), "{text}");
        }
        for text in [
            "console.example.org",
            "https://console.example.org/",
            "https://console.example.org/app",
            "ftp://console.example.org",
            "https://",
            "https://a:x",
            "https://a:70000",
            "http://2001:db8::1",
            "*",
            "null",
            "",
        ] {
            assert!(text.parse::<Origin>().expect_err(text).to_string().contains("expected http:// or https://"));
        }
    }

    #[test]
    fn an_address_that_others_reach_is_said() {
        for (listen, is_said) in [
            ("127.0.0.1:5000", false),
            ("[::1]:5000", false),
            ("[::ffff:127.0.0.1]:5000", false),
            ("0.0.0.0:5000", true),
            ("192.0.2.1:1", true),
            ("[::]:5000", true),
        ] {
            let config = ApiConfig { listen: listen.parse().expect("an address"), ..ApiConfig::default() };
            assert_eq!(config.exposure().is_some_and(|said| said.contains(listen)), is_said, "{listen}");
        }
    }
}
