//! The thread of a job. Next to a live capture one processor is left to it, where there is another: a computation that takes all of
//! them would make the windows late. Threads that a job starts inherit this.

use rustix::process::nice;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How much a job gives way to the capture and to requests where they share a processor.
const NICENESS: i32 = 10;

/// Prepares the calling thread.
pub(super) fn prepare(is_live: bool) {
    if let Err(error) = nice(NICENESS) {
        tracing::debug!(%error, "jobs: the thread cannot be made nicer");
    }
    if !is_live {
        return;
    }
    let set = sched_getaffinity(None).map(|allowed| but_one(&allowed));
    if let Ok(Some(others)) = set
        && let Err(error) = sched_setaffinity(None, &others)
    {
        tracing::debug!(%error, "jobs: no processor can be left to the capture");
    }
}

/// All of some processors but the first; `None` where there is no second.
fn but_one(allowed: &CpuSet) -> Option<CpuSet> {
    let mut processors = (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor));
    let (first, _second) = (processors.next()?, processors.next()?);
    let mut others = *allowed;
    others.unset(first);
    Some(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_processor_is_left_where_there_is_another() {
        let set = |processors: &[usize]| {
            let mut set = CpuSet::new();
            processors.iter().for_each(|processor| set.set(*processor));
            set
        };
        for (allowed, others) in [(&[0][..], None), (&[0, 1], Some(&[1][..])), (&[3, 5, 9], Some(&[5, 9]))] {
            assert_eq!(but_one(&set(allowed)), others.map(set), "{allowed:?}");
        }
    }

    #[test]
    fn beside_a_live_capture_a_job_keeps_off_one_processor() {
        for is_live in [false, true] {
            let kept = std::thread::spawn(move || {
                let before = sched_getaffinity(None).expect("affinity");
                prepare(is_live);
                (before, sched_getaffinity(None).expect("affinity"))
            });
            let (before, after) = kept.join().expect("a thread");
            let expected = if is_live { but_one(&before).unwrap_or(before) } else { before };
            assert_eq!(after, expected);
        }
    }
}
