//! Which of the printed windows decided about an alert.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;

use crate::json::AlertJson;
use nta_core::domain::{Alert, AlertId, Timestamp};
use nta_core::window::Window;

/// Windows that are remembered: what is found in one is reported with it or soon after.
const MAX_WINDOWS: usize = 64;

/// First instant of a window, and the first behind it.
type Times = [Timestamp; 2];

/// The windows of alerts by their ids.
#[derive(Debug, Default)]
pub(super) struct Deciding {
    windows: VecDeque<(Times, u64)>,
    of_alerts: HashMap<AlertId, (Times, Option<u64>)>,
}

/// An alert with its window.
#[derive(Debug, Serialize)]
pub(super) struct Decided {
    /// Id of the window that decided (`why.window_start` to `why.window_end`) among those that are printed; null where that is a
    /// longer one, as models judge as well.
    window_id: Option<u64>,
    #[serde(flatten)]
    alert: AlertJson,
}

impl Deciding {
    /// Takes a window that is printed.
    pub(super) fn window(&mut self, window: &Window) {
        if self.windows.len() >= MAX_WINDOWS {
            self.windows.pop_front();
        }
        self.windows.push_back(([window.start, window.end], window.id));
    }

    /// Takes an alert's state.
    pub(super) fn alert(&mut self, alert: &Alert) {
        let times = [alert.finding.start, alert.finding.end];
        if self.of_alerts.get(&alert.id).is_some_and(|(known, _)| *known == times) {
            return;
        }
        let window = self.windows.iter().rev().find(|(window, _)| *window == times).map(|(_, id)| *id);
        self.of_alerts.insert(alert.id, (times, window));
    }

    /// An alert as it is printed.
    pub(super) fn with(&self, alert: &Alert) -> Decided {
        let window_id = self.of_alerts.get(&alert.id).and_then(|(_, window)| *window);
        Decided { window_id, alert: AlertJson::from(alert) }
    }
}
