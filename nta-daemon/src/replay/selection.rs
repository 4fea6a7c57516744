//! Which part of the captures is analysed: `--filter`, `--from`, `--to`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use nta_capture::FrameFilter;
use nta_core::domain::Timestamp;

/// A point in time as people give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// This time.
    At(Timestamp),
    /// So many nanoseconds after the first packet.
    After(u64),
}

impl Moment {
    /// When that is, in captures whose first packet came then.
    pub const fn resolve(self, first: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::After(ns) => first.plus(ns),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || {
            format!(
                "'{text}' is no time: 2026-11-20T10:21:43Z, '2026-11-20 10:21:43' in UTC, seconds since 1970, or +30s from the first packet"
            )
        };
        if let Some(after) = text.strip_prefix('+') {
            let ns = seconds(after).or_else(|| {
                let duration: jiff::SignedDuration = after.parse().ok()?;
                u64::try_from(duration.as_nanos()).ok()
            });
            return ns.map(Self::After).ok_or_else(refused);
        }
        if let Some(ns) = seconds(text) {
            return Ok(Self::At(Timestamp::from_nanos(ns)));
        }
        let civil = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
        let time = text.parse::<jiff::Timestamp>().ok().or_else(|| Some(civil()?.timestamp()));
        let ns = time.and_then(|time| u64::try_from(time.as_nanosecond()).ok());
        ns.map(|ns| Self::At(Timestamp::from_nanos(ns))).ok_or_else(refused)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(time) => time.fmt(f),
            Self::After(ns) => write!(f, "+{}s", *ns as f64 / 1e9),
        }
    }
}

/// Seconds with a fraction of up to nine digits, in nanoseconds.
fn seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction)
}

/// What is analysed of the captures.
#[derive(Clone, Default)]
pub struct Selection {
    /// As it was given, and what decides.
    pub filter: Option<(String, Arc<dyn FrameFilter>)>,
    /// The first instant.
    pub from: Option<Moment>,
    /// The first instant behind it.
    pub to: Option<Moment>,
}

impl Selection {
    /// What makes an analysis of a part another one than that of the whole; nothing for the whole.
    pub fn identity(&self) -> Option<String> {
        let Self { filter, from, to } = self;
        let is_whole = filter.is_none() && from.is_none() && to.is_none();
        let filter = filter.as_ref().map(|(text, _)| text);
        (!is_whole).then(|| format!("{filter:?} {from:?} {to:?}"))
    }

    /// Why nothing can be selected, if so.
    pub fn contradiction(&self) -> Option<String> {
        let is_empty = match (self.from?, self.to?) {
            (Moment::At(from), Moment::At(to)) => from >= to,
            (Moment::After(from), Moment::After(to)) => from >= to,
            _ => false,
        };
        is_empty.then(|| "--from is not before --to".to_owned())
    }
}

/// What became of the selection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// The filter's text.
    pub filter: Option<String>,
    /// The first instant that was selected.
    pub from: Option<Timestamp>,
    /// The first instant behind it.
    pub to: Option<Timestamp>,
    /// Packets that the filter did not take.
    pub filtered: u64,
    /// Packets that it took, and which were not within the time.
    pub outside: u64,
}

/// Selects.
pub(super) struct Selector {
    from: Option<Moment>,
    to: Option<Moment>,
    /// Known with the first packet.
    range: Option<(Timestamp, Timestamp)>,
    selected: Selected,
}

impl Selector {
    pub(super) fn new(selection: &Selection) -> Self {
        let filter = selection.filter.as_ref().map(|(text, _)| text.clone());
        let selected = Selected { filter, ..Selected::default() };
        Self { from: selection.from, to: selection.to, range: None, selected }
    }

    /// Whether a packet of this time is analysed; `is_wanted` by the filter.
    #[inline]
    pub(super) fn takes(&mut self, time: Timestamp, is_wanted: bool) -> bool {
        let (from, to) = match self.range {
            Some(range) => range,
            None => self.resolve(time),
        };
        let is_within = from <= time && time < to;
        if is_wanted && is_within {
            return true;
        }
        let count = if is_wanted { &mut self.selected.outside } else { &mut self.selected.filtered };
        *count += 1;
        false
    }

    /// What became of it; nothing where all was to be analysed.
    pub(super) fn conclude(self) -> Option<Selected> {
        let is_whole = self.from.is_none() && self.to.is_none() && self.selected.filter.is_none();
        (!is_whole).then_some(self.selected)
    }

    #[cold]
    fn resolve(&mut self, first: Timestamp) -> (Timestamp, Timestamp) {
        let [from, to] = [self.from, self.to].map(|moment| moment.map(|moment| moment.resolve(first)));
        (self.selected.from, self.selected.to) = (from, to);
        // The last instant there is lies within a selection without an end.
        let end = to.unwrap_or(Timestamp::from_nanos(u64::MAX));
        *self.range.insert((from.unwrap_or_default(), end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let at = |ns| Moment::At(Timestamp::from_nanos(ns));
        let second = 1_763_634_103;
        for (text, wanted) in [
            ("2025-11-20T10:21:43Z", at(second * 1_000_000_000)),
            ("2025-11-20T11:21:43.000000001+01:00", at(second * 1_000_000_000 + 1)),
            ("2025-11-20 10:21:43.5", at(second * 1_000_000_000 + 500_000_000)),
            ("1763634103.267313", at(second * 1_000_000_000 + 267_313_000)),
            ("0", at(0)),
            ("+30s", Moment::After(30_000_000_000)),
            ("+30", Moment::After(30_000_000_000)),
            ("+0.000001", Moment::After(1_000)),
            ("+1m 30s", Moment::After(90_000_000_000)),
            ("+2h", Moment::After(7_200_000_000_000)),
        ] {
            assert_eq!(text.parse(), Ok(wanted), "{text}");
        }
        for text in ["", "+", "-5", "+-5s", "yesterday", "1.", "1e9", "1969-01-01T00:00:00Z", "99999999999999999999"] {
            assert!(text.parse::<Moment>().is_err_and(|error| error.contains(text)), "{text}");
        }
    }

    #[test]
    fn the_first_instant_is_selected_and_the_last_one_is_not() {
        let selection = Selection { from: Some(Moment::After(10)), to: Some(Moment::After(20)), filter: None };
        let mut selector = Selector::new(&selection);
        let taken: Vec<bool> =
            [100, 109, 110, 119, 120, 115].map(|time| selector.takes(Timestamp::from_nanos(time), time != 115)).into();
        assert_eq!(taken, [false, false, true, true, false, false]);
        let selected = selector.conclude().expect("a selection");
        assert_eq!((selected.outside, selected.filtered, selected.from), (3, 1, Some(Timestamp::from_nanos(110))));
        assert_eq!(Selector::new(&Selection::default()).conclude(), None);
    }

    #[test]
    fn a_selection_has_an_identity_of_its_own() {
        let from = |text: &str| Selection { from: Some(text.parse().expect("a time")), ..Selection::default() };
        assert_eq!(Selection::default().identity(), None);
        assert_ne!(from("+1s").identity(), from("+2s").identity());
        let none = Selection { to: Some(Moment::After(1)), ..from("+1s") };
        assert!(none.contradiction().is_some() && from("+1s").contradiction().is_none());
    }
}
