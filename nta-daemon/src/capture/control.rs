//! Orders to the capture supervisor, and what it says about what it captures. A few orders may wait; each is answered, or is told that
//! nobody answers. One that nobody has begun in time is never begun.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

pub use super::choice::Asked;
use crate::config::InterfacePattern;
use crate::source::SourceError;
use nta_core::domain::Timestamp;

/// Orders that may wait.
const QUEUE: usize = 4;
/// How long an order may take: attaching takes a second or two, and a drain as much.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(15);

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Wish {
    /// To capture an interface.
    Start {
        /// Its name.
        interface: String,
        /// For how long; for ever unless given.
        duration: Option<Duration>,
    },
    /// To capture an interface no more.
    Stop {
        /// Its name; all of them unless given.
        interface: Option<String>,
    },
    /// To capture what these select from now on, as if the configuration had said so from the beginning.
    Select {
        /// The patterns.
        patterns: Vec<InterfacePattern>,
    },
}

impl Wish {
    /// What it does, as a participle.
    pub(super) const fn action(&self) -> &'static str {
        match self {
            Self::Start { .. } => "started",
            Self::Stop { .. } => "stopped",
            Self::Select { .. } => "selected anew",
        }
    }

    /// The interface, if it is about one alone.
    pub(super) fn interface(&self) -> Option<&str> {
        match self {
            Self::Start { interface, .. } => Some(interface),
            Self::Stop { interface } => interface.as_deref(),
            Self::Select { .. } => None,
        }
    }
}

/// Why an order is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It is captured already.
    #[error("{interface} is captured already, since {since}")]
    Running {
        /// The interface.
        interface: String,
        /// Since when.
        since: Timestamp,
    },
    /// It is not captured.
    #[error("{interface} is not captured")]
    Idle {
        /// The interface.
        interface: String,
    },
    /// Nothing is.
    #[error("nothing is captured: what `capture.interfaces` waits for is stopped by its name")]
    Nothing,
    /// Everything is stopped.
    #[error("capture is stopped already, by {by} since {since}")]
    Stopped {
        /// By whom.
        by: String,
        /// Since when.
        since: Timestamp,
    },
    /// There is no such interface.
    #[error("there is no interface `{name}`: {there_are}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Those that there are.
        there_are: String,
    },
    /// The kernel does not let it.
    #[error("{0}")]
    Refused(#[source] SourceError),
    /// It cannot be done, in words.
    #[error("{0}")]
    Unable(String),
    /// Others wait already.
    #[error("{QUEUE} orders wait for the capture already; try again later")]
    Busy,
    /// It was not begun in time.
    #[error("the capture did not begin with it within {} s: it is not carried out", ANSWERED_WITHIN.as_secs())]
    Late,
    /// Nobody answers.
    #[error("the capture is ending")]
    Ended,
}

/// What is captured, and what is not by request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureState {
    /// The interfaces that are captured.
    pub captured: Vec<Captured>,
    /// What is not captured since somebody asked for it, an interface or all of them.
    pub stopped: Vec<(Option<String>, Asked)>,
    /// Captures by request that ended since their time was over: the last [`MOST_ENDED`].
    pub ended: Vec<Ended>,
    /// Packets that interfaces dropped while they were captured, of those that are captured no more; beyond [`MOST_DROPPED`] names
    /// under none.
    pub dropped: BTreeMap<String, u64>,
}

/// A capture by request whose time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its interface.
    pub interface: String,
    /// Who had asked for it, and when.
    pub asked: Asked,
}

/// Ends of captures that are shown.
pub const MOST_ENDED: usize = 16;
/// Names of interfaces whose drops are kept apart.
pub const MOST_DROPPED: usize = 64;

/// An interface that is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Its name.
    pub interface: String,
    /// Since when.
    pub since: Timestamp,
    /// Packets and bytes that the ledger had under its name then.
    pub before: [u64; 2],
    /// Who asked for it; `None` of one that the configuration has captured.
    pub started: Option<Started>,
}

/// Capture by request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// By whom.
    pub asked: Asked,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// An order that was carried out.
#[derive(Clone, Debug)]
pub struct Changed {
    /// What was captured before.
    pub before: CaptureState,
    /// And behind it.
    pub after: CaptureState,
}

/// An answer.
type Answer = Result<Changed, CaptureError>;

