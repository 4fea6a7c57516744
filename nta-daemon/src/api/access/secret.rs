//! What a token is: 256 random bits behind a prefix by which scanners for secrets find it.

use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::api::ApiError;

const PREFIX: &str = "nta_";

/// A token, or what a cookie holds. It is shown once, and never logged.
pub struct Secret(String);

impl Secret {
    /// A new one.
    pub fn make() -> Self {
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())))
    }

    /// Its text, for its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> [u8; 32] {
        Self::hash_of(&self.0)
    }

    /// The same of what somebody shows.
    pub(in crate::api) fn hash_of(shown: &str) -> [u8; 32] {
        Sha256::digest(shown).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Compares in a time that does not depend on where they differ.
pub(super) fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.ct_eq(other).into()
}

/// The token of `Authorization`.
pub(in crate::api) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let wrong = || ApiError::unauthorized("`Authorization` is not one `Bearer nta_…`", true);
    if values.next().is_some() {
        return Err(wrong());
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.trim().split_once(' ')).ok_or_else(wrong)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_256_bits_is_never_the_same_and_does_not_show_itself() {
        let (one, other) = (Secret::make(), Secret::make());
        let bits = URL_SAFE_NO_PAD.decode(one.reveal().strip_prefix("nta_").expect("the prefix")).expect("base64");
        assert_eq!(bits.len(), 32);
        assert!(!is_same(&one.hash(), &other.hash()) && is_same(&one.hash(), &Secret::hash_of(one.reveal())));
        assert!(!format!("{one:?}").contains(&one.reveal()[4..]));
    }
}
