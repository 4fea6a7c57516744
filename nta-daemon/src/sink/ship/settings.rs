//! What a server or a collector has a sensor do otherwise than it is configured.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use nkeys::KeyPair;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::sync::PoisonError;

use super::Shared;

/// What a server may have a sensor do otherwise than it is configured; what is null stays as configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShipSettings {
    /// Whether flows are shipped.
    pub flows: Option<bool>,
    /// Whether heads of frames are.
    pub headers: Option<bool>,
    /// Most bytes a second.
    pub max_bytes_per_s: Option<u64>,
}

/// The signature of settings for who shows a token with this hash.
pub fn sign(token_hash: &[u8; 32], version: u64, text: &str) -> String {
    mac(token_hash, version, text)
        .finalize()
        .into_bytes()
        .iter()
        .fold(String::new(), |all, byte| format!("{all}{byte:02x}"))
}

/// The signature of a sensor's settings by a collector's nkey (Ed25519), in Base64.
pub fn sign_by_key(key: &KeyPair, sensor: &str, version: u64, text: &str) -> Option<String> {
    let signature = key.sign(signed_by_key(sensor, version, text).as_bytes());
    signature
        .map(|bytes| BASE64.encode(bytes))
        .inspect_err(|error| tracing::error!(%error, "settings cannot be signed"))
        .ok()
}

/// What is signed names its sensor: another's are not followed.
fn signed_by_key(sensor: &str, version: u64, text: &str) -> String {
    format!("nta settings {sensor} {version} {text}")
}

/// Who is believed to have a sensor do something.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trust<'a> {
    /// Who signs with this token. Without one anybody may speak for the server, on the loopback.
    Token(Option<&'a str>),
    /// Who signs with one of these nkeys; without any, who may publish answers.
    Keys(&'a [String]),
}

impl Trust<'_> {
    fn holds(self, sensor: &str, settings: &SettingsAnswer) -> bool {
        let SettingsAnswer { version, text, signature } = settings;
        match (self, signature) {
            (Self::Token(None) | Self::Keys([]), _) => true,
            (_, None) => false,
            (Self::Token(Some(token)), Some(signature)) => {
                sign(&Sha256::digest(token).into(), *version, text) == *signature
            }
            (Self::Keys(keys), Some(signature)) => {
                let Ok(signature) = BASE64.decode(signature) else { return false };
                let signed = signed_by_key(sensor, *version, text);
                let keys = keys.iter().filter_map(|key| KeyPair::from_public_key(key).ok());
                keys.into_iter().any(|key| key.verify(signed.as_bytes(), &signature).is_ok())
            }
        }
    }
}

fn mac(token_hash: &[u8; 32], version: u64, text: &str) -> Hmac<Sha256> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(token_hash) else { unreachable!("a key of any length is taken") };
    mac.update(format!("{version}.").as_bytes());
    mac.update(text.as_bytes());
    mac
}

/// What an answer says of it.
#[derive(Debug, Deserialize)]
pub(super) struct SettingsAnswer {
    version: u64,
    /// JSON, as it was signed.
    text: String,
    /// HMAC-SHA-256 by a token, in hexadecimal digits, or Ed25519 by an nkey, in Base64.
    signature: Option<String>,
}

impl Shared {
    /// Follows what the server wants, if it is the server that wants it.
    pub(super) fn obey(&self, trust: Trust<'_>, settings: &SettingsAnswer) {
        let (followed, refused) = {
            let state = self.state();
            (state.settings, state.refused_settings)
        };
        if followed == settings.version {
            return;
        }
        // Those that one has signed who is not believed, another may sign who is.
        let is_signed = trust.holds(&self.sensor, settings);
        let wanted = serde_json::from_str::<ShipSettings>(&settings.text);
        let (true, Ok(wanted)) = (is_signed, wanted) else {
            if refused != settings.version {
                let reason = if is_signed {
                    "they are none of this version's"
                } else {
                    "they are not signed by the token, or by one of ship.settings_keys"
                };
                tracing::warn!(version = settings.version, reason, "ship: the server's settings are not followed");
                self.state().refused_settings = settings.version;
            }
            return;
        };
        let configured = self.configured;
        self.store.change_outbox(|outbox| {
            outbox.flows = wanted.flows.unwrap_or(configured.flows);
            outbox.raw_packets = wanted.headers.unwrap_or(configured.raw_packets);
        });
        let pace = wanted.max_bytes_per_s.unwrap_or(self.configured_pace);
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = pace;
        {
            let mut state = self.state();
            (state.settings, state.refused_settings) = (settings.version, 0);
        }
        tracing::info!(
            version = settings.version,
            settings = settings.text,
            "ship: the server's settings are followed"
        );
    }
}
