//! Who finds room when there are too many alerts. Strangers can make up hosts by the thousand, each good for a mild alert of its
//! own; what is worse must not be refused for them.

use super::alerter::Alerter;
use crate::domain::{AlertKey, AlertState, Severity, Timestamp};

/// Of `max_alerts` so many quarters are for new alerts of a severity and of milder ones.
const fn quarters(severity: Severity) -> usize {
    match severity {
        Severity::Low => 2,
        Severity::Medium => 3,
        Severity::High | Severity::Critical => 4,
    }
}

impl Alerter {
    /// Whether a new alert of this severity finds room. Cleared ones, which are kept in case they come back, give way, the mildest
    /// first; once a window, and many at once, so that a flood of findings does not look through all alerts again and again.
    pub(super) fn has_room(&mut self, severity: Severity) -> bool {
        let most = (self.config.max_alerts * quarters(severity)).div_ceil(4);
        if self.kept() >= most && !std::mem::replace(&mut self.made_room, true) {
            self.forget_cleared();
        }
        self.kept() < most
    }

    /// Says that findings of a window were refused, of which there were so many before: once, and again when it fills up anew.
    pub(super) fn say_if_full(&mut self, refused: u64) {
        let is_full = self.counts.refused > refused;
        if is_full && !self.was_full {
            tracing::warn!(
                max_alerts = self.config.max_alerts,
                "too many alerts: findings about something new are refused from here on but for worse ones"
            );
        }
        self.was_full = is_full;
    }

    /// Alerts, and what may become one.
    pub(super) fn kept(&self) -> usize {
        self.alerts.len() + self.waiting.len()
    }

    fn forget_cleared(&mut self) {
        let cleared = self.alerts.values().filter(|alert| alert.state == AlertState::Cleared);
        let mut cleared: Vec<(Severity, Timestamp, AlertKey)> =
            cleared.map(|alert| (alert.severity, alert.last, alert.key)).collect();
        cleared.sort_unstable();
        cleared.truncate((self.config.max_alerts / 4).max(1));
        for (.., key) in &cleared {
            self.alerts.remove(key);
        }
        self.counts.evicted += cleared.len() as u64;
    }
}
