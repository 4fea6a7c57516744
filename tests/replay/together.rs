//! The same capture analysed by several processes at once into one database: one stores it, the others wait and answer from
//! it; who is killed meanwhile leaves nothing that holds the others up.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nta_tests::netns::wait_for;
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use nta_tests::postgres::Postgres;
use nta_tests::served::scan_frames;
use nta_tests::{daemon::daemon, installed, not_run};
use serde_json::Value;

const AT_ONCE: usize = 4;
/// A debug build beside compilers may need it.
const LIMIT: Duration = Duration::from_secs(120);
/// In which a replay would take days.
const NEVER: &str = "0.00001";
const WAITS: &str = "another process analyses the same captures";
const RUNS: &str = "SELECT coalesce(end_reason, 'open') FROM runs WHERE analysis IS NOT NULL ORDER BY end_reason";
const ROWS: &str = "SELECT count(*) FROM windows WHERE factor = 1 UNION ALL SELECT count(*) FROM flows";

/// A database of either kind, in a folder.
struct Database {
    folder: tempfile::TempDir,
    server: Option<Postgres>,
}

impl Database {
    fn both(test: &str) -> Vec<Self> {
        let new = |server| Self { folder: tempfile::tempdir().expect("a folder"), server };
        let mut both = Vec::new();
        if installed("sqlite3") {
            both.push(new(None));
        } else {
            not_run(test, "sqlite3 is not installed");
        }
        if Postgres::is_installed() {
            both.push(new(Some(Postgres::start())));
        } else {
            not_run(test, "Debian's package postgresql is not installed");
        }
        both
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("nta.db")
    }

    fn url(&self) -> String {
        self.server.as_ref().map_or_else(|| format!("sqlite:{}", self.path().display()), Postgres::url)
    }

