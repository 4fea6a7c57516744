//! The job suite: every kind through cancel, restart and failure, and what the queue promises, on both databases.

use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::view::JobFailure;
use super::*;
use crate::store::server_tests::Server;
use crate::store::{JobOwner, JobState, NewJob, Run, Store};
use nta_core::domain::{Mode, Status, Timestamp};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(120);

/// A request of each kind that is sound.
fn sample(kind: &str) -> Value {
    match kind {
        "baselines" => json!({ "windows": null }),
        "windows" => json!({ "span_ns": 10_000_000_000_u64 }),
        "score" => json!({ "capture": "0123456789abcdef0123456789abcdef" }),
        "train" => json!({
            "algorithm": "isolation_forest", "labels": null, "holdout_tools": [], "from_ns": null, "to_ns": null, "seed": 1,
            "activate": true, "who": "test"
        }),
        "predict" => json!({ "scored": "scored-1.csv", "model": null }),
        "analyse" => json!({ "file_id": "0123456789abcdef0123456789abcdef" }),
        "detect" => json!({ "windows": 120, "from_ns": null, "to_ns": null, "settings": null, "detectors": null }),
        _ => panic!("a new kind: give it a sample here"),
    }
}

/// A job that goes on until it is cancelled.
#[derive(Debug)]
struct Gate {
    name: &'static str,
    resumes: bool,
    is_long: bool,
}

impl Kind for Gate {
    fn name(&self) -> &'static str {
        self.name
    }

    fn limits(&self) -> Limits {
        Limits { running: RUNNING, waiting: 3, is_long: self.is_long, is_fed: false }
    }

    fn resumes(&self) -> bool {
        self.resumes
    }

    fn run(&self, context: &JobContext) -> Result<Value, JobError> {
        context.progress.set(1, 4);
        context.progress.packets(7);
        context.wait(std::future::pending::<Result<Value, JobError>>())
    }
}

/// A job that panics.
#[derive(Debug)]
struct Panics;

impl Kind for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn resumes(&self) -> bool {
        true
    }

    fn run(&self, _context: &JobContext) -> Result<Value, JobError> {
        panic!("inside: /var/lib/nta, row 7")
    }
}

fn all() -> &'static [&'static dyn Kind] {
    const MORE: [&dyn Kind; 4] = [
        &Gate { name: "gate", resumes: true, is_long: false },
        &Gate { name: "once", resumes: false, is_long: false },
        &Gate { name: "long", resumes: true, is_long: true },
        &Panics,
    ];
    Box::leak(KINDS.iter().copied().chain(MORE).collect())
}

/// Jobs of a process of its own over this database.
fn process(store: &Store) -> (Jobs, watch::Sender<Status>) {
    let (sender, status) = watch::channel(Status { mode: Mode::Live, ..Status::default() });
    let tools = Tools::new(store.clone(), status).with_sensor("test".to_owned());
    (Jobs::new(tools, run(), all()), sender)
}

fn run() -> [u8; 16] {
    Run::new_uuid(Timestamp::from_nanos(1))
}

async fn order(jobs: &Jobs, kind: &'static str, request: Value, key: Option<&str>) -> Result<Ordered, Refused> {
    jobs.order(Order { kind, request, who: "test".to_owned(), key: key.map(str::to_owned) }).await
}

async fn state(jobs: &Jobs, id: &str) -> JobState {
    jobs.get(id).await.expect("store").expect("job").job.state
}

