//! What the service manager hears of a daemon that captures, from the start to the end, and what a reload takes up.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use nta_tests::netns::{alone, output, wait_for};
use serde_json::{Value, json};

use crate::daemon::{Daemon, STOP_DEADLINE, arguments, command};
use crate::{Pair, can_run};

/// What the service manager would wait for a sign of life.
const WATCHDOG: Duration = Duration::from_secs(2);

/// A service manager's end of the socket.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a deadline");
        Self(socket)
    }

    /// The next datagram that has such a line; what else comes is passed over.
    fn hears(&self, wanted: &str) -> String {
        let mut passed = Vec::new();
        loop {
            let mut bytes = [0; 4096];
            let length =
                self.0.recv(&mut bytes).unwrap_or_else(|error| panic!("no {wanted}: {error}; came {passed:?}"));
            let text = String::from_utf8(bytes[..length].to_vec()).expect("UTF-8");
            if text.lines().any(|line| line.starts_with(wanted)) {
                return text;
            }
            passed.push(text);
        }
    }
}

#[test]
fn the_service_manager_hears_that_it_serves_lives_reloads_and_ends_with_an_interface_and_without() {
    const TEST: &str = "the_service_manager_hears_that_it_serves_lives_reloads_and_ends_with_an_interface_and_without";
    if !can_run(TEST, &[]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::new();
    let path = folder.path().join("notify");
    let manager = Manager::at(&path);
    let mut run = command(&pair.inside, &[]);
    run.args(arguments(folder.path(), "v0", "auto"));
    run.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    let mut daemon = Daemon::start_command(&pair.inside, folder.path(), &mut run);
    let ready = manager.hears("READY=1");
    assert!(ready.contains("STATUS=captures v0; 0 flows; 0 alerts open"), "{ready}");
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }

    daemon.process.signal("HUP");
    let reloading = manager.hears("RELOADING=1");
    let since = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(since.is_some_and(|us| us.parse::<u64>().is_ok_and(|us| us > 0)), "{reloading}");
    manager.hears("READY=1");

    pair.inside.ip("link delete v0");
    let status = manager.hears("STATUS=nothing is counted: ");
    assert!(status.contains("v0"), "{status}");
    // Nothing is there to be counted: its loop turns, windows are closed, and it is left alone.
    for _ in 0..9 {
        manager.hears("WATCHDOG=1");
    }
    daemon.process.signal("TERM");
    manager.hears("STOPPING=1");
    assert!(daemon.process.wait(STOP_DEADLINE).success(), "{}", daemon.process.log());
}

#[test]
fn a_reload_takes_up_interfaces_and_detection_names_the_rest_and_what_is_wrong_changes_nothing() {
    const TEST: &str = "a_reload_takes_up_interfaces_and_detection_names_the_rest_and_what_is_wrong_changes_nothing";
    if !can_run(TEST, &["ping"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::new();
    pair.inside.ip("link add w0 type veth peer name w1");
    pair.inside.ip("link set w0 up");
    pair.inside.ip("link set w1 up");
    let file = folder.path().join("nta.toml");
    let write = |text: &str| std::fs::write(&file, text).expect("a file");
    write("[capture]\ninterfaces = [\"v0\"]\n");
    let database = format!("sqlite:{}", folder.path().join("nta.db").display());
    let mut run =
        command(&pair.inside, &["run", "--window", "2", "--listen", "127.0.0.1:5000", "--database", &database]);
    let mut daemon = Daemon::start_command(&pair.inside, folder.path(), run.arg("--config").arg(&file));
    let reload = || {
        let url = "http://127.0.0.1:5000/api/control/reload";
        let answer =
            output(pair.inside.command("curl").args(["-s", "-m", "20", "-w", "\n%{http_code}", "-X", "POST", url]));
        let text = String::from_utf8(answer.stdout).expect("text");
        let (body, status) = text.rsplit_once('\n').expect("a status");
        (status.to_owned(), serde_json::from_str::<Value>(body).expect("JSON"))
    };
    let captured = |daemon: &Daemon<'_>| {
        let live = daemon.get("/api/control/capture/status");
        let names = live["interfaces"].as_array().expect("a list").iter();
        names.map(|one| one["interface"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    let settings = |daemon: &Daemon<'_>| daemon.get("/api/control/config")["settings"].clone();

    let (status, same) = reload();
    assert_eq!((status.as_str(), &same["taken"], &same["restart"]), ("200", &json!([]), &json!([])), "{same}");
    assert!(same["unchanged"].as_u64().is_some_and(|settings| settings > 100), "{same}");

    write(
        "[capture]\ninterfaces = [\"v0\", \"w0\"]\nmap_memory_mib = 48\n[detect.port_scan]\nenabled = false\n\
         [store]\nmax_flows = 4321\n[log]\nfilter = \"debug\"\n\
         [[webhooks]]\nname = \"ops\"\nkind = \"syslog\"\nurl = \"udp://10.77.1.9:514\"\n",
    );
    assert_eq!(daemon.get("/api/webhooks")["items"], json!([]));
    let detailed =
        || daemon.get("/api/control/logs?level=debug&limit=1000").to_string().contains("\"level\":\"debug\"");
    assert!(!detailed(), "what is logged begins at info");
    let (status, changed) = reload();
    assert_eq!(status, "200", "{changed}");
    assert_eq!(
        changed["taken"],
        json!(["capture.interfaces", "detect.port_scan.enabled", "log.filter", "store.max_flows", "webhooks"])
    );
    assert_eq!(
        (&changed["restart"], &changed["failed"]),
        (&json!(["capture.map_memory_mib"]), &json!([])),
        "{changed}"
    );
    assert_eq!(daemon.get("/api/webhooks")["items"][0]["name"], "ops");
    wait_for("a line of debug", Duration::from_secs(20), || detailed().then_some(()));
    let mut names = captured(&daemon);
    names.sort_unstable();
    assert_eq!(names, ["v0", "w0"]);
    let shown = settings(&daemon);
    assert_eq!((&shown["store"]["max_flows"], &shown["detect"]["port_scan"]["enabled"]), (&json!(4321), &json!(false)));
    assert_ne!(shown["capture"]["map_memory_mib"], 48, "in effect is what it was started with");
    let explained = daemon.get("/api/explain?host=10.77.1.2");
    assert!(explained.to_string().contains("port_scan"), "{explained}");

    write("[capture]\ninterfaces = [\"v0\"]\n[store]\nmax_flows = 0\n[detect.port_scan]\nenabeld = true\n");
    let (status, refused) = reload();
    assert_eq!(status, "422", "{refused}");
    let detail = refused["detail"].as_str().expect("a text");
    assert!(detail.contains("max_flows") && detail.contains("enabeld"), "{detail}");
    assert_eq!((settings(&daemon), captured(&daemon).len()), (shown, 2), "nothing has changed");

    // By the signal, and back to one interface.
    write("[capture]\ninterfaces = [\"v0\"]\n");
    daemon.process.signal("HUP");
    wait_for("one interface", Duration::from_secs(20), || (captured(&daemon) == ["v0"]).then_some(()));
    let log = daemon.process.log();
    assert!(log.contains("taken up: capture.interfaces"), "{log}");
    assert!(daemon.stop().success());
}
