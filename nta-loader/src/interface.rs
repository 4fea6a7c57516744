//! Names and patterns of network interfaces.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kernel's limit, without the terminating zero (`IFNAMSIZ` - 1).
const MAX_NAME: usize = 15;

/// The name of an interface, or a pattern of names: `*` stands for any characters, `?` for one, and `!` in front takes
/// those that match away from what other patterns select.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfacePattern {
    text: String,
}

/// A text that can be no interface's name or pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no interface: 1 to {MAX_NAME} characters without `/`, `:`, blanks and controls; `*`, `?` and a leading `!` \
         make it a pattern", .0.escape_debug())]
pub struct InterfacePatternError(String);

impl InterfacePattern {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether what matches is left out.
    pub fn is_exclusion(&self) -> bool {
        self.text.starts_with('!')
    }

    /// Whether it is one interface's name.
    pub fn is_name(&self) -> bool {
        !self.is_exclusion() && !self.text.contains(['*', '?'])
    }

    /// Whether it matches this name; of an exclusion, whether it leaves it out.
    pub fn matches(&self, name: &str) -> bool {
        glob(self.text.strip_prefix('!').unwrap_or(&self.text).as_bytes(), name.as_bytes())
    }
}

/// Whether patterns select an interface: one matches (or all are exclusions), and none leaves it out.
pub fn selects(patterns: &[InterfacePattern], name: &str) -> bool {
    let mut wanted = patterns.iter().filter(|pattern| !pattern.is_exclusion()).peekable();
    let is_wanted = wanted.peek().is_none() || wanted.any(|pattern| pattern.matches(name));
    is_wanted && !patterns.iter().any(|pattern| pattern.is_exclusion() && pattern.matches(name))
}

/// Whether these patterns leave any name to select. Names that they match are tried, so that all need not be known.
pub fn can_select(patterns: &[InterfacePattern]) -> bool {
    const STARS: [&str; 6] = ["", "q", "0", "j7", "zz9", "4x-k"];
    let any = [InterfacePattern { text: "*".to_owned() }];
    let mut wanted: Vec<&InterfacePattern> = patterns.iter().filter(|pattern| !pattern.is_exclusion()).collect();
    if wanted.is_empty() {
        wanted.extend(&any);
    }
    let names = wanted.iter().flat_map(|pattern| {
        let named = |star: &&str| pattern.text.replace('*', star).replace('?', "q");
        STARS.iter().map(named).collect::<Vec<_>>()
    });
    names.into_iter().any(|name| (1..=MAX_NAME).contains(&name.len()) && selects(patterns, &name))
}

/// Both are short (at most 16 bytes), so that trying every length of every `*` stays cheap.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|skipped| glob(rest, &name[skipped..])),
        (Some((b'?', rest)), Some((_, name))) => glob(rest, name),
        (Some((wanted, rest)), Some((is, name))) => wanted == is && glob(rest, name),
        _ => false,
    }
}

impl FromStr for InterfacePattern {
    type Err = InterfacePatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_prefix('!').unwrap_or(text);
        // What the kernel's dev_valid_name refuses, and `!` and `,`, which mean something here.
        let is_refused = |c: char| matches!(c, '/' | ':' | '!' | ',') || c.is_whitespace() || c.is_control();
        let is_valid = (1..=MAX_NAME).contains(&name.len()) && name != "." && name != "..";
        // Two stars beside each other say no more than one, and many in a row take long to try.
        if is_valid && !name.contains(is_refused) && !name.contains("**") {
            return Ok(Self { text: text.to_owned() });
        }
        Err(InterfacePatternError(text.chars().take(64).collect()))
    }
}

impl TryFrom<String> for InterfacePattern {
    type Error = InterfacePatternError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<InterfacePattern> for String {
    fn from(pattern: InterfacePattern) -> Self {
        pattern.text
    }
}

impl fmt::Display for InterfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<InterfacePattern> {
        texts.iter().map(|text| text.parse().expect("a pattern")).collect()
    }

    #[test]
    fn patterns_select_names() {
        for (texts, name, selected) in [
            (&["eth0"] as &[&str], "eth0", true),
            (&["eth0"], "eth01", false),
            (&["eth*"], "eth0", true),
            (&["eth*"], "wlan0", false),
            (&["eth?"], "eth", false),
            (&["*", "!docker*"], "docker0", false),
            (&["*", "!docker*"], "eth0", true),
            (&["!docker*", "!veth*"], "eth0", true),
            (&["!docker*", "!veth*"], "veth1a2b", false),
            (&["e*0*"], "enp0s31f6", true),
            (&[], "eth0", true),
        ] {
            assert_eq!(selects(&patterns(texts), name), selected, "{texts:?} {name}");
        }
        assert!(patterns(&["eth0"])[0].is_name() && !patterns(&["!eth0"])[0].is_name());
    }

    #[test]
    fn patterns_that_leave_nothing_to_select_are_known() {
        for texts in [
            &["!*"] as &[&str],
            &["!?*"],
            &["!*?"],
            &["!?", "!??*"],
            &["eth0", "!eth0"],
            &["eth0", "!e*"],
            &["eth*", "wlan*", "!?*"],
            &["e?h*", "!eth*", "!e*"],
        ] {
            assert!(!can_select(&patterns(texts)), "{texts:?}");
        }
        for texts in [
            &[] as &[&str],
            &["!docker*"],
            &["!??*"],
            &["eth*", "!eth0"],
            &["eth0", "wlan0", "!eth*"],
            &["*", "!lo", "!veth*"],
            &["a-name-of15-ch*"],
        ] {
            assert!(can_select(&patterns(texts)), "{texts:?}");
        }
    }

    #[test]
    fn what_no_interface_can_be_called_is_refused() {
        for text in ["", "!", "a/b", "a b", ".", "..", "a\n", "a:1", "a,b", "a-name-of-16-chr", "a**b"] {
            assert!(text.parse::<InterfacePattern>().is_err(), "{text:?}");
        }
    }
}