/// Waits until a job is in this state.
async fn until(jobs: &Jobs, id: &str, wanted: JobState) {
    while state(jobs, id).await != wanted {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// All places are taken, and a job that waits for one is cancelled.
async fn cancelled_while_it_waits(store: &Store, name: &'static str) {
    let (jobs, _status) = process(store);
    for _ in 0..RUNNING {
        let gate = order(&jobs, "once", json!({}), None).await.expect("room").id;
        until(&jobs, &gate, JobState::Running).await;
    }
    let waits = order(&jobs, name, sample(name), None).await.expect("room").id;
    assert_eq!(state(&jobs, &waits).await, JobState::Queued, "{name}");
    assert_eq!(jobs.cancel(&waits).await.expect("store"), Some(Ok(())), "{name}");
    assert_eq!(state(&jobs, &waits).await, JobState::Cancelled, "{name}");
    let again = jobs.cancel(&waits).await.expect("store");
    assert_eq!(again, Some(Err(NotCancelled::Over(JobState::Cancelled))), "{name}");
    assert_eq!(jobs.shutdown(LONG).await, 0);
}

async fn every_kind(store: &Store) {
    for kind in KINDS {
        let name = kind.name();
        // Cancelled while it waits: all places are taken. What is fed needs none of them.
        if !kind.limits().is_fed {
            cancelled_while_it_waits(store, name).await;
        }

        // Cancelled under way: it asks before it has done anything.
        let (_sender, status) = watch::channel(Status { mode: Mode::Live, ..Status::default() });
        let context = |store: &Store, is_cancelled: bool| {
            let cancel = CancellationToken::new();
            if is_cancelled {
                cancel.cancel();
            }
            let tools = Tools::new(store.clone(), status.clone()).with_sensor("test".to_owned());
            let (progress, handle) = (Progress::default(), tokio::runtime::Handle::current());
            JobContext { id: "1".to_owned(), request: sample(name), tools, progress, cancel, handle }
        };
        let run_by = async |context: JobContext| {
            tokio::task::spawn_blocking(move || kind.run(&context)).await.expect("no panic")
        };
        let ended = run_by(context(store, true)).await;
        assert!(matches!(ended, Err(JobError::Cancelled)), "{name}: {ended:?}");

        // Left by a process that was killed.
        let dead = JobOwner { sensor: "test".to_owned(), mode: Mode::Live, run: run() };
        let id = format!("left-{name}");
        let row = NewJob {
            id: id.clone(),
            kind: name.to_owned(),
            who: "test".to_owned(),
            request: sample(name).to_string(),
            key: None,
            created: Timestamp::from_nanos(1),
        };
        store.insert_job(&dead, &row).await.expect("insert");
        store.begin_job(&id, Timestamp::from_nanos(2)).await.expect("begin");
        let (jobs, _status) = process(store);
        jobs.take_over().await.expect("store");
        jobs.wait(&id, LONG).await;
        let left = jobs.get(&id).await.expect("store").expect("job").job;
        if kind.resumes() {
            assert!(matches!(left.state, JobState::Done | JobState::Failed), "{name}: {left:?}");
            assert_eq!(left.attempts, 2, "{name}");
        } else {
            assert_eq!((left.state, left.attempts), (JobState::Lost, 1), "{name}");
        }

        // A store that is gone: it fails, and says nothing of the inside.
        let folder = tempfile::tempdir().expect("folder");
        let closed = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
        closed.close().await;
        let error = run_by(context(&closed, false)).await.expect_err(name);
        assert!(matches!(error, JobError::Failed(_)), "{name}: {error:?}");
        let failure = JobFailure::of(error, name, "1");
        let path = folder.path().display().to_string();
        assert!(!failure.detail.contains(&path) && !failure.detail.contains("sql"), "{name}: {failure:?}");
    }
}

async fn the_queue(store: &Store) {
    let (jobs, _status) = process(store);
    // Long ones leave a place to others.
    let mut long = Vec::new();
    for _ in 0..RUNNING + 2 {
        long.push(order(&jobs, "long", json!({}), None).await.expect("room").id);
        let all_but_one = long.len().min(RUNNING - 1);
        until(&jobs, &long[all_but_one - 1], JobState::Running).await;
    }
    assert_eq!((jobs.counts().running, jobs.counts().waiting), (RUNNING as u64 - 1, 3));
    let refused = order(&jobs, "long", json!({}), None).await;
    assert!(matches!(refused, Err(Refused::Full { kind: Some("long"), waiting: 3, most: 3 })), "{refused:?}");
    assert_eq!(jobs.counts().refused, 1);
    let quick = order(&jobs, "windows", sample("windows"), None).await.expect("room").id;
    jobs.wait(&quick, LONG).await;
    assert_eq!(state(&jobs, &quick).await, JobState::Done);

    // How far it is.
    let view = jobs.get(&long[0]).await.expect("store").expect("job");
    assert_eq!((view.percent, view.packets, view.is_cancelling), (Some(25.0), Some(7), false));
    // One that ends lets the next one begin.
    assert_eq!(jobs.cancel(&long[0]).await.expect("store"), Some(Ok(())));
    jobs.wait(&long[0], LONG).await;
    until(&jobs, &long[RUNNING - 1], JobState::Running).await;
    let view = jobs.get(&long[0]).await.expect("store").expect("job");
    assert_eq!((view.job.state, view.percent, view.packets), (JobState::Cancelled, Some(25.0), Some(7)));

    // A panic is a failure of this job alone.
    let panics = order(&jobs, "panics", json!({}), None).await.expect("room").id;
    jobs.wait(&panics, LONG).await;
    let view = jobs.get(&panics).await.expect("store").expect("job");
    let failure = view.failure().expect("a failure");
    assert_eq!((view.job.state, failure.status), (JobState::Failed, 500));
    assert!(!failure.detail.contains("inside") && !failure.detail.contains("row 7"), "{failure:?}");
    assert_eq!(jobs.counts().ended.get(&("panics", "failed")), Some(&1));

    // The same key with the same request is the same job; with another it is refused.
    let first = order(&jobs, "windows", sample("windows"), Some("a")).await.expect("room");
    let second = order(&jobs, "windows", sample("windows"), Some("a")).await.expect("room");
    assert_eq!((&first.id, first.is_new, second.is_new), (&second.id, true, false));
    for (kind, request) in [("windows", json!({ "span_ns": 1 })), ("baselines", sample("windows"))] {
        let refused = order(&jobs, kind, request, Some("a")).await;
        assert!(matches!(&refused, Err(Refused::Key { id }) if *id == first.id), "{refused:?}");
    }
    assert_eq!(jobs.shutdown(LONG).await, 0);
    assert!(matches!(order(&jobs, "windows", sample("windows"), None).await, Err(Refused::Stopping)));
    for id in &long[1..] {
        assert_eq!(state(&jobs, id).await, JobState::Queued, "it goes on at the next start");
    }
}

async fn a_restart(store: &Store) {
    let (jobs, _status) = process(store);
    let resumed = order(&jobs, "gate", json!({}), None).await.expect("room").id;
    let lost = order(&jobs, "once", json!({}), None).await.expect("room").id;
    until(&jobs, &resumed, JobState::Running).await;
    until(&jobs, &lost, JobState::Running).await;
    assert_eq!(jobs.shutdown(LONG).await, 0);
    assert_eq!(state(&jobs, &resumed).await, JobState::Queued);
    let view = jobs.get(&lost).await.expect("store").expect("job");
    assert_eq!(view.job.state, JobState::Lost);
    assert!(view.failure().expect("why").detail.contains("was stopped before the job was done"));

    // It goes on a bounded number of times: a job that ends the daemon would do so each time.
    for attempts in 2..=3 {
        let (jobs, _status) = process(store);
        assert_eq!(jobs.take_over().await.expect("store").0, 1);
        until(&jobs, &resumed, JobState::Running).await;
        assert_eq!(jobs.get(&resumed).await.expect("store").expect("job").job.attempts, attempts);
        assert_eq!(jobs.shutdown(LONG).await, 0);
    }
    let (jobs, _status) = process(store);
    assert_eq!(jobs.take_over().await.expect("store"), (0, 1));
    let view = jobs.get(&resumed).await.expect("store").expect("job");
    assert_eq!(view.job.state, JobState::Lost);
    assert!(view.failure().expect("why").detail.contains("ended 3 times"), "{:?}", view.failure());
}

#[tokio::test]
async fn every_kind_is_cancelled_resumed_and_fails_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let open = async |name| Store::open(&format!("sqlite:{}", folder.path().join(name).display())).await.expect("open");
    every_kind(&open("a.db").await).await;
    the_queue(&open("b.db").await).await;
    a_restart(&open("c.db").await).await;
}

#[tokio::test]
async fn every_kind_is_cancelled_resumed_and_fails_on_postgresql() {
    let Some(server) = Server::start("every_kind_is_cancelled_resumed_and_fails_on_postgresql") else { return };
    let store = server.open().await;
    every_kind(&store).await;
    a_restart(&store).await;
    the_queue(&store).await;
    store.close().await;
}
