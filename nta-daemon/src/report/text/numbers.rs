//! Numbers as people read them: thousands separated, units of the SI.

/// A count: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count and what is counted: `1 packet`, `2 packets`.
pub(super) fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(number))
}

/// Bytes with three digits: `7.56 MB`.
pub(super) fn bytes(number: u64) -> String {
    if number < 1_000 { counted(number, "byte") } else { scaled(number as f64, "B") }
}

/// A rate in bits: `201 kbit/s`.
pub(super) fn bit_rate(number: f64) -> String {
    scaled(number, "bit/s")
}

/// Packets a second below which no rate is shown: of a few packets over years, three digits behind the point would be zeros.
pub(super) const LEAST_PACKET_RATE: f64 = 0.0005;

/// A rate of packets: `41.2 packets/s`.
pub(super) fn packet_rate(number: f64) -> String {
    if number < 1_000.0 {
        format!("{} packets/s", digits(number))
    } else {
        format!("{} packets/s", count(number.round() as u64))
    }
}

/// A share: `12.3 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A number of seconds: `312 ms`, `12.3 s`, `5 min 3 s`, `2 h 4 min`, `3 d 4 h`.
pub(super) fn duration(seconds: f64) -> String {
    if seconds == 0.0 {
        return "0 s".to_owned();
    }
    if seconds < 0.001 {
        return format!("{} µs", digits(seconds * 1e6));
    }
    if seconds < 1.0 {
        return format!("{} ms", digits(seconds * 1e3));
    }
    if seconds < 120.0 {
        return format!("{} s", digits(seconds));
    }
    let whole = seconds.round() as u64;
    let (days, hours, minutes, rest) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min {rest} s"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{} d {hours} h", count(days)),
    }
}

/// Milliseconds: `0.123 ms`; `-` where there is none.
pub(super) fn milliseconds(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{} ms", digits(number)))
}

/// Thousands, millions, … of a unit.
fn scaled(mut number: f64, unit: &str) -> String {
    let mut prefix = "";
    for larger in ["k", "M", "G", "T", "P", "E"] {
        // What would be shown as 1000 is 1 of the next.
        if number < 999.5 {
            break;
        }
        (number, prefix) = (number / 1_000.0, larger);
    }
    format!("{} {prefix}{unit}", digits(number))
}

/// Three significant digits, as far as they are behind the point.
fn digits(number: f64) -> String {
    if number >= 99.95 {
        format!("{number:.0}")
    } else if number >= 9.995 {
        format!("{number:.1}")
    } else if number >= 0.0995 {
        format!("{number:.2}")
    } else {
        format!("{number:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        let shown = [0, 999, 1_000, 12_345, 1_234_567, u64::MAX].map(count);
        assert_eq!(shown, ["0", "999", "1,000", "12,345", "1,234,567", "18,446,744,073,709,551,615"]);
        assert_eq!((counted(1, "flow"), counted(2_000, "flow")), ("1 flow".to_owned(), "2,000 flows".to_owned()));
    }

    #[test]
    fn units_grow_with_the_number() {
        assert_eq!(
            [0, 1, 999, 1_000, 7_560_123, 999_499_999, 999_999_999].map(bytes),
            ["0 bytes", "1 byte", "999 bytes", "1.00 kB", "7.56 MB", "999 MB", "1.00 GB"]
        );
        assert_eq!((bit_rate(0.5), bit_rate(201_600.0)), ("0.50 bit/s".to_owned(), "202 kbit/s".to_owned()));
        assert_eq!(
            (packet_rate(41.16), packet_rate(1_488_095.2)),
            ("41.2 packets/s".into(), "1,488,095 packets/s".into())
        );
        let spans = [0.0, 0.000_012, 0.3124, 12.344, 119.9, 303.2, 7_440.0, 273_600.0].map(duration);
        assert_eq!(spans, ["0 s", "12.0 µs", "312 ms", "12.3 s", "120 s", "5 min 3 s", "2 h 4 min", "3 d 4 h"]);
        assert_eq!((milliseconds(None), milliseconds(Some(0.1))), ("-".to_owned(), "0.10 ms".to_owned()));
    }
}
