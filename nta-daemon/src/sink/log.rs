//! The log as a sink: a line for each alert of severity medium and above, for whoever reads nothing else.

use std::collections::HashMap;

use crate::pipeline::{PipelineEvent, Sink};
use nta_core::domain::{Alert, AlertChange, AlertId, Severity};

/// Lines of one window; of more alerts the number is logged.
const MAX_LINES: u32 = 20;
/// Alerts whose line is remembered; beyond it a line may come twice.
const MAX_REMEMBERED: usize = 10_000;

/// Logs alerts: when they are raised, get worse, and are over.
#[derive(Debug, Default)]
pub struct AlertLog {
    logged: HashMap<AlertId, Severity>,
    lines: u32,
    left_out: u32,
}

impl AlertLog {
    fn alert(&mut self, change: AlertChange, alert: &Alert) {
        let id = alert.id;
        if change == AlertChange::Cleared {
            if self.logged.remove(&id).is_some() && self.has_room() {
                tracing::info!(alert = %id, r#type = alert.key.kind.word(), "alert cleared");
            }
            return;
        }
        let before = self.logged.get(&id).copied();
        if alert.severity < Severity::Medium || before.is_some_and(|before| before >= alert.severity) {
            return;
        }
        if before.is_some() || self.logged.len() < MAX_REMEMBERED {
            self.logged.insert(id, alert.severity);
        }
        if self.has_room() {
            let finding = &alert.finding;
            tracing::warn!(
                alert = %id,
                r#type = alert.key.kind.word(),
                severity = alert.severity.word(),
                source = %alert.key.source,
                destination = %alert.key.destination,
                port = finding.port,
                "alert: {}",
                finding.summary
            );
        }
    }

    /// Whether one more line may be written for this window.
    const fn has_room(&mut self) -> bool {
        let has_room = self.lines < MAX_LINES;
        if has_room {
            self.lines += 1;
        } else {
            self.left_out += 1;
        }
        has_room
    }
}

impl Sink for AlertLog {
    fn take(&mut self, _number: u64, event: &PipelineEvent<'_>) {
        match *event {
            PipelineEvent::Alert(change, alert) => self.alert(change, alert),
            PipelineEvent::Closed(_) => {
                if self.left_out > 0 {
                    tracing::warn!(
                        changes = self.left_out,
                        "alerts: more changes than are logged for a window; /api/alerts has all"
                    );
                }
                (self.lines, self.left_out) = (0, 0);
            }
            _ => {}
        }
    }
}