/// An order on its way.
#[derive(Debug)]
pub struct Order {
    /// What is asked for.
    pub wish: Wish,
    /// By whom.
    pub by: String,
    due: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Order {
    /// Whether nobody waits for it any more.
    pub(super) fn is_late(&self) -> bool {
        Instant::now() >= self.due
    }

    /// Answers it; who asked may be gone.
    pub fn answer(self, answer: Result<Changed, CaptureError>) {
        let _gone = self.answer.send(answer);
    }
}

/// The end of the supervisor.
#[derive(Debug)]
pub struct Orders {
    receiver: Receiver<Order>,
    state: watch::Sender<CaptureState>,
}

impl Orders {
    /// The next order, if one comes within that time; it is waited for so long.
    pub fn wait(&self, most: Duration) -> Option<Order> {
        match self.receiver.recv_timeout(most) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            // Nobody can order anything: time has to pass all the same.
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(most);
                None
            }
        }
    }

    /// Shows what is captured now.
    pub fn publish(&self, state: CaptureState) {
        self.state.send_if_modified(|known| {
            let has_changed = *known != state;
            *known = state;
            has_changed
        });
    }

    /// What was shown last.
    pub(super) fn published(&self) -> CaptureState {
        self.state.borrow().clone()
    }
}

/// The end of who orders; clones share it.
#[derive(Clone, Debug)]
pub struct CaptureHandle {
    sender: SyncSender<Order>,
    state: watch::Receiver<CaptureState>,
    patterns: Arc<RwLock<Arc<[InterfacePattern]>>>,
}

impl CaptureHandle {
    /// A way to a supervisor that captures what these patterns select.
    pub fn new(patterns: &[InterfacePattern]) -> (Self, Orders) {
        let (sender, receiver) = sync_channel(QUEUE);
        let (shows, state) = watch::channel(CaptureState::default());
        (Self { sender, state, patterns: Arc::new(RwLock::new(patterns.into())) }, Orders { receiver, state: shows })
    }

    /// What the configuration selects.
    pub fn patterns(&self) -> Arc<[InterfacePattern]> {
        Arc::clone(&self.patterns.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has these captured from now on.
    ///
    /// # Errors
    /// When it is not carried out: what was selected before is.
    pub async fn select(&self, patterns: Vec<InterfacePattern>, by: String) -> Result<(), CaptureError> {
        self.order(Wish::Select { patterns: patterns.clone() }, by)?.await?;
        *self.patterns.write().unwrap_or_else(PoisonError::into_inner) = patterns.into();
        Ok(())
    }

    /// What is captured.
    pub fn state(&self) -> CaptureState {
        self.state.borrow().clone()
    }

    /// Waits until a capture by request is over; which it was, if its time was.
    pub async fn end_of(&self, asked: &Asked) -> Option<Ended> {
        let mut state = self.state.clone();
        let is_over = |state: &CaptureState| {
            !state.captured.iter().any(|one| one.started.as_ref().is_some_and(|started| started.asked == *asked))
        };
        let over = state.wait_for(is_over).await.ok()?;
        over.ended.iter().find(|ended| ended.asked == *asked).cloned()
    }

    /// Orders something, in somebody's name.
    ///
    /// # Errors
    /// When too many orders wait, or nobody takes them any more.
    pub fn order(&self, wish: Wish, by: String) -> Result<impl Future<Output = Answer> + use<>, CaptureError> {
        let (answer, answered) = oneshot::channel();
        let order = Order { wish, by, due: Instant::now() + ANSWERED_WITHIN, answer };
        self.sender.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => CaptureError::Busy,
            TrySendError::Disconnected(_) => CaptureError::Ended,
        })?;
        Ok(async move { answered.await.unwrap_or(Err(CaptureError::Ended)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop() -> Wish {
        Wish::Stop { interface: None }
    }

    #[tokio::test]
    async fn orders_wait_within_a_bound_are_answered_and_learn_that_nobody_is_there() {
        let (handle, orders) = CaptureHandle::new(&[]);
        let order = || handle.order(stop(), "mira".to_owned());
        let waiting: Vec<_> = (0..QUEUE).map(|_| order().expect("room")).collect();
        assert!(matches!(order().err(), Some(CaptureError::Busy)));
        let after = CaptureState {
            stopped: vec![(None, Asked { by: "mira".to_owned(), at: Timestamp::from_nanos(1) })],
            ..CaptureState::default()
        };
        for _ in 0..QUEUE {
            let order = orders.wait(Duration::ZERO).expect("an order");
            assert!(!order.is_late() && order.by == "mira");
            let before = orders.published();
            orders.publish(after.clone());
            order.answer(Ok(Changed { before, after: after.clone() }));
        }
        assert!(orders.wait(Duration::ZERO).is_none());
        let mut before = CaptureState::default();
        for answer in waiting {
            let changed = answer.await.expect("carried out");
            assert_eq!((&changed.before, &changed.after), (&before, &after));
            before = changed.after;
        }
        assert_eq!(handle.state(), after);
        let waits = order().expect("room");
        drop(orders);
        assert!(matches!(waits.await.err(), Some(CaptureError::Ended)));
        assert!(matches!(order().err(), Some(CaptureError::Ended)));
    }
}
