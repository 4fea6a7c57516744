//! Who judges closed windows: the pipeline's own thread, or one beside it that judges windows while the packets of the
//! next ones are counted. Both say the same in the same order.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use nta_core::analysis::{Analysis, Judged};
use nta_core::domain::{Alert, AlertChange, DetectionCounts, LearningState, Timestamp};
use nta_core::window::Closed;

/// The results of a window.
pub struct Done {
    /// The window, and longer ones that ended with it.
    pub judged: Vec<Judged>,
    /// What became of the findings so far.
    pub detection: DetectionCounts,
    /// How far baselines have come.
    pub learning: LearningState,
    /// How long it took, in nanoseconds.
    pub took_ns: u64,
}

impl Done {
    fn of(analysis: &mut Analysis, judge: impl FnOnce(&mut Analysis) -> Vec<Judged>) -> Self {
        let began = Instant::now();
        let judged = judge(analysis);
        let took_ns = began.elapsed().as_nanos() as u64;
        Self { judged, detection: analysis.counts(), learning: analysis.baselines().state(), took_ns }
    }
}

/// Alerts with what became of them.
pub type AlertChanges = Vec<(AlertChange, Alert)>;

/// Judges windows.
pub enum Judge {
    /// At once.
    Here(Box<Analysis>),
    /// On a thread of its own, some windows behind.
    Beside(Beside),
}

/// The thread that judges.
pub struct Beside {
    windows: SyncSender<Closed>,
    done: Receiver<Done>,
    thread: JoinHandle<Analysis>,
    /// Windows whose results are yet to be taken.
    under_way: usize,
}

/// Windows that may wait to be judged, or to be emitted.
pub const QUEUE: usize = 16;

impl Judge {
    /// On a thread of its own, if there is one to be had.
    pub fn beside(mut analysis: Analysis) -> std::io::Result<Self> {
        let (windows, to_judge) = sync_channel::<Closed>(QUEUE);
        let (judged, done) = sync_channel(QUEUE);
        let work = move || {
            while let Ok(closed) = to_judge.recv() {
                if judged.send(Done::of(&mut analysis, |analysis| analysis.close(closed))).is_err() {
                    break;
                }
            }
            analysis
        };
        let thread = std::thread::Builder::new().name("nta-judge".to_owned()).spawn(work);
        Ok(Self::Beside(Beside { windows, done, thread: thread?, under_way: 0 }))
    }

    /// Takes a closed window; returns its results, if they are known at once.
    pub fn close(&mut self, closed: Closed) -> Option<Done> {
        match self {
            Self::Here(analysis) => Some(Done::of(analysis, |analysis| analysis.close(closed))),
            Self::Beside(beside) => {
                // A thread that is gone shows when it is waited for.
                beside.under_way += usize::from(beside.windows.send(closed).is_ok());
                None
            }
        }
    }

    /// Waits for the oldest window that is being judged, if one is.
    pub fn wait(&mut self) -> Option<Done> {
        let Self::Beside(beside) = self else { return None };
        beside.under_way = beside.under_way.checked_sub(1)?;
        beside.done.recv().ok()
    }

    /// Judges what is still open, and ends the alerts that are: the run ended at `time`, and no window comes any more.
    ///
    /// # Panics
    /// As the thread that judges did.
    pub fn finish(self, time: Timestamp) -> (Done, AlertChanges, Box<Analysis>) {
        let mut analysis = match self {
            Self::Here(analysis) => analysis,
            Self::Beside(beside) => {
                drop((beside.windows, beside.done));
                match beside.thread.join() {
                    Ok(analysis) => Box::new(analysis),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        };
        let mut alerts = Vec::new();
        let done = Done::of(&mut analysis, |analysis| {
            let ended = analysis.finish(time);
            alerts = ended.alerts;
            ended.judged
        });
        (done, alerts, analysis)
    }
}
