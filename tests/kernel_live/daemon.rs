//! The daemon under test, inside a network namespace, and its REST API seen from there.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use jiff::Timestamp;
use nta_tests::netns::{Namespace, output, wait_for};
use serde_json::Value;

use nta_tests::process::Process;

/// Where each daemon listens: every namespace has its own loopback.
const LISTEN: &str = "127.0.0.1:5000";
/// Length of the windows in the tests, in seconds.
pub(crate) const WINDOW_S: i64 = 2;
/// The daemon itself gives its parts 10 seconds each.
pub(crate) const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// The binary: `NTA_DAEMON`, else the one beside the tests.
pub(crate) fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("NTA_DAEMON") {
        return path.into();
    }
    let tests = std::env::current_exe().expect("the path of the tests");
    tests.ancestors().nth(2).expect("target/debug/deps/TEST").join("nta-daemon")
}

/// A copy of the binary below this folder, which anybody may enter, with libxgboost where the binary looks for it: two folders
/// above itself.
pub(crate) fn copy(folder: &Path) -> PathBuf {
    let place = folder.join("target/debug");
    std::fs::create_dir_all(&place).expect("a folder");
    let copied = place.join("nta-daemon");
    std::fs::copy(binary(), &copied).expect("a copy of the daemon");
    let libraries = nta_tests::root().join(".xgboost");
    if libraries.exists() {
        let mut cp = Command::new("cp");
        let copied = output(cp.args(["-rL", "--no-preserve=mode"]).arg(libraries).arg(folder.join(".xgboost")));
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    }
    copied
}

/// The daemon's command, inside the namespace.
pub(crate) fn command(namespace: &Namespace, arguments: &[&str]) -> Command {
    let mut command = namespace.command(binary().to_str().expect("a path in UTF-8"));
    command.args(arguments);
    command
}

/// What it is started with: database and log go to the folder.
pub(crate) fn arguments(folder: &Path, interfaces: &str, attach: &str) -> Vec<String> {
    let database = format!("sqlite:{}", folder.join("nta.db").display());
    let window = WINDOW_S.to_string();
    let first = ["run", "--interface", interfaces, "--attach", attach, "--window", &window];
    first.into_iter().chain(["--listen", LISTEN, "--database", &database]).map(str::to_owned).collect()
}

/// A daemon that captures.
pub(crate) struct Daemon<'a> {
    pub(crate) process: Process,
    namespace: &'a Namespace,
}

impl<'a> Daemon<'a> {
    /// Starts it and does not wait; database and log go to the folder.
    pub(crate) fn spawn(namespace: &'a Namespace, folder: &Path, interfaces: &str, attach: &str) -> Self {
        let mut command = Self::command(namespace, folder, interfaces, attach);
        Self { process: Process::start(&mut command, folder, "daemon.log"), namespace }
    }

    fn command(namespace: &Namespace, folder: &Path, interfaces: &str, attach: &str) -> Command {
        let mut command = command(namespace, &[]);
        command.args(arguments(folder, interfaces, attach));
        command
    }

    /// Starts it and returns when it is healthy.
    pub(crate) fn start(namespace: &'a Namespace, folder: &Path, interfaces: &str, attach: &str) -> Self {
        Self::spawn(namespace, folder, interfaces, attach).healthy()
    }

    /// The same with a configuration file.
    pub(crate) fn start_with(
        namespace: &'a Namespace,
        folder: &Path,
        interfaces: &str,
        attach: &str,
        config: &Path,
    ) -> Self {
        let mut command = Self::command(namespace, folder, interfaces, attach);
        Self::start_command(namespace, folder, command.arg("--config").arg(config))
    }

    /// Starts it by a command of the test's own.
    pub(crate) fn start_command(namespace: &'a Namespace, folder: &Path, command: &mut Command) -> Self {
        Self { process: Process::start(command, folder, "daemon.log"), namespace }.healthy()
    }

    fn healthy(self) -> Self {
        let mut daemon = self;
        wait_for("a healthy daemon", Duration::from_secs(30), || {
            assert!(daemon.process.ended().is_none(), "the daemon ended: {}", daemon.process.log());
            daemon.try_get("/health")
        });
        daemon
    }

    /// The document at this path; `None` unless the answer is 200.
    pub(crate) fn try_get(&self, path: &str) -> Option<Value> {
        let url = format!("http://{LISTEN}{path}");
        let answer = output(self.namespace.command("curl").args(["-s", "-f", "-m", "10", &url]));
        answer.status.success().then(|| serde_json::from_slice(&answer.stdout).expect("JSON"))
    }

    /// Whether anything is answered to this path, whatever it is.
    pub(crate) fn answers(&self, path: &str) -> bool {
        let url = format!("http://{LISTEN}{path}");
        output(self.namespace.command("curl").args(["-s", "-m", "10", "-o", "/dev/null", &url])).status.success()
    }

    /// The document at this path.
    pub(crate) fn get(&self, path: &str) -> Value {
        self.try_get(path).unwrap_or_else(|| panic!("no answer to {path}"))
    }

    pub(crate) fn status(&self) -> Value {
        self.get("/api/status")
    }

    /// All items of a list, page by page.
    pub(crate) fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        for _page in 0..1000 {
            let sign = if path.contains('?') { '&' } else { '?' };
            let page = self.get(&format!("{path}{sign}limit=250{cursor}"));
            items.extend(page["items"].as_array().expect("items").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
        panic!("{path} has no end");
    }

    /// Every base window, whatever the clock says now.
    pub(crate) fn windows(&self) -> Vec<Value> {
        self.all(&format!("/api/metrics?span={WINDOW_S}&from=0"))
    }

    /// The newest window.
    pub(crate) fn newest_window(&self) -> Option<Value> {
        self.get(&format!("/api/metrics?span={WINDOW_S}&limit=1&sort=-time"))["items"].get(0).cloned()
    }

    /// Waits until everything that was counted up to now can be read.
    pub(crate) fn wait_for_window(&self) {
        let now = Timestamp::now();
        // What a daemon before stored of its last window when it was stopped may end in the future as well.
        let known = self.newest_window().map_or(0, |window| number(&window["id"]));
        wait_for("the window", Duration::from_secs(10), || {
            self.newest_window().filter(|window| time(&window["end"]) > now && number(&window["id"]) > known)
        });
    }

    /// Ends it as systemd does.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.process.stop("TERM", STOP_DEADLINE)
    }
}

/// A time stamp of the API.
pub(crate) fn time(value: &Value) -> Timestamp {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no time stamp: {value}"))
}

/// A number of the API.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}