    /// What another program reads out of it.
    fn ask(&self, sql: &str) -> Result<Vec<String>, String> {
        if let Some(server) = &self.server {
            return server.ask(sql);
        }
        let output = Command::new("sqlite3").arg(self.path()).arg(sql).output().expect("sqlite3");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            return Err(text(&output.stderr));
        }
        Ok(text(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// Files beside the database.
    fn locks(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder").flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".lock")).collect()
    }
}

/// A replay under way; killed when dropped.
struct Replay {
    child: Child,
    output: PathBuf,
    log: PathBuf,
}

impl Drop for Replay {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

impl Replay {
    fn start(database: &Database, capture: &Path, name: &str, speed: &str) -> Self {
        let [output, log] = ["json", "log"].map(|end| database.folder.path().join(format!("{name}.{end}")));
        let mut command = Command::new(daemon());
        command.args(["replay", "--format", "json", "--speed", speed, "--database", &database.url()]).arg(capture);
        for variable in ["NTA_CONFIG", "NTA_DATABASE", "NTA_WINDOW", "NTA_LOG"] {
            command.env_remove(variable);
        }
        let file = |path: &Path| File::create(path).expect("a file");
        command.stdin(Stdio::null()).stdout(file(&output)).stderr(file(&log));
        Self { child: command.spawn().expect("the daemon starts"), output, log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its log")
    }

    fn wait_for(&mut self, what: &str) {
        wait_for(what, LIMIT, || {
            assert!(self.child.try_wait().expect("its status").is_none(), "ended: {}", self.said());
            self.said().contains(what).then_some(())
        });
    }

    fn end(&mut self) -> ExitStatus {
        wait_for("the end of a replay", LIMIT, || self.child.try_wait().expect("its status"))
    }

    /// Its document without what no two runs share.
    fn document(&mut self) -> Value {
        assert!(self.end().success(), "{}", self.said());
        let text = std::fs::read(&self.output).expect("its output");
        let mut document: Value = serde_json::from_slice(&text).expect("a document");
        document.as_object_mut().expect("an object").remove("elapsed_s").expect("how long it took");
        document
    }
}

/// Two scans within ten seconds.
fn capture(folder: &Path) -> PathBuf {
    let path = folder.join("scans.pcap");
    let frames: Vec<Frame> = [1_000, 1_010].iter().flat_map(|second| scan_frames(second * 1_000_000_000)).collect();
    std::fs::write(&path, pcap(ETHERNET, &frames)).expect("a capture");
    path
}

#[test]
fn of_several_at_once_one_stores_the_analysis_and_the_others_answer_from_it() {
    for database in Database::both("of_several_at_once_one_stores_the_analysis_and_the_others_answer_from_it") {
        let capture = capture(database.folder.path());
        // Ten seconds of traffic in two: nobody is through before the last one begins.
        let start = |number| Replay::start(&database, &capture, &format!("at-once-{number}"), "5");
        let mut replays: Vec<Replay> = (0..AT_ONCE).map(start).collect();
        let documents: Vec<Value> = replays.iter_mut().map(Replay::document).collect();
        for document in &documents[1..] {
            assert!(document == &documents[0], "the answers are the same");
        }
        assert_eq!(database.ask(RUNS).expect("runs"), ["completed"], "{}", database.url());
        let windows = documents[0]["windows"].as_array().expect("windows").len().to_string();
        let flows = documents[0]["flows"].to_string();
        assert_eq!(database.ask(ROWS).expect("rows"), [windows, flows], "stored once");
        let answered = replays.iter().filter(|replay| replay.said().contains("analysed before")).count();
        assert_eq!(answered, AT_ONCE - 1);
        assert!(replays.iter().any(|replay| replay.said().contains(WAITS)), "that it waits is said");
        assert_eq!(database.locks(), [""; 0]);
    }
}

#[test]
fn who_waits_for_a_process_that_is_killed_goes_on() {
    for database in Database::both("who_waits_for_a_process_that_is_killed_goes_on") {
        let capture = capture(database.folder.path());
        let mut killed = Replay::start(&database, &capture, "killed", NEVER);
        wait_for("its run", LIMIT, || (database.ask(RUNS).ok()? == ["open"]).then_some(()));
        let mut waiting = Replay::start(&database, &capture, "waiting", "max");
        let mut stopped = Replay::start(&database, &capture, "stopped", "max");
        for replay in [&mut waiting, &mut stopped] {
            replay.wait_for(WAITS);
        }
        assert_eq!(database.ask(RUNS).expect("runs"), ["open"], "nobody else stores it");
        // Who waits can be stopped.
        let id = stopped.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
        assert_eq!(stopped.end().code(), Some(3), "{}", stopped.said());
        killed.child.kill().expect("SIGKILL");
        let packets = waiting.document()["packets"].clone();
        assert_eq!(packets, 800);
        assert_eq!(database.ask(RUNS).expect("runs"), ["completed", "interrupted"]);
        assert_eq!(database.locks(), [""; 0], "no lock is left behind");
    }
}

#[test]
fn lock_files_of_killed_processes_do_not_pile_up() {
    const NAME: &str = "lock_files_of_killed_processes_do_not_pile_up";
    let Some(database) = Database::both(NAME).into_iter().find(|database| database.server.is_none()) else { return };
    let capture = capture(database.folder.path());
    let mut killed = Replay::start(&database, &capture, "killed", NEVER);
    wait_for("its run", LIMIT, || (database.ask(RUNS).ok()? == ["open"]).then_some(()));
    killed.child.kill().expect("SIGKILL");
    killed.end();
    assert!(!database.locks().is_empty(), "a killed process leaves its locks");
    // Another capture: nobody asks for the one that was interrupted.
    let other = database.folder.path().join("other.pcap");
    std::fs::write(&other, pcap(ETHERNET, &scan_frames(5_000_000_000_000))).expect("a capture");
    Replay::start(&database, &other, "other", "max").document();
    assert_eq!(database.locks(), [""; 0]);
}
