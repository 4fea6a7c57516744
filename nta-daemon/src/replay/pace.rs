//! How fast a capture is fed.

use std::time::{Duration, Instant};

use nta_core::domain::Timestamp;

/// How fast frames are fed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as it goes.
    Max,
    /// So many times the captures' own pace.
    Times(f64),
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(times) if times.is_finite() && times > 0.0 => Ok(Self::Times(times)),
            _ => Err(format!("'{text}' is neither 'max' nor a positive factor such as 1 or 10")),
        }
    }
}

/// Holds frames back to the captures' pace.
pub(super) struct Pace {
    speed: Speed,
    /// Wall and capture time of the first frame.
    origin: Option<(Instant, Timestamp)>,
}

impl Pace {
    /// A gap in a capture is waited for at most this long, so that captures put together are not waited for in years.
    const LONGEST: Duration = Duration::from_secs(60);

    /// Between two looks whether to go on.
    const LOOK: Duration = Duration::from_millis(100);

    pub(super) const fn new(speed: Speed) -> Self {
        Self { speed, origin: None }
    }

    /// Waits until it is the frame's turn, or until `goes_on` says no, which is asked ten times a second. Returns what it said last.
    pub(super) fn wait(&mut self, time: Timestamp, goes_on: &mut dyn FnMut() -> bool) -> bool {
        let Speed::Times(times) = self.speed else { return true };
        let (began, first) = *self.origin.get_or_insert((Instant::now(), time));
        let due = Duration::from_nanos((time.since(first) as f64 / times) as u64);
        let ahead = due.saturating_sub(began.elapsed());
        if ahead > Self::LONGEST {
            self.origin = Some((Instant::now() + Self::LONGEST, time));
        }
        let until = Instant::now() + ahead.min(Self::LONGEST);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            if !goes_on() {
                return false;
            }
            std::thread::sleep(left.min(Self::LOOK));
        }
    }
}
