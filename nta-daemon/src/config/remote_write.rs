//! `[remote_write]`: what `/metrics` has, pushed to a store of Prometheus' kind.

use std::path::{Path, PathBuf};

use axum::http::{HeaderName, HeaderValue};
use nta_core::Bounds;

use super::Refused;
use super::api::Insecure;
use super::regular::{read_authorities, read_text};
use super::section::section;
use super::url::{Names, Url, UrlKind};

/// More often than a second nothing is new; a store forgets a series that is silent for five minutes.
const INTERVAL_S: Bounds = Bounds::new(1.0, 240.0);
/// Bytes of a file with a token or with headers.
const FILE_BYTES: u64 = 16 << 10;
/// Headers that a file may have.
const MOST_HEADERS: usize = 16;
/// Headers that are the protocol's own.
const OWN: [&str; 8] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
    "x-prometheus-remote-write-version",
];

section! {
    /// What /metrics has, pushed by remote-write 1.0: to Prometheus, Mimir, VictoriaMetrics, Thanos.
    RemoteWriteConfig in "remote_write" {
        /// URL, such as https://prometheus.example.org/api/v1/write; empty pushes nothing.
        to: RemoteWriteUrl = RemoteWriteUrl::default(),
        /// Seconds between two pushes.
        interval_s: u64 = 15 => INTERVAL_S,
        /// File whose first line is a bearer token. It is read before each push.
        token_file: PathBuf = PathBuf::new(),
        /// File with further headers, one a line, such as `X-Scope-OrgID: 1`. It is read before each push.
        headers_file: PathBuf = PathBuf::new(),
        /// File with certificates (PEM) of authorities that the server's may be signed by, beside those that this machine trusts.
        ca_file: PathBuf = PathBuf::new(),
        /// "i understand" pushes to another machine without TLS; "" does not.
        insecure: Insecure = Insecure::default(),
    }
}

/// Where metrics are pushed to; empty for nowhere.
pub type RemoteWriteUrl = Url<RemoteWriteKind>;

/// What [`RemoteWriteUrl`] may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteWriteKind;

impl UrlKind for RemoteWriteKind {
    const EXPECTED: &'static str = "https://HOST:PORT/PATH or http://HOST:PORT/PATH, without a user";
    const SCHEMES: &'static [(&'static str, Names)] = &[("https", Names::HostAndPath), ("http", Names::HostAndPath)];
}

impl RemoteWriteConfig {
    pub(super) fn check_together(&self, refused: &mut Vec<Refused>) {
        if self.to.is_plain_to_others() && !self.insecure.is_accepted() {
            let expected =
                "https://, or `remote_write.insecure = \"i understand\"`: who reads the line would read it all";
            refused.push(Refused::new("remote_write.to", &self.to, expected));
        }
    }

    /// Names and values of the headers in both files.
    ///
    /// # Errors
    /// Names the setting, and says what is wrong with its file and nothing of what that holds.
    pub fn headers(&self) -> Result<Vec<(String, String)>, (&'static str, String)> {
        let mut headers = Vec::new();
        if !self.token_file.as_os_str().is_empty() {
            let wrong = |why| ("remote_write.token_file", why);
            let text = text(&self.token_file).map_err(wrong)?;
            let token = text.lines().next().unwrap_or_default().trim();
            let value = header(&format!("authorization: Bearer {token}")).filter(|_| !token.is_empty());
            let said = || wrong(format!("{}: the first line holds no token", self.token_file.display()));
            headers.push(value.ok_or_else(said)?);
        }
        if !self.headers_file.as_os_str().is_empty() {
            let wrong = |why| ("remote_write.headers_file", why);
            let lines = text(&self.headers_file).map_err(wrong)?;
            for (place, line) in lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let header = header(line).filter(|(name, _)| {
                    headers.len() < MOST_HEADERS
                        && !OWN.contains(&name.as_str())
                        && headers.iter().all(|(known, _)| known != name)
                });
                let said = || {
                    let (file, line) = (self.headers_file.display(), place + 1);
                    wrong(format!("{file}:{line}: expected NAME: VALUE, each name once and none of the protocol's own"))
                };
                headers.push(header.ok_or_else(said)?);
            }
        }
        Ok(headers)
    }

    /// The certificates in the file; none where no file is named.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn authorities(&self) -> Result<Vec<u8>, String> {
        read_authorities(&self.ca_file)
    }
}

fn text(path: &Path) -> Result<String, String> {
    read_text(path, FILE_BYTES).map_err(|error| format!("{}: {error}", path.display()))
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let (name, value) = (name.trim().parse::<HeaderName>().ok()?, value.trim());
    HeaderValue::from_str(value).ok().filter(|value| value.to_str().is_ok())?;
    Some((name.as_str().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_from_files_and_what_is_wrong_is_named_without_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let [token_file, headers_file] = ["token", "headers"].map(|name| folder.path().join(name));
        std::fs::write(&token_file, "s3cret\n").expect("written");
        std::fs::write(&headers_file, "X-Scope-OrgID: 7\n\nX-Other:a:b\n").expect("written");
        let config = RemoteWriteConfig { token_file, headers_file, ..RemoteWriteConfig::default() };
        let headers = config.headers().expect("headers");
        let shown: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(shown, [("authorization", "Bearer s3cret"), ("x-scope-orgid", "7"), ("x-other", "a:b")]);
        for wrong in ["s3cret", "Host: s3cret", "Authorization: s3cret", "a b: s3cret", "X-A: 1\nX-A: s3cret"] {
            std::fs::write(&config.headers_file, wrong).expect("written");
            let (key, said) = config.headers().expect_err("refused");
            assert!(
                key == "remote_write.headers_file" && said.contains("headers:") && !said.contains("s3cret"),
                "{said}"
            );
        }
    }

    #[test]
    fn another_machine_is_pushed_to_by_tls() {
        let refused = |text: &str| {
            let mut refused = Vec::new();
            toml::from_str::<RemoteWriteConfig>(text).expect("a section").check_together(&mut refused);
            !refused.is_empty()
        };
        assert!(refused("to = \"http://192.0.2.1/api/v1/write\""));
        assert!(!refused("to = \"http://192.0.2.1/api/v1/write\"\ninsecure = \"i understand\""));
        assert!(!refused("to = \"http://[::1]:9090/api/v1/write?a=b\"") && !refused("to = \"https://192.0.2.1/w\""));
        for wrong in ["https://user@host/w", "ftp://host/w", "/api/v1/write"] {
            assert!(wrong.parse::<RemoteWriteUrl>().is_err(), "{wrong}");
        }
    }
}
