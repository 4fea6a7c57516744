//! What the service manager is told over `NOTIFY_SOCKET` (`Type=notify`): that the daemon serves, how it does, that it reads its
//! configuration again or ends, and that its loop turns. Without a service manager all of it does nothing.
//!
//! The watchdog is fed by the loop that closes windows and by nothing else: a loop that hangs, or closes no window any more, is
//! ended and started again by the service manager. While nothing is to be counted windows close all the same.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use nta_core::domain::Status;

/// Of the time that the service manager waits, how often within it the watchdog is fed.
const FED_WITHIN: u32 = 4;
/// A window that is so many of its lengths overdue, and this time, is not closed any more.
const OVERDUE_WINDOWS: u32 = 2;
const OVERDUE: Duration = Duration::from_secs(10);
/// How often a start that takes long asks for more time, and for how much.
const EXTEND_EVERY: Duration = Duration::from_secs(5);
const EXTEND_BY_US: u32 = 30_000_000;

/// Tells the service manager; one that does not listen is no reason to stop.
fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::debug!(%error, "the service manager does not listen at NOTIFY_SOCKET");
    }
}

/// It serves, and counts or has said why not.
pub fn ready(line: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(line)]);
}

/// How it does, in a line.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// It ends, and stores what is left.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping: what was counted is stored")]);
}

/// It reads its configuration again; [`ready`] follows, whatever comes of it (`Type=notify-reload`).
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "there is no monotonic clock"),
    }
}

/// Waits for a step of the start, and asks for more time while it takes.
pub async fn extended<T>(step: impl Future<Output = T>) -> T {
    tokio::pin!(step);
    loop {
        match tokio::time::timeout(EXTEND_EVERY, &mut step).await {
            Ok(done) => return done,
            Err(_) => tell(&[
                NotifyState::ExtendTimeoutUsec(EXTEND_BY_US),
                NotifyState::Status("starting: the database is made ready"),
            ]),
        }
    }
}

/// Tells that a capture serves once it has shown what it is attached to, and how it does whenever that has changed, until `stop`.
pub async fn follow(mut shown: watch::Receiver<Status>, stop: CancellationToken) {
    let mut told = String::new();
    if let Some(Ok(())) = stop.run_until_cancelled(shown.changed()).await {
        told = line(&shown.borrow_and_update());
        ready(&told);
    }
    while let Some(Ok(())) = stop.run_until_cancelled(shown.changed()).await {
        let line = line(&shown.borrow_and_update());
        if line != told {
            status(&line);
            told = line;
        }
    }
}

/// How a capture does, in a line: what is captured, flows, open alerts; or why nothing is counted.
pub fn line(status: &Status) -> String {
    if let Some(failure) = &status.failure {
        return format!("nothing is counted: {}", one_line(failure));
    }
    let names: Vec<&str> = status.attachments.iter().map(|attachment| attachment.interface.as_str()).collect();
    let what =
        if names.is_empty() { "nothing is captured".to_owned() } else { format!("captures {}", names.join(",")) };
    let open: u64 = status.detection.open.iter().sum();
    let mut line = format!("{what}; {} flows; {open} alerts open", status.flows_active);
    if let Some(reason) = status.degraded.first() {
        line.push_str("; ");
        line.push_str(&one_line(reason));
    }
    line
}

/// The datagram has a line for each state.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// Feeds the watchdog as a loop turns.
#[derive(Debug)]
pub struct Beat {
    /// How long the service manager waits; `None` where it keeps no watch.
    within: Option<Duration>,
    fed: Option<Instant>,
    /// By when the next window has to be closed; `None` of a loop that closes none.
    overdue_after: Option<Duration>,
    closed: Instant,
}

impl Beat {
    /// Of a loop that closes a window every so many nanoseconds.
    pub fn of_windows(span_ns: u64) -> Self {
        let overdue = Duration::from_nanos(span_ns).saturating_mul(OVERDUE_WINDOWS).saturating_add(OVERDUE);
        Self { overdue_after: Some(overdue), ..Self::of_a_loop() }
    }

    /// Of a loop that turns by itself.
    pub fn of_a_loop() -> Self {
        let within = sd_notify::watchdog_enabled().filter(|within| !within.is_zero());
        Self { within, fed: None, overdue_after: None, closed: Instant::now() }
    }

    /// The loop has turned, and closed a window or not.
    pub fn turned(&mut self, has_closed: bool) {
        if self.is_to_feed(has_closed, Instant::now()) {
            tell(&[NotifyState::Watchdog]);
        }
    }

    fn is_to_feed(&mut self, has_closed: bool, now: Instant) -> bool {
        if has_closed {
            self.closed = now;
        }
        let Some(within) = self.within else { return false };
        let is_overdue = self.overdue_after.is_some_and(|after| now.duration_since(self.closed) > after);
        let is_due = self.fed.is_none_or(|fed| now.duration_since(fed) >= within / FED_WITHIN);
        if is_overdue || !is_due {
            return false;
        }
        self.fed = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_loop_that_closes_no_window_starves_the_watchdog_and_one_that_does_again_feeds_it() {
        let begun = Instant::now();
        let mut beat = Beat { within: Some(8 * S), closed: begun, ..Beat::of_windows(5_000_000_000) };
        let fed: Vec<u32> = (0..30).filter(|s| beat.is_to_feed(false, begun + *s * S)).collect();
        // Every two seconds, until two windows of five seconds and ten seconds are over.
        assert_eq!(fed, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
        assert!(beat.is_to_feed(true, begun + 40 * S));
        let mut none = Beat { within: None, ..beat };
        assert!(!none.is_to_feed(true, begun + 80 * S), "nobody keeps watch");
    }

    #[test]
    fn a_line_says_what_is_captured_or_why_nothing_is() {
        let mut status = Status { flows_active: 12, ..Status::default() };
        status.detection.open = [0, 1, 0, 2];
        assert_eq!(line(&status), "nothing is captured; 12 flows; 3 alerts open");
        status.failure = Some("eth9 is not there\nyet".to_owned());
        assert_eq!(line(&status), "nothing is counted: eth9 is not there yet");
    }
}
