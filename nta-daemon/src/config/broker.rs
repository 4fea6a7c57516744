//! NATS servers that sensors publish to and collectors read from: their URLs, and what shows them who asks.

use std::path::PathBuf;

use nkeys::KeyPair;

use super::problem::Refused;
use super::regular::read_text;
use super::url::{Names, Url, UrlKind};

/// Bytes of a file with credentials.
const CREDENTIALS_BYTES: u64 = 16 << 10;

/// Servers of one NATS, such as `nats://127.0.0.1:4222` or `tls://a.example.org:4222,tls://b.example.org:4222`; empty for none.
pub type BrokerUrl = Url<Nats>;

/// What [`BrokerUrl`] may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nats;

impl UrlKind for Nats {
    const EXPECTED: &'static str = "nats://HOST:PORT or tls://HOST:PORT, several of one kind separated by commas, without a user, a path or a query";
    const SCHEMES: &'static [(&'static str, Names)] = &[("nats", Names::Hosts), ("tls", Names::Hosts)];
}

impl BrokerUrl {
    /// The URL of each server.
    pub fn servers(&self) -> Vec<String> {
        self.places().map(str::to_owned).collect()
    }

    /// Whether nothing is said without TLS.
    pub fn demands_tls(&self) -> bool {
        self.scheme() == "tls"
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
        let text = read_text(path, CREDENTIALS_BYTES).map_err(|error| format!("{}: {error}", path.display()))?;
        let wrong = "expected the seed of a user's nkey (SU…), a file of credentials (-----BEGIN NATS USER JWT-----) or USER:PASSWORD";
        credentials(&text).map(Some).ok_or_else(|| format!("{}: {wrong}", path.display()))
    }

    /// The nkey in that file; `None` where it has none.
    ///
    /// # Errors
    /// When the file cannot be read, or the seed in it is none.
    pub fn key_pair(&self) -> Result<Option<KeyPair>, String> {
        let seed = match self.credentials()? {
            Some(Credentials::Seed(seed)) => Some(seed),
            Some(Credentials::Jwt(text)) => text.lines().map(str::trim).find(|line| is_seed(line)).map(str::to_owned),
            Some(Credentials::User(..)) | None => None,
        };
        let pair = seed.map(|seed| KeyPair::from_seed(&seed)).transpose();
        pair.map_err(|error| format!("{}: {error}", self.credentials_file.display()))
    }
}

fn is_seed(line: &str) -> bool {
    line.len() == 58 && line.starts_with("SU") && line.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn credentials(text: &str) -> Option<Credentials> {
    if text.contains("-----BEGIN NATS USER JWT-----") {
        return Some(Credentials::Jwt(text.to_owned()));
    }
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    if is_seed(line) {
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
