//! What looks like a secret, taken out of a text. No line is to hold one in the first place: this is for the error of a library that
//! repeats what it was given.

/// What stands in the place of a secret.
const MASK: &str = "***";
/// Shorter ones are words of the language as well.
const LEAST_KNOWN: usize = 6;

/// What comes behind these words is secret.
const SHAPES: [Shape; 8] = [
    // A token is 43 characters of Base64; a metric's name is shorter.
    Shape { start: "nta_", least: 43, is_part: is_base64 },
    Shape { start: "whsec_", least: 16, is_part: is_base64 },
    Shape { start: "bearer ", least: 8, is_part: is_value },
    Shape { start: "basic ", least: 16, is_part: is_base64 },
    Shape { start: "password=", least: 1, is_part: is_value },
    Shape { start: "passwd=", least: 1, is_part: is_value },
    Shape { start: "secret=", least: 1, is_part: is_value },
    Shape { start: "token=", least: 8, is_part: is_value },
];

/// A secret behind a word.
struct Shape {
    /// In lower case.
    start: &'static str,
    /// Least characters.
    least: usize,
    is_part: fn(u8) -> bool,
}

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=')
}

const fn is_value(byte: u8) -> bool {
    !byte.is_ascii_whitespace() && !matches!(byte, b'&' | b',' | b';' | b'"' | b'\'' | b')' | b'`')
}

/// Which of the secrets are worth looking for.
pub(super) fn worth_hiding(secrets: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut known: Vec<String> = secrets.into_iter().filter(|secret| secret.len() >= LEAST_KNOWN).collect();
    // One that another one begins with would leave its end.
    known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    known.dedup();
    known
}

/// The text without what is known to be secret, and without what looks like it.
pub(super) fn without_secrets(text: &str, known: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in known {
        text = text.replace(secret.as_str(), MASK);
    }
    for shape in &SHAPES {
        text = without_shape(&text, shape);
    }
    without_passwords(&text)
}

fn without_shape(text: &str, shape: &Shape) -> String {
    let lower = text.to_ascii_lowercase();
    let (mut out, mut from) = (String::new(), 0);
    while let Some(found) = lower[from..].find(shape.start) {
        let begin = from + found + shape.start.len();
        let length = text.as_bytes()[begin..].iter().take_while(|byte| (shape.is_part)(**byte)).count();
        out.push_str(&text[from..begin]);
        from = begin + length;
        out.push_str(if length >= shape.least { MASK } else { &text[begin..from] });
    }
    out.push_str(&text[from..]);
    out
}

/// `scheme://user:password@host` without its password.
fn without_passwords(text: &str) -> String {
    const SCHEME: &str = "://";
    let (mut out, mut from) = (String::new(), 0);
    while let Some(found) = text[from..].find(SCHEME) {
        let begin = from + found + SCHEME.len();
        let is_end = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '`' | '<' | '>');
        let end = text[begin..].find(is_end).map_or(text.len(), |length| begin + length);
        let authority = &text[begin..end];
        let password = authority.rfind('@').and_then(|at| Some((authority[..at].find(':')?, at)));
        out.push_str(&text[from..begin]);
        match password {
            Some((colon, at)) => out.extend([&authority[..=colon], MASK, &authority[at..]]),
            None => out.push_str(authority),
        }
        from = end;
    }
    out.push_str(&text[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_and_what_is_beside_them_stays() {
        let token = format!("nta_{}", "aB3-_".repeat(9));
        for (text, expected) in [
            ("a plain line: nta_ledger_packets_total", "a plain line: nta_ledger_packets_total"),
            (&format!("no such token {token}, said é"), "no such token nta_***, said é"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw!", "whsec_***!"),
            ("Authorization: Bearer abcdefghijkl\"", "Authorization: Bearer ***\""),
            (
                "postgres://nta:s3cr:e@t@db.example/nta?password=x&port=1",
                "postgres://nta:***@db.example/nta?password=***&port=1",
            ),
            ("http://127.0.0.1:5000/a:b@c", "http://127.0.0.1:5000/a:b@c"),
            ("PASSWORD=Hunter2; Token=12345678", "PASSWORD=***; Token=***"),
            ("the hook /T0/very-secret/x is gone", "the hook *** is gone"),
            ("ends with ://", "ends with ://"),
        ] {
            let known = worth_hiding(["/T0/very".to_owned(), "/T0/very-secret/x".to_owned(), "is".to_owned()]);
            assert_eq!(without_secrets(text, &known), expected);
        }
    }
}
