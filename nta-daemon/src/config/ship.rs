//! `[ship]`: a server that gets what this sensor sees.

use std::fmt;
use std::path::{Path, PathBuf};

use axum::http::Uri;
use nta_core::Bounds;
use serde::{Deserialize, Serialize};

use super::api::Insecure;
use super::broker::{Broker, BrokerUrl, check_plain};
use super::problem::Refused;
use super::read_regular;
use super::section::section;

/// Below this not even a busy minute would wait.
const BYTES: Bounds = Bounds::new(1_048_576.0, 1e15);
/// Bytes of a file with a token.
const TOKEN_FILE_BYTES: u64 = 4096;

section! {
    /// A server that gets what this sensor sees. What it has not confirmed waits in the database, over restarts of both.
    ShipConfig in "ship" {
        /// URL of the server, such as https://nta.example.org:5000, or of NATS servers whose stream collectors read (nats:// or tls://, several
        /// separated by commas); empty ships nothing. A sensor that ships has a database of its own.
        to: ShipUrl = ShipUrl::default(),
        /// File whose first line is the token that the server gave (`nta-daemon tokens create --role sensor`).
        token_file: PathBuf = PathBuf::new(),
        /// File that shows NATS who asks: the seed of an nkey, a file of credentials, or a line USER:PASSWORD.
        credentials_file: PathBuf = PathBuf::new(),
        /// File with certificates (PEM) of authorities that the server's may be signed by: beside those that this machine trusts, of NATS in
        /// their place.
        ca_file: PathBuf = PathBuf::new(),
        /// Whether flows are shipped, beside windows, alerts, findings and features.
        flows: bool = false,
        /// Whether heads of frames are shipped, where `events.raw_packets` stores any.
        headers: bool = false,
        /// Bytes that may wait for the server. Beyond it the oldest batches lose all but their alerts, then go; both are counted.
        max_bytes: u64 = 1_073_741_824 => BYTES,
        /// Most bytes a second that are sent, for catching up over a thin line; 0 is no bound.
        max_bytes_per_s: u64 = 0 => Bounds::BYTES,
        /// Seconds by which a published message is behind one that was stored before NATS is taken to have lost it, and it is sent again.
        resend_after_s: u64 = 30 => Bounds::new(1.0, 3600.0),
        /// Ships by NATS servers before 2.10.23 too, of which a kill could lose a whole stream.
        allow_old_nats: bool = false,
        /// "i understand" ships to another machine without TLS, where who reads the line reads token and windows; "" does not.
        insecure: Insecure = Insecure::default(),
    }
}

/// Where a sensor ships to; empty for nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShipUrl(String);

/// A text that is no URL of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}`: expected https://HOST:PORT or http://HOST:PORT, or nats://HOST:PORT or tls://HOST:PORT (several separated by commas), \
     without a user, a path or a query", .0.escape_debug()
)]
pub struct ShipUrlError(String);

impl ShipUrl {
    /// Whether nothing is shipped.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of a server that takes what is shipped; `None` where NATS does, or nothing is.
    pub fn ingest(&self) -> Option<Uri> {
        if self.is_empty() || self.broker().is_some() { None } else { format!("{}/ingest", self.0).parse().ok() }
    }

    fn broker(&self) -> Option<BrokerUrl> {
        BrokerUrl::is_meant(&self.0).then(|| self.0.parse().ok()).flatten()
    }

    fn is_plain_to_others(&self) -> bool {
        let host = self.0.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("http"));
        host.is_some_and(|uri| uri.host().is_some_and(|host| !is_loopback(host)))
    }
}

/// Whether a URL's host is this machine, by an address that no other one reaches.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

