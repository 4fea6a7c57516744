//! Which events a reader gets.

use super::ring::LogEvent;
use crate::store::capture_of_sensor;
use nta_core::domain::{EVENT_TYPES, Severity};

/// Which events a reader gets; all unless something is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of these types; of all where it is empty.
    pub types: Vec<&'static str>,
    /// Of these severities, which leaves out what has none; any where it is empty.
    pub severities: Vec<Severity>,
    /// Of this sensor, or capture that stands for one; unless given, of all sensors and of no capture.
    pub sensor: Option<String>,
}

impl Filter {
    /// The types that a word stands for: itself, or all that begin with it, as `alert` does.
    pub fn types_of(word: &str) -> Vec<&'static str> {
        let is_of = |name: &str| name == word || name.split('_').next() == Some(word);
        EVENT_TYPES.into_iter().map(|(name, _)| name).filter(|name| is_of(name)).collect()
    }

    /// The words that stand for types.
    pub fn words() -> Vec<&'static str> {
        let mut words: Vec<&str> = EVENT_TYPES.iter().filter_map(|(name, _)| name.split('_').next()).collect();
        words.dedup();
        words.extend(EVENT_TYPES.iter().map(|(name, _)| *name));
        words
    }

    pub(super) fn matches(&self, event: &LogEvent) -> bool {
        self.takes(&event.kind, event.severity, event.sensor.as_deref())
    }

    pub(super) fn takes(&self, kind: &str, severity: Option<Severity>, sensor: Option<&str>) -> bool {
        (self.types.is_empty() || self.types.contains(&kind))
            && (self.severities.is_empty() || severity.is_some_and(|is| self.severities.contains(&is)))
            && match &self.sensor {
                Some(of) => sensor == Some(of),
                None => sensor.and_then(capture_of_sensor).is_none(),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_for_a_type_or_for_all_that_begin_with_it() {
        assert_eq!(Filter::types_of("alert"), ["alert_raised", "alert_changed", "alert_cleared", "alert_handled"]);
        assert_eq!(Filter::types_of("run_ended"), ["run_ended"]);
        assert!(Filter::types_of("ale").is_empty() && Filter::types_of("").is_empty());
        for word in Filter::words() {
            assert!(!Filter::types_of(word).is_empty(), "{word}");
        }
    }

    #[test]
    fn what_has_no_severity_is_left_out_where_one_is_asked_for() {
        let event = |kind: &str, severity| LogEvent {
            seq: 1,
            kind: kind.to_owned(),
            severity,
            sensor: Some("a".to_owned()),
            json: String::new(),
        };
        let (window, high) = (event("window_closed", None), event("alert_raised", Some(Severity::High)));
        let all = Filter::default();
        assert!(all.matches(&window) && all.matches(&high));
        let severe = Filter { severities: vec![Severity::High, Severity::Critical], ..Filter::default() };
        assert!(!severe.matches(&window) && severe.matches(&high));
        let alerts = Filter { types: Filter::types_of("alert"), ..Filter::default() };
        assert!(!alerts.matches(&window) && alerts.matches(&high));
        let other = Filter { sensor: Some("b".to_owned()), ..Filter::default() };
        assert!(!other.matches(&window));
        // A capture's events come to who asks for them.
        let name = format!("capture-{:032x}", 7);
        let uploaded = LogEvent { sensor: Some(name.clone()), ..event("window_closed", None) };
        assert!(!all.matches(&uploaded) && Filter { sensor: Some(name), ..Filter::default() }.matches(&uploaded));
    }
}
