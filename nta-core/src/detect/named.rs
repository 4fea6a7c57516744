//! What the configuration names one by one: domains and stations.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::Mac;

/// A domain's name, in lower case and without a dot at its end.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

/// A station's address.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Station(Mac);

impl Domain {
    /// Whether a name is this one or below it.
    pub(super) fn covers(&self, name: &str) -> bool {
        name == self.0 || name.strip_suffix(self.0.as_str()).is_some_and(|rest| rest.ends_with('.'))
    }
}

impl Station {
    pub(super) fn is(&self, mac: Mac) -> bool {
        self.0 == mac
    }
}

impl TryFrom<String> for Domain {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let name = text.strip_suffix('.').unwrap_or(&text).to_ascii_lowercase();
        let is_name = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if name.len() <= 253 && name.split('.').all(is_name) {
            return Ok(Self(name));
        }
        Err(format!("`{text}`: expected a domain such as example.org (as DNS has it: xn--… for other scripts)"))
    }
}

impl TryFrom<String> for Station {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts: Vec<&str> = text.split([':', '-']).collect();
        let is_byte = |part: &str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        let byte = |part: &&str| is_byte(part).then(|| u8::from_str_radix(part, 16).ok()).flatten();
        let bytes: Option<Vec<u8>> = parts.iter().map(byte).collect();
        let mac = bytes.and_then(|bytes| bytes.try_into().ok());
        mac.map(|mac| Self(Mac(mac)))
            .ok_or_else(|| format!("`{text}`: expected a MAC address such as 02:00:5e:10:00:01"))
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> Self {
        domain.0
    }
}

impl From<Station> for String {
    fn from(station: Station) -> Self {
        station.0.to_string()
    }
}

/// As the configuration file has it: in quotes.
impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// As the configuration file has it: in quotes.
impl fmt::Debug for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Result<Domain, String> {
        text.to_owned().try_into()
    }

    #[test]
    fn a_domain_covers_itself_and_what_is_below_it() {
        let own = domain("Example.ORG.").expect("a domain");
        assert!(own.covers("example.org") && own.covers("a.b.example.org"));
        assert!(!own.covers("notexample.org") && !own.covers("org"));
        for text in ["", ".", "https://example.org", "*.example.org", "example .org", "a..b", &"x".repeat(64)] {
            assert!(domain(text).expect_err(text).contains(&format!("`{text}`")));
        }
    }

    #[test]
    fn a_station_is_the_same_however_it_is_written() {
        for text in ["02:00:5e:10:00:0a", "02-00-5E-10-00-0A"] {
            let station = Station::try_from(text.to_owned()).expect("an address");
            assert!(station.is(Mac([2, 0, 0x5e, 0x10, 0, 0x0a])));
        }
        for text in
            ["", "02:00:5e:10:00", "02:00:5e:10:00:0a:00", "2:0:5e:10:0:a", "02:00:5e:10:00:0g", "+2:00:5e:10:00:0a"]
        {
            assert!(Station::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
