//! What the pipeline and those who mute alerts share: what no alert is to be raised about from the next window on, and what that hid.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nta_core::alerting::Mute;
use nta_core::domain::Timestamp;

use super::Pipeline;
use super::judge::Judge;

/// Shared by the pipeline, which asks before each window, and the API; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct MuteHandle(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    /// Each with the end of its time.
    mutes: Vec<(Mute, Timestamp)>,
    /// Findings that each hid, and the end of the last window in which it did.
    hidden: BTreeMap<u64, Hidden>,
}

/// What a mute hid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// Findings.
    pub findings: u64,
    /// End of the last window with one.
    pub last: Option<Timestamp>,
}

impl MuteHandle {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These hold from the next window on, each until its time is over.
    pub fn set(&self, mutes: Vec<(Mute, Timestamp)>) {
        let mut shared = self.lock();
        shared.hidden.retain(|id, _| mutes.iter().any(|(mute, _)| mute.id == *id));
        shared.mutes = mutes;
    }

    /// Those that hold at a time of the wall clock.
    pub fn active(&self, at: Timestamp) -> Vec<Mute> {
        let shared = self.lock();
        shared.mutes.iter().filter(|(_, expires)| at < *expires).map(|(mute, _)| mute.clone()).collect()
    }

    /// What one hid.
    pub fn hidden(&self, id: u64) -> Hidden {
        self.lock().hidden.get(&id).copied().unwrap_or_default()
    }

    /// What each hid.
    pub fn all_hidden(&self) -> BTreeMap<u64, Hidden> {
        self.lock().hidden.clone()
    }

    /// Goes on from what those that there are had hidden before the start.
    pub fn restore(&self, hidden: BTreeMap<u64, Hidden>) {
        let mut shared = self.lock();
        let is_known = |id: &u64| shared.mutes.iter().any(|(mute, _)| mute.id == *id);
        let known: BTreeMap<_, _> = hidden.into_iter().filter(|(id, _)| is_known(id)).collect();
        shared.hidden = known;
    }

    /// Adds what was hidden in a window that ended then.
    fn note(&self, hid: BTreeMap<u64, u64>, end: Timestamp) {
        let mut shared = self.lock();
        for (id, findings) in hid {
            let hidden = shared.hidden.entry(id).or_default();
            hidden.findings = hidden.findings.saturating_add(findings);
            hidden.last = Some(end);
        }
    }
}

impl Pipeline {
    /// What holds when the window ends at this time of the wall clock holds for all of it.
    pub(super) fn mute(&mut self, end: Timestamp) {
        if let (Some(mutes), Judge::Here(analysis)) = (&self.mutes, &mut self.judge) {
            analysis.mute(mutes.active(end));
        }
    }

    /// Says what was hidden in the window that was judged last.
    pub(super) fn note_muted(&mut self, end: Timestamp) {
        if let (Some(mutes), Judge::Here(analysis)) = (&self.mutes, &mut self.judge) {
            mutes.note(analysis.take_muted(), end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mute(id: u64) -> Mute {
        Mute { id, kinds: Vec::new(), source: None, destination: None, host: None }
    }

    #[test]
    fn a_mute_holds_until_its_time_is_over_and_what_it_hid_goes_with_it() {
        let at = Timestamp::from_nanos;
        let handle = MuteHandle::default();
        handle.set(vec![(mute(1), at(100)), (mute(2), at(200))]);
        let active = |time| handle.active(at(time)).iter().map(|mute| mute.id).collect::<Vec<_>>();
        assert_eq!((active(99), active(100), active(200)), (vec![1, 2], vec![2], vec![]));
        handle.note([(1, 3)].into(), at(50));
        handle.note([(1, 1)].into(), at(60));
        assert_eq!(handle.hidden(1), Hidden { findings: 4, last: Some(at(60)) });
        // The next start goes on from it; one that was deleted meanwhile has hidden nothing.
        let next = MuteHandle::default();
        next.set(vec![(mute(1), at(100))]);
        next.restore([(1, handle.hidden(1)), (7, handle.hidden(1))].into());
        next.note([(1, 2)].into(), at(70));
        assert_eq!(next.all_hidden(), [(1, Hidden { findings: 6, last: Some(at(70)) })].into());
        handle.set(vec![(mute(2), at(200))]);
        assert_eq!((handle.hidden(1), active(50)), (Hidden::default(), vec![2]));
    }
}
