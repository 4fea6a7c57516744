//! The table of jobs, on both databases.

use super::jobs::{JobEnd, JobFilter, JobOwner, JobState, JobsKept, NewJob};
use super::server_tests::Server;
use super::tests::FIRST_PAGE;
use super::*;
use nta_core::domain::{Mode, Timestamp};

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos(second * 1_000_000_000)
}

fn owner(sensor: &str, mode: Mode) -> JobOwner {
    JobOwner { sensor: sensor.to_owned(), mode, run: Run::new_uuid(at(1)) }
}

fn job(id: u64, key: Option<&str>) -> NewJob {
    NewJob {
        id: format!("job-{id}"),
        kind: if id.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
        who: "api".to_owned(),
        request: "{\"windows\":7}".to_owned(),
        key: key.map(|key| (key.to_owned(), vec![id as u8; 32])),
        created: at(id),
    }
}

fn end(state: JobState, second: u64) -> JobEnd {
    JobEnd { state, progress: None, result: Some("{}".to_owned()), error: None, at: at(second) }
}

async fn suite(store: &Store) {
    let (mine, other) = (owner("a", Mode::Live), owner("b", Mode::Live));
    for id in 1..=5 {
        assert_eq!(store.insert_job(&mine, &job(id, None)).await.expect("insert"), None);
    }
    // A key stands for one job of a sensor.
    assert_eq!(store.insert_job(&mine, &job(6, Some("k"))).await.expect("insert"), None);
    let known = store.insert_job(&mine, &job(7, Some("k"))).await.expect("insert").expect("the first one");
    assert_eq!((known.id.as_str(), known.key_sha256), ("job-6", Some(vec![6; 32])));
    assert_eq!(store.insert_job(&other, &job(8, Some("k"))).await.expect("insert"), None);
    assert_eq!(store.job("job-7").await.expect("query"), None);

    store.begin_job("job-1", at(20)).await.expect("begin");
    store.end_job("job-1", &end(JobState::Done, 30)).await.expect("end");
    // What is over stays as it is.
    store.end_job("job-1", &end(JobState::Lost, 31)).await.expect("end");
    let done = store.job("job-1").await.expect("query").expect("job");
    assert_eq!((done.state, done.attempts, done.started, done.ended), (JobState::Done, 1, Some(at(20)), Some(at(30))));

    let mut seen = Vec::new();
    let mut position = Position { limit: 2, descending: true, ..FIRST_PAGE };
    loop {
        let page = store.jobs(&JobFilter::default(), position).await.expect("jobs");
        seen.extend(page.items.into_iter().map(|job| job.id));
        let Some(next) = page.next else { break };
        position.after = Some(next);
    }
    assert_eq!(seen, [8, 6, 5, 4, 3, 2, 1].map(|id| format!("job-{id}")));
    let of = |filter| async move {
        let page = store.jobs(&filter, Position { descending: true, ..FIRST_PAGE }).await.expect("jobs");
        page.items.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    let odd = JobFilter { kind: Some("odd".to_owned()), state: Some(JobState::Queued), ..JobFilter::default() };
    assert_eq!(of(odd).await, ["job-5", "job-3"]);
    let range = Range { from: Some(at(2)), to: Some(at(4)) };
    assert_eq!(of(JobFilter { range, ..JobFilter::default() }).await, ["job-3", "job-2"]);

    for (id, second) in [(2, 40), (3, 50), (4, 60)] {
        store.end_job(&format!("job-{id}"), &end(JobState::Failed, second)).await.expect("end");
    }
    let kept = JobsKept { most: 2, since: at(35) };
    assert_eq!(store.delete_jobs(kept).await.expect("delete"), 2, "the oldest by age, the next by count");
    assert_eq!(of(JobFilter::default()).await, ["job-8", "job-6", "job-5", "job-4", "job-3"]);
}

/// What processes that were killed left is found by the next one of the same sensor; of others nothing is taken.
async fn left_behind(store: &Store) {
    let run = |sensor: &str, mode| Run {
        started: at(1),
        mode,
        source: "eth0".to_owned(),
        version: "0".to_owned(),
        sensor: sensor.to_owned(),
        uuid: Run::new_uuid(at(1)),
        analysis: None,
    };
    let (dead, replay, alive, next) =
        (run("a", Mode::Live), run("a", Mode::Replay), run("a", Mode::Replay), run("a", Mode::Live));
    let as_owner = |run: &Run| JobOwner { sensor: run.sensor.clone(), mode: run.mode, run: run.uuid };
    for (id, run) in [(1, &dead), (2, &replay), (3, &alive), (4, &run("b", Mode::Live)), (5, &dead)] {
        store.insert_job(&as_owner(run), &job(id, None)).await.expect("insert");
    }
    store.end_job("job-5", &end(JobState::Done, 9)).await.expect("end");
    let _lock = store.begin_run(&alive).await.expect("run");
    let left = store.jobs_left(&as_owner(&next)).await.expect("jobs");
    assert_eq!(left.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["job-1", "job-2"]);
    store.adopt_job("job-1", &next.uuid).await.expect("adopt");
    let left = store.jobs_left(&as_owner(&next)).await.expect("jobs");
    assert_eq!(left.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["job-2"]);
}

#[tokio::test]
async fn jobs_are_kept_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let open = async |name| Store::open(&format!("sqlite:{}", folder.path().join(name).display())).await.expect("open");
    suite(&open("a.db").await).await;
    left_behind(&open("b.db").await).await;
}

#[tokio::test]
async fn jobs_are_kept_on_postgresql() {
    for (index, name) in ["jobs_are_kept_on_postgresql", "jobs_are_kept_on_postgresql (2)"].into_iter().enumerate() {
        let Some(server) = Server::start(name) else { return };
        let store = server.open().await;
        if index == 0 {
            suite(&store).await;
        } else {
            left_behind(&store).await;
        }
        store.close().await;
    }
}
