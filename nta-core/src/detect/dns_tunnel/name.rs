//! What a name asked for looks like: the domain that somebody owns, and what is in front of it.

/// Labels under a country's domain that are no owner's: `example.co.uk`. A constant and not the Public Suffix List
/// (crate `psl`): names are only grouped here, a wrong cut moves one label, and the list is a megabyte that ages.
const SECOND_LEVEL: [&str; 14] =
    ["co", "com", "net", "org", "gov", "gob", "gouv", "edu", "ac", "or", "ne", "go", "mil", "nom"];
/// The longest top-level domain of the root zone, in characters (`xn--vermgensberatung-pwb`).
const LONGEST_TLD: usize = 24;
/// Group of the names that end in no top-level domain, as those of dnscat2 without a domain.
pub(super) const NO_DOMAIN: &str = "(no domain)";

/// A name, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name {
    /// Lower case.
    pub(super) parent: String,
    /// Bytes in front of it, dots not counted.
    pub(super) bytes: u32,
    /// Their Shannon entropy in bits a byte.
    pub(super) entropy: f64,
}

impl Name {
    /// `None` for names of the infrastructure: reverse look-ups, the local link, service discovery, and the root.
    pub(super) fn of(text: &str) -> Option<Self> {
        let text = text.trim_end_matches('.');
        if text.is_empty() || is_infrastructure(text) {
            return None;
        }
        let cut = parent_at(text);
        let (front, parent) = match cut {
            Some(at) => (&text[..at], text[at..].to_ascii_lowercase()),
            None => (text, NO_DOMAIN.to_owned()),
        };
        let (bytes, entropy) = measure(front.as_bytes());
        Some(Self { parent, bytes, entropy })
    }
}

fn is_infrastructure(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let ends = |suffix: &str| lower == suffix || lower.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
    ["arpa", "local", "localhost", "localdomain"].into_iter().any(ends)
        || lower.contains("._tcp.")
        || lower.contains("._udp.")
}

/// Where the parent domain begins; `None` if it has no top-level domain.
fn parent_at(text: &str) -> Option<usize> {
    let dots: Vec<usize> = text.match_indices('.').map(|(at, _)| at).collect();
    let after = |nth: usize| dots.len().checked_sub(nth).map_or(0, |i| dots[i] + 1);
    let top = &text[after(1)..];
    let is_top = top.len() <= LONGEST_TLD
        && (top.bytes().all(|b| b.is_ascii_alphabetic()) || top.to_ascii_lowercase().starts_with("xn--"));
    if !is_top {
        return None;
    }
    let second = dots.last().map_or("", |last| &text[after(2)..*last]);
    let is_suffix = top.len() == 2 && SECOND_LEVEL.contains(&second.to_ascii_lowercase().as_str());
    Some(after(if is_suffix { 3 } else { 2 }))
}

/// Bytes of a name, an escaped one as one, with a dot for the length of each label but the first.
pub(super) fn length(text: &str) -> u32 {
    let dots = text.trim_end_matches('.').bytes().filter(|byte| *byte == b'.').count();
    measure(text.as_bytes()).0 + u32::try_from(dots).unwrap_or(u32::MAX)
}

/// Bytes without dots, an escaped one as one, and their entropy.
fn measure(front: &[u8]) -> (u32, f64) {
    let mut counts = [0_u32; 256];
    let mut i = 0;
    while let Some(&byte) = front.get(i) {
        let escaped = front.get(i + 1..i + 4).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u8>().ok());
        match (byte, escaped) {
            (b'\\', Some(value)) => {
                counts[usize::from(value)] += 1;
                i += 4;
                continue;
            }
            (b'.', _) => {}
            _ => counts[usize::from(byte)] += 1,
        }
        i += 1;
    }
    let total: u32 = counts.iter().sum();
    let share = |count: &u32| f64::from(*count) / f64::from(total);
    let entropy = counts.iter().filter(|count| **count > 0).map(|count| -share(count) * share(count).log2()).sum();
    (total, entropy)
}

/// Types whose answers hold free data: NULL, CNAME, MX, TXT, KEY, and those for private use (RFC 6895). SRV is left
/// out: directories ask for many under one parent.
pub(super) const fn is_carrier(qtype: u16) -> bool {
    matches!(qtype, 5 | 10 | 15 | 16 | 25 | 65280..=65534)
}

/// Whether a name is one at which a mail server looks up how others' mail is to be taken: TXT by design, of the domain's owner
/// (RFC 6376, 7489, 8460, 8461).
pub(super) fn is_mail_policy(name: &str) -> bool {
    let is = |label: &str, word: &str| label.eq_ignore_ascii_case(word);
    name.split('.').any(|label| ["_domainkey", "_dmarc", "_mta-sts", "_smtp"].into_iter().any(|word| is(label, word)))
}

/// Whether a name begins with an address backwards, as block lists are asked (RFC 5782).
pub(super) fn is_reversed_address(name: &str) -> bool {
    let octets = name.split('.').take_while(|label| label.parse::<u8>().is_ok()).count();
    let is_nibble = |label: &&str| label.len() == 1 && label.as_bytes()[0].is_ascii_hexdigit();
    let nibbles = name.split('.').take_while(is_nibble).count();
    octets == 4 || nibbles == 32
}

#[cfg(test)]
mod tests {
    use super::{NO_DOMAIN, Name};

    #[test]
    fn the_owner_is_two_labels_or_three_below_a_country_and_none_without_a_top_level_domain() {
        for (name, parent, bytes) in [
            ("abc.def.Example.com", "example.com", 6),
            ("www.example.co.uk", "example.co.uk", 3),
            ("example.com", "example.com", 0),
            ("dnscat.0a1b.22ff01", NO_DOMAIN, 16),
            ("a\\200b.pirate.sea", "pirate.sea", 3),
        ] {
            let taken = Name::of(name).expect("no infrastructure");
            assert_eq!((taken.parent.as_str(), taken.bytes), (parent, bytes), "{name}");
        }
        for name in ["1.0.168.192.in-addr.arpa", "printer.local", "_ldap._tcp.dc._msdcs.corp.example", ""] {
            assert_eq!(Name::of(name), None, "{name}");
        }
    }

    #[test]
    fn an_escaped_byte_is_one() {
        assert_eq!(super::length("a\\200\\201b.example.org"), 16);
        assert_eq!(super::length("www.example.org."), 15);
    }

    #[test]
    fn entropy_is_that_of_the_bytes_in_front() {
        let entropy = |name| Name::of(name).expect("a name").entropy;
        assert!((entropy("aaaa.example.com") - 0.0).abs() < 1e-12);
        assert!((entropy("abcdefgh.example.com") - 3.0).abs() < 1e-12);
    }
}
