//! `[[webhooks]]`: who is told of alerts and of the daemon's own troubles.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};

use super::problem::Refused;
use super::regular::read_text;
use nta_core::domain::{EVENT_TYPES, Severity};
use nta_core::{Section, Setting, documentation};

/// Webhooks that there may be.
const MOST: usize = 32;
/// Addresses to which one mail goes.
const MOST_RECIPIENTS: usize = 32;
/// Bytes of a file of secrets.
const SECRET_FILE_BYTES: u64 = 16 << 10;
/// Secrets of a webhook: the newest, and those of before while both sides change.
const MOST_SECRETS: usize = 8;
/// How a secret of Standard Webhooks begins.
const SECRET_PREFIX: &str = "whsec_";

/// What a webhook speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookKind {
    /// JSON with the headers of Standard Webhooks.
    Generic,
    /// An incoming webhook of Slack, or what speaks like it.
    Slack,
    /// PagerDuty's Events API v2.
    PagerDuty,
    /// Alertmanager's API v2.
    Alertmanager,
    /// Syslog as RFC 5424 has it.
    Syslog,
    /// E-mail.
    Smtp,
}

impl WebhookKind {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Slack => "slack",
            Self::PagerDuty => "pagerduty",
            Self::Alertmanager => "alertmanager",
            Self::Syslog => "syslog",
            Self::Smtp => "smtp",
        }
    }

    /// Which schemes its URL may have.
    const fn schemes(self) -> &'static [&'static str] {
        match self {
            Self::Generic | Self::Slack | Self::PagerDuty | Self::Alertmanager => &["https", "http"],
            Self::Syslog => &["udp", "tcp", "tls"],
            Self::Smtp => &["smtps", "smtp"],
        }
    }
}

/// Where a webhook goes. What may hold a secret, which is all but scheme, host and port, is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct WebhookUrl(Uri);

impl WebhookUrl {
    /// The whole of it, for who connects.
    pub const fn uri(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host().unwrap_or_default();
        write!(f, "{}://{host}", self.0.scheme_str().unwrap_or_default())?;
        self.0.port_u16().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for WebhookUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "expected a URL with scheme and host, such as https://hooks.example.org/nta";
        let uri: Uri = text.parse().map_err(|_wrong| WRONG)?;
        let has_host = uri.host().is_some_and(|host| !host.is_empty()) && uri.scheme_str().is_some();
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("expected a URL without user and password: `user` and `secrets` hold them");
        }
        if has_host { Ok(Self(uri)) } else { Err(WRONG) }
    }
}

