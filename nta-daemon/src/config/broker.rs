//! NATS servers that sensors publish to and collectors read from: their URLs, and what shows them who asks.

use std::fmt;
use std::path::PathBuf;

use axum::http::Uri;
use serde::{Deserialize, Serialize};

use super::ship::is_loopback;
use super::{problem::Refused, read_regular};

/// Bytes of a file with credentials.
const CREDENTIALS_BYTES: u64 = 16 << 10;
/// Servers that one URL may name.
const MOST_SERVERS: usize = 16;

/// Servers of one NATS, such as `nats://127.0.0.1:4222` or `tls://a.example.org:4222,tls://b.example.org:4222`; empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BrokerUrl(String);

/// A text that names no servers of NATS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}`: expected nats://HOST:PORT or tls://HOST:PORT, several of one kind separated by commas, without a user, a path or a query",
    .0.escape_debug()
)]
pub struct BrokerUrlError(String);

impl BrokerUrl {
    /// Whether a text is meant to be one.
    pub(super) fn is_meant(text: &str) -> bool {
        ["nats:", "tls:"].iter().any(|scheme| text.starts_with(scheme))
    }

    /// Whether it names none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The URL of each server.
    pub fn servers(&self) -> Vec<String> {
        self.0.split(',').filter(|server| !server.is_empty()).map(str::to_owned).collect()
    }

    /// Whether nothing is said without TLS.
    pub fn demands_tls(&self) -> bool {
        self.0.starts_with("tls:")
    }

    /// Whether a server on another machine is spoken to without TLS.
    pub(super) fn is_plain_to_others(&self) -> bool {
        let host = |server: &String| server.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        !self.demands_tls() && self.servers().iter().filter_map(host).any(|host| !is_loopback(&host))
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for BrokerUrl {
    type Err = BrokerUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let wrong = || BrokerUrlError(text.chars().take(200).collect());
        let scheme = if text.starts_with("tls:") { "tls" } else { "nats" };
        let mut servers = Vec::new();
        for server in text.split(',').map(str::trim) {
            let uri: Uri = server.parse().map_err(|_error| wrong())?;
            let is_plain = uri.path_and_query().is_none_or(|rest| rest.as_str() == "/");
            let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
            let is_host = uri.host().is_some_and(|host| !host.is_empty());
            if !is_plain || has_user || !is_host || uri.scheme_str() != Some(scheme) {
                return Err(wrong());
            }
            servers.push(server.trim_end_matches('/'));
        }
        if servers.len() > MOST_SERVERS { Err(wrong()) } else { Ok(Self(servers.join(","))) }
    }
}

impl TryFrom<String> for BrokerUrl {
    type Error = BrokerUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BrokerUrl> for String {
    fn from(url: BrokerUrl) -> Self {
        url.0
    }
}

/// How NATS is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its servers.
    pub url: BrokerUrl,
    /// File that shows it who asks; empty for nobody.
    pub credentials_file: PathBuf,
    /// File with the authorities that are trusted; empty for those of this machine.
    pub ca_file: PathBuf,
    /// Whether servers that may lose what they acknowledged are taken.
    pub allow_old: bool,
}

/// What shows NATS who asks. It does not write itself.
pub enum Credentials {
    /// The seed of an nkey.
    Seed(String),
    /// A file of credentials: a JWT and the seed of its nkey.
    Jwt(String),
    /// A user and its password.
    User(String, String),
}

impl Broker {
    /// What is in the file of credentials; `None` where none is named.
    ///
    /// # Errors
    /// When the file cannot be read or holds none.
    pub fn credentials(&self) -> Result<Option<Credentials>, String> {
        let path = &self.credentials_file;
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        let bytes = read_regular(path, CREDENTIALS_BYTES).map_err(|error| format!("{}: {error}", path.display()))?;
        let text = String::from_utf8(bytes).map_err(|_wrong| format!("{}: is no text in UTF-8", path.display()))?;
        let wrong = "expected the seed of a user's nkey (SU…), a file of credentials (-----BEGIN NATS USER JWT-----) or USER:PASSWORD";
        credentials(&text).map(Some).ok_or_else(|| format!("{}: {wrong}", path.display()))
    }
}

fn credentials(text: &str) -> Option<Credentials> {
    if text.contains("-----BEGIN NATS USER JWT-----") {
        return Some(Credentials::Jwt(text.to_owned()));
    }
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let is_seed = line.len() == 58 && line.starts_with("SU") && line.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_seed {
        return Some(Credentials::Seed(line.to_owned()));
    }
    let (user, password) = line.split_once(':')?;
    (!user.is_empty() && !password.is_empty()).then(|| Credentials::User(user.to_owned(), password.to_owned()))
}

/// Refuses servers on other machines without TLS, unless that was asked for.
pub(super) fn check_plain(key: &str, url: &BrokerUrl, is_accepted: bool, refused: &mut Vec<Refused>) {
    if url.is_plain_to_others() && !is_accepted {
        let section = key.split('.').next().unwrap_or_default();
        let expected =
            format!("tls://, or `{section}.insecure = \"i understand\"`: who reads the line would read it all");
        refused.push(Refused::new(key, url, expected));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_one_kind_are_named_and_reached_by_tls() {
        let url: BrokerUrl = "tls://a.example.org:4222, tls://b.example.org/".parse().expect("a URL");
        assert_eq!(url.servers(), ["tls://a.example.org:4222", "tls://b.example.org"]);
        for wrong in
            ["nats://a,tls://b", "nats://user@a", "nats://a/x", "nats://", "nats://a,,nats://b", "http://a", "a:4222"]
        {
            assert!(wrong.parse::<BrokerUrl>().is_err(), "{wrong}");
        }
        let is_plain = |text: &str| text.parse::<BrokerUrl>().expect("a URL").is_plain_to_others();
        assert!(is_plain("nats://127.0.0.1,nats://192.0.2.1") && !is_plain("nats://127.0.0.1:1,nats://localhost"));
        assert!(!is_plain("tls://192.0.2.1"));
    }

    #[test]
    fn credentials_are_known_by_what_they_are() {
        let seed = format!("SU{}", "A".repeat(56));
        assert!(matches!(credentials(&format!("# mine\n{seed}\n")), Some(Credentials::Seed(found)) if found == seed));
        assert!(
            matches!(credentials("gw:a:b\n"), Some(Credentials::User(user, word)) if user == "gw" && word == "a:b")
        );
        assert!(matches!(credentials("-----BEGIN NATS USER JWT-----\nx"), Some(Credentials::Jwt(_))));
        for wrong in ["", "gw", ":b", "gw:", "\n# only a comment"] {
            assert!(credentials(wrong).is_none(), "{wrong}");
        }
    }
}
