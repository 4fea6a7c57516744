//! The capture's own troubles as events: each when it begins, and when it is over.

use std::collections::BTreeMap;

use crate::store::{Notice, about};
use nta_core::domain::{Severity, Status, Timestamp};

/// Troubles told apart at a time; there are as many as interfaces, and more of them are one trouble.
const MAX_KNOWN: usize = 256;

/// What is known to be wrong.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// Each with its reason as it was first said, by what it is about.
    known: BTreeMap<String, (Severity, String)>,
    /// Whether it was looked at before.
    has_begun: bool,
}

impl Troubles {
    /// What has begun and ended since the last look.
    pub(super) fn look(&mut self, status: &Status) -> Vec<Notice> {
        let mut now = BTreeMap::new();
        if status.failure.is_some() || !status.degraded.is_empty() {
            // Nothing is counted, or something is not.
            let severity = if status.failure.is_some() { Severity::Critical } else { Severity::High };
            let whole = status.failure.iter().filter(|_| status.degraded.is_empty());
            for reason in status.degraded.iter().chain(whole).take(MAX_KNOWN) {
                now.insert(subject(reason), (severity, reason.clone()));
            }
        }
        for reason in status.stopped.iter().take(MAX_KNOWN) {
            now.entry(subject(reason)).or_insert_with(|| (Severity::Medium, reason.clone()));
        }
        let at = status.last_window_end.unwrap_or(Timestamp::from_nanos(0));
        let mut notices = Vec::new();
        for (about, (severity, reason)) in &now {
            if self.known.get(about).is_none_or(|(known, _)| known != severity) {
                notices.push(Notice::new(at, "capture_trouble", *severity, reason));
            }
        }
        for (about, (severity, reason)) in &self.known {
            if !now.contains_key(about) {
                notices.push(Notice::new(at, "capture_recovered", *severity, reason));
            }
        }
        self.known = now;
        notices
    }

    /// What is wrong as the run begins; once, behind its first look.
    pub(super) fn standing(&mut self) -> Option<Vec<String>> {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        is_first.then(|| self.known.keys().cloned().collect())
    }
}

fn subject(reason: &str) -> String {
    about(reason).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_reported_when_it_begins_when_it_gets_worse_and_when_it_ends() {
        let mut troubles = Troubles::default();
        let mut look = |degraded: &[&str], failure: Option<&str>| {
            let degraded = degraded.iter().map(|reason| (*reason).to_owned()).collect();
            let status = Status { degraded, failure: failure.map(str::to_owned), ..Status::default() };
            let kinds = troubles.look(&status).into_iter().map(|notice| (notice.kind, notice.body));
            kinds.map(|(kind, body)| (kind, body.contains("critical"))).collect::<Vec<_>>()
        };
        let [begins, ends] = ["capture_trouble", "capture_recovered"].map(str::to_owned);
        assert!(look(&[], None).is_empty());
        assert_eq!(look(&["eth0 is away"], None), [(begins.clone(), false)]);
        assert!(look(&["eth0 is away since 12 s"], None).is_empty(), "it goes on");
        assert_eq!(
            look(&["eth0 is away", "eth1 is away"], Some("all")),
            [(begins.clone(), true), (begins.clone(), true)]
        );
        assert_eq!(look(&["eth1 is away"], None), [(begins.clone(), false), (ends.clone(), true)]);
        assert_eq!(look(&[], None), [(ends, false)]);
        assert_eq!(look(&[], Some("it stopped")), [(begins, true)], "without a reason for each interface");
    }

    #[test]
    fn a_stop_by_request_is_an_event_and_so_is_its_end() {
        let mut troubles = Troubles::default();
        let stopped =
            Status { stopped: vec!["eth0: capture stopped by request of mira".to_owned()], ..Status::default() };
        let mut kinds =
            |status: &Status| troubles.look(status).into_iter().map(|notice| notice.kind).collect::<Vec<_>>();
        assert_eq!(kinds(&stopped), ["capture_trouble"]);
        assert!(kinds(&stopped).is_empty(), "it goes on");
        assert_eq!(kinds(&Status::default()), ["capture_recovered"]);
    }
}