impl Serialize for WebhookUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What must not be printed, and is not.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// Declares the settings of a webhook once: as its struct, and as documentation shows them.
macro_rules! webhook {
    ($( $(#[doc = $doc:literal])+ $(#[serde($($serde:tt)+)])? $field:ident: $type:ty, )+) => {
        /// One webhook.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct WebhookConfig {
            $( $(#[doc = $doc])+ $(#[serde($($serde)+)])? pub $field: $type, )+
        }

        /// Each setting, and what it means.
        const SETTINGS: &[Documented] = &[$( (stringify!($field), &[$($doc),+]) ),+];
    };
}

webhook! {
    /// Its name, by which the database knows how far it is.
    name: String,
    /// What it speaks: generic, slack, pagerduty, alertmanager, syslog or smtp.
    kind: WebhookKind,
    /// Where it goes. It is printed without its path, which may be secret; `secrets` are not printed at all.
    url: WebhookUrl,
    /// Of `generic` its signing secrets, newest first; of `pagerduty` the routing key; of `alertmanager` and `slack` a bearer token; of `smtp`
    /// the password.
    #[serde(default)]
    secrets: Vec<Secret>,
    /// A file with the secrets, one a line.
    #[serde(default)]
    secret_file: Option<PathBuf>,
    /// The mildest severity that is sent.
    #[serde(default = "medium", with = "severity")]
    min_severity: Severity,
    /// Types of events that are sent; `alert` stands for all that begin with it.
    #[serde(default = "types")]
    types: Vec<String>,
    /// Whether it may lead to this machine or a link-local address.
    #[serde(default)]
    allow_local: bool,
    /// Of `smtp`: who logs in; nobody where it is empty.
    #[serde(default)]
    user: String,
    /// Of `smtp`: the sender.
    #[serde(default)]
    from: String,
    /// Of `smtp`: who gets it.
    #[serde(default)]
    to: Vec<String>,
}

const fn medium() -> Severity {
    Severity::Medium
}

fn types() -> Vec<String> {
    ["alert", "capture", "store"].map(str::to_owned).to_vec()
}

mod severity {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::Severity;

    pub(super) fn serialize<S: Serializer>(severity: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(severity.word())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Severity, D::Error> {
        let word = String::deserialize(deserializer)?;
        let words = Severity::ALL.map(Severity::word).join(", ");
        Severity::named(&word).ok_or_else(|| D::Error::custom(format!("`{word}`: expected one of {words}")))
    }
}

/// Checks what types cannot.
pub(super) fn check(webhooks: &[WebhookConfig], refused: &mut Vec<Refused>) {
    if webhooks.len() > MOST {
        refused.push(Refused::new("webhooks", webhooks.len(), format!("at most {MOST} webhooks")));
    }
    let mut names = HashSet::new();
    for webhook in webhooks {
        webhook.check(refused);
        if !names.insert(&webhook.name) {
            refused.push(Refused::new("webhooks.name", &webhook.name, "a name that no other webhook has"));
        }
    }
}

impl WebhookConfig {
    fn check(&self, refused: &mut Vec<Refused>) {
        let mut refuse = |field: &str, said: &dyn fmt::Display, expected: &str| {
            let name: String = self.name.chars().take(64).collect();
            let expected = format!("{expected} (webhook `{}`)", name.escape_debug());
            refused.push(Refused::new(format!("webhooks.{field}"), said, expected));
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(is_name) {
            refuse("name", &self.name.escape_debug(), "1 to 64 letters, digits, `-`, `_` and `.`");
        }
        let scheme = self.url.uri().scheme_str().unwrap_or_default();
        if !self.kind.schemes().contains(&scheme) {
            let schemes = self.kind.schemes().join("://, ");
            refuse("url", &self.url, &format!("a URL that begins with one of {schemes}://"));
        }
        for word in &self.types {
            let is_known = EVENT_TYPES.iter().any(|(name, _)| name == word || name.split('_').next() == Some(word));
            if !is_known {
                let words = EVENT_TYPES.map(|(name, _)| name).join(", ");
                refuse(
                    "types",
                    &word.escape_debug(),
                    &format!("some of {words}, or a first word of these such as alert"),
                );
            }
        }
        if !self.secrets.is_empty() && self.secret_file.is_some() {
            refuse("secret_file", &"secrets", "either `secrets` or `secret_file`");
        }
        if let Err(why) = self.check_secrets(&self.secrets) {
            refuse("secrets", &"***", why);
        }
        if self.kind == WebhookKind::PagerDuty && self.secrets.is_empty() && self.secret_file.is_none() {
            refuse("secrets", &"none", "the routing key of the service");
        }
        let is_address =
            |text: &str| text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
        let is_mail = self.kind == WebhookKind::Smtp;
        if is_mail && !is_address(&self.from) {
            refuse("from", &self.from.escape_debug(), "the address of the sender, such as nta@example.org");
        }
        let is_to = (1..=MOST_RECIPIENTS).contains(&self.to.len()) && self.to.iter().all(|to| is_address(to));
        if is_mail && !is_to {
            refuse("to", &self.to.join(", ").escape_debug(), "1 to 32 addresses");
        }
        let names_mail = !(self.from.is_empty() && self.to.is_empty() && self.user.is_empty());
        if names_mail && !is_mail {
            refuse("from", &self.from.escape_debug(), "`from`, `to` and `user` with kind = \"smtp\" only");
        }
    }

    fn check_secrets(&self, secrets: &[Secret]) -> Result<(), &'static str> {
        if secrets.len() > MOST_SECRETS {
            return Err("at most 8 secrets");
        }
        if secrets.iter().any(|secret| secret.0.is_empty() || secret.0.chars().any(char::is_control)) {
            return Err("secrets of a line each, none of them empty");
        }
        match self.kind {
            WebhookKind::Generic if !secrets.iter().all(|secret| key(secret).is_some()) => Err(
                "secrets of the form whsec_ and 24 to 64 bytes in Base64, as `echo whsec_$(openssl rand -base64 32)` makes one",
            ),
            WebhookKind::Generic => Ok(()),
            _ if secrets.len() > 1 => Err("one secret"),
            _ => Ok(()),
        }
    }

    /// Its secrets, from the file where that has them.
    ///
    /// # Errors
    /// Says what is wrong with the file, and nothing of what it holds.
    pub fn read_secrets(&self) -> Result<Vec<Secret>, String> {
        let Some(path) = &self.secret_file else { return Ok(self.secrets.clone()) };
        let shown = path.display();
        let secrets = lines(path).map_err(|error| format!("{shown}: {error}"))?;
        self.check_secrets(&secrets).map_err(|expected| format!("{shown}: expected {expected}"))?;
        Ok(secrets)
    }

    /// What of it is secret: path and query of the URL, where they are more than a word of the language, and the secrets.
    pub(super) fn hidden(&self) -> Vec<String> {
        const LEAST_PATH: usize = 16;
        let path = self.url.0.path_and_query().map(|path| path.as_str().trim_matches('/').to_owned());
        let path = path.filter(|path| path.len() >= LEAST_PATH);
        let secrets = self.read_secrets().unwrap_or_default();
        path.into_iter().chain(secrets.into_iter().map(|secret| secret.0)).collect()
    }

    /// The section with the values that it has here, without what is secret.
    pub(super) fn section(&self) -> Result<Section, toml::ser::Error> {
        let table = toml::Value::try_from(self)?;
        let shown = SETTINGS.iter().filter(|(key, _)| *key != "secrets");
        let setting = |&(key, doc): &Documented| Some(setting(key, doc, table.get(key)?.to_string()));
        Ok(Section { settings: shown.filter_map(setting).collect(), ..reference() })
    }
}

/// The section as documentation shows it: what has no default, and must be given, is empty.
pub(super) fn reference() -> Section {
    let defaults: WebhookConfig = toml::from_str(LEAST).expect("it is one");
    let table = toml::Value::try_from(defaults).expect("it can be written");
    let least: toml::Table = LEAST.parse().expect("it is TOML");
    let default = |key: &str| match table.get(key) {
        _ if least.contains_key(key) => String::new(),
        Some(value) => value.to_string(),
        None => "\"\"".to_owned(),
    };
    let settings = SETTINGS.iter().map(|&(key, doc)| setting(key, doc, default(key))).collect();
    Section { name: "[webhooks]", about: "Who is told of what happens: one section each.".to_owned(), settings }
}

fn setting(key: &'static str, doc: &[&str], value: String) -> Setting {
    Setting { key, value, doc: documentation(doc), bounds: None }
}

/// A setting, and what it means.
type Documented = (&'static str, &'static [&'static str]);

/// What a webhook cannot be without.
const LEAST: &str = "name = \"ops\"\nkind = \"generic\"\nurl = \"https://hooks.example.org/\"\n";

fn lines(path: &Path) -> std::io::Result<Vec<Secret>> {
    let text = read_text(path, SECRET_FILE_BYTES)?;
    let lines: Vec<Secret> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|s| Secret(s.to_owned())).collect();
    if lines.is_empty() { Err(std::io::Error::other("holds no secret")) } else { Ok(lines) }
}

/// The key that a secret of Standard Webhooks stands for.
pub fn key(secret: &Secret) -> Option<Vec<u8>> {
    let key = STANDARD.decode(secret.0.strip_prefix(SECRET_PREFIX)?).ok()?;
    (24..=64).contains(&key.len()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn problems(text: &str) -> String {
        let config: Result<Config, _> = toml::from_str(text);
        match config {
            Ok(config) => config.check().map_or_else(|error| error.to_string(), |()| String::new()),
            Err(error) => error.to_string(),
        }
    }

    const GOOD: &str = "[[webhooks]]\nname = \"ops\"\nkind = \"generic\"\nurl = \"https://hooks.example.org/T0/very-secret\"\n\
                        secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n";

    #[test]
    fn what_is_wrong_with_a_webhook_is_named() {
        assert_eq!(problems(GOOD), "");
        let with = |from: &str, to: &str| GOOD.replace(from, to);
        for (text, said) in [
            (with("\"ops\"", "\"a b\""), "webhooks.name"),
            (with("https:", "ftp:"), "https://"),
            (with("https://hooks.example.org/T0/very-secret", "hooks"), "URL"),
            (with("https://hooks", "https://me:pass@hooks"), "without user"),
            (with("MfKQ", "!"), "whsec_"),
            (with("generic", "colour"), "colour"),
            (with("generic", "smtp"), "smtps://"),
            (with("kind", "types = [\"alert\", \"weather\"]\nkind"), "weather"),
            (with("kind", "types = [\"weather\"]\nkind"), "store_trouble"),
            (with("kind", "min_severity = \"bad\"\nkind"), "critical"),
            (with("kind", "secret_file = \"/a\"\nkind"), "secret_file"),
            (with("kind", "to = [\"a@b\"]\nkind"), "smtp"),
            (format!("{GOOD}{GOOD}"), "no other webhook"),
            (
                with("secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]", "").replace("generic", "pagerduty"),
                "routing key",
            ),
        ] {
            let problems = problems(&text);
            assert!(problems.contains(said), "{text}: {problems}");
            assert!(!problems.contains("MfKQ") || problems.contains("TOML parse"), "{problems}");
        }
    }

    #[test]
    fn secrets_are_never_printed() {
        let config: Config = toml::from_str(GOOD).expect("a configuration");
        let printed = [
            format!("{config:?}"),
            config.to_toml().expect("TOML"),
            serde_json::to_string(&config.webhooks).expect("JSON"),
        ];
        for text in printed {
            assert!(text.contains("hooks.example.org"), "{text}");
            assert!(!text.contains("MfKQ") && !text.contains("very-secret"), "{text}");
        }
    }

    #[test]
    fn a_file_may_hold_the_secrets() {
        let file = tempfile::NamedTempFile::new().expect("file");
        let mut config: Config = toml::from_str(GOOD).expect("a configuration");
        config.webhooks[0].secrets.clear();
        config.webhooks[0].secret_file = Some(file.path().to_owned());
        assert!(config.webhooks[0].read_secrets().expect_err("empty").contains("no secret"));
        std::fs::write(file.path(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n\nwhsec_short\n").expect("write");
        let error = config.webhooks[0].read_secrets().expect_err("wrong");
        assert!(error.contains("whsec_") && !error.contains("short"), "{error}");
        std::fs::write(file.path(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("write");
        assert_eq!(config.webhooks[0].read_secrets().map(|secrets| secrets.len()), Ok(1));
    }
}