impl fmt::Display for ShipUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ShipUrl {
    type Err = ShipUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        if let Some(broker) = BrokerUrl::is_meant(text).then(|| text.parse::<BrokerUrl>()) {
            return broker
                .map(|url| Self(url.to_string()))
                .map_err(|_error| ShipUrlError(text.chars().take(200).collect()));
        }
        let wrong = || ShipUrlError(text.chars().take(100).collect());
        let uri: Uri = text.parse().map_err(|_error| wrong())?;
        let is_plain = uri.path_and_query().is_none_or(|rest| rest.as_str() == "/");
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        if !is_plain || !is_known || has_user || uri.host().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl TryFrom<String> for ShipUrl {
    type Error = ShipUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ShipUrl> for String {
    fn from(url: ShipUrl) -> Self {
        url.0
    }
}

impl ShipConfig {
    pub(super) fn check_together(&self, refused: &mut Vec<Refused>) {
        if self.to.is_plain_to_others() && !self.insecure.is_accepted() {
            let expected = "https://, or `ship.insecure = \"i understand\"`: who reads the line would read the token";
            refused.push(Refused::new("ship.to", &self.to, expected));
        }
        let Some(broker) = self.to.broker() else {
            let is_unused = !self.to.is_empty() && !self.credentials_file.as_os_str().is_empty();
            if is_unused {
                let expected = "none with https://, where `ship.token_file` shows who asks";
                refused.push(Refused::new("ship.credentials_file", self.credentials_file.display(), expected));
            }
            return;
        };
        check_plain("ship.to", &broker, self.insecure.is_accepted(), refused);
        if !self.token_file.as_os_str().is_empty() {
            let expected = "none with nats:// and tls://, where `ship.credentials_file` shows who asks";
            refused.push(Refused::new("ship.token_file", self.token_file.display(), expected));
        }
    }

    /// The NATS servers that are published to; `None` where a server takes it, or nothing is shipped.
    pub fn broker(&self) -> Option<Broker> {
        Some(Broker {
            url: self.to.broker()?,
            credentials_file: self.credentials_file.clone(),
            ca_file: self.ca_file.clone(),
            allow_old: self.allow_old_nats,
        })
    }

    /// The token in the file; `None` where no file is named.
    ///
    /// # Errors
    /// When the file cannot be read or holds none.
    pub fn token(&self) -> Result<Option<String>, String> {
        if self.token_file.as_os_str().is_empty() {
            return Ok(None);
        }
        let text = read_text(&self.token_file)?;
        let token = text.lines().next().unwrap_or_default().trim().to_owned();
        let is_one = token.starts_with("nta_") && token.bytes().all(|byte| byte.is_ascii_graphic());
        if is_one {
            Ok(Some(token))
        } else {
            Err(format!("{}: the first line holds no token", self.token_file.display()))
        }
    }

    /// The certificates in the file; none where no file is named.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn authorities(&self) -> Result<Vec<u8>, String> {
        if self.ca_file.as_os_str().is_empty() {
            return Ok(Vec::new());
        }
        read_regular(&self.ca_file, 1 << 20).map_err(|error| format!("{}: {error}", self.ca_file.display()))
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let bytes = read_regular(path, TOKEN_FILE_BYTES).map_err(|error| format!("{}: {error}", path.display()))?;
    String::from_utf8(bytes).map_err(|_wrong| format!("{}: is no text in UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_scheme_and_host_alone_and_reached_by_tls() {
        for (url, path) in [
            ("https://nta.example.org:5000", "https://nta.example.org:5000/ingest"),
            ("http://127.0.0.1:5000/", "http://127.0.0.1:5000/ingest"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]/ingest"),
        ] {
            let parsed: ShipUrl = url.parse().expect("a URL");
            assert_eq!(parsed.ingest().map(|uri| uri.to_string()).as_deref(), Some(path));
        }
        for url in [
            "nta.example.org",
            "nats://host,https://host",
            "tls://user@host",
            "https://user@host",
            "https://host/path",
            "https://host?a=b",
            "https://",
        ] {
            assert!(url.parse::<ShipUrl>().is_err(), "{url}");
        }
        let refused = |url: &str, insecure: &str| {
            let text = format!("to = \"{url}\"\ninsecure = \"{insecure}\"");
            let mut refused = Vec::new();
            toml::from_str::<ShipConfig>(&text).expect("a section").check_together(&mut refused);
            !refused.is_empty()
        };
        assert!(refused("http://192.0.2.1:5000", "") && !refused("http://192.0.2.1:5000", "i understand"));
        assert!(refused("nats://192.0.2.1", "") && !refused("nats://192.0.2.1", "i understand"));
        assert!(!refused("tls://192.0.2.1,tls://192.0.2.2", "") && !refused("nats://[::1]:4222", ""));
        assert!(!refused("http://[::1]:5000", "") && !refused("https://192.0.2.1", "") && !refused("", ""));
    }
}
