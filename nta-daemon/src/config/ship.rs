//! `[ship]`: a server that gets what this sensor sees.

use std::path::PathBuf;

use axum::http::Uri;
use nkeys::KeyPair;
use nta_core::Bounds;

use super::api::Insecure;
use super::broker::{Broker, BrokerUrl, check_plain};
use super::problem::Refused;
use super::regular::{read_authorities, read_text};
use super::section::section;
use super::url::{Names, Url, UrlKind};

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
        /// Public nkeys (U…) of collectors, as `collect.credentials_file` has them: over NATS only settings that one of them has signed are
        /// followed. Without any, those of whoever NATS lets publish answers.
        settings_keys: Vec<String> = Vec::new(),
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
pub type ShipUrl = Url<Ship>;

/// What [`ShipUrl`] may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ship;

impl UrlKind for Ship {
    const EXPECTED: &'static str = "https://HOST:PORT or http://HOST:PORT, or nats://HOST:PORT or tls://HOST:PORT (several separated by commas), \
                                    without a user, a path or a query";
    const SCHEMES: &'static [(&'static str, Names)] =
        &[("https", Names::Host), ("http", Names::Host), ("nats", Names::Hosts), ("tls", Names::Hosts)];
}

impl ShipUrl {
    /// The path of a server that takes what is shipped; `None` where NATS does, or nothing is.
    pub fn ingest(&self) -> Option<Uri> {
        matches!(self.scheme(), "https" | "http").then(|| format!("{self}/ingest").parse().ok()).flatten()
    }

    fn broker(&self) -> Option<BrokerUrl> {
        matches!(self.scheme(), "nats" | "tls").then(|| self.as_str().parse().ok()).flatten()
    }
}

impl ShipConfig {
    pub(super) fn check_together(&self, refused: &mut Vec<Refused>) {
        let broker = self.to.broker();
        if broker.is_none() && self.to.is_plain_to_others() && !self.insecure.is_accepted() {
            let expected = "https://, or `ship.insecure = \"i understand\"`: who reads the line would read the token";
            refused.push(Refused::new("ship.to", &self.to, expected));
        }
        for key in self.settings_keys.iter().filter(|key| KeyPair::from_public_key(key).is_err()) {
            refused.push(Refused::new("ship.settings_keys", key, "public nkeys, as U and 55 letters and digits"));
        }
        let Some(broker) = broker else {
            if !self.settings_keys.is_empty() && !self.to.is_empty() {
                let expected = "none with https://, where settings are signed by the token";
                refused.push(Refused::new("ship.settings_keys", self.settings_keys.join(", "), expected));
            }
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
        let file = &self.token_file;
        let text = read_text(file, TOKEN_FILE_BYTES).map_err(|error| format!("{}: {error}", file.display()))?;
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
        read_authorities(&self.ca_file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_reached_by_tls_and_at_its_path_for_sensors() {
        for (url, path) in [
            ("https://nta.example.org:5000", "https://nta.example.org:5000/ingest"),
            ("http://127.0.0.1:5000/", "http://127.0.0.1:5000/ingest"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]/ingest"),
        ] {
            let parsed: ShipUrl = url.parse().expect("a URL");
            assert_eq!(parsed.ingest().map(|uri| uri.to_string()).as_deref(), Some(path));
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
