//! The dashboard in a browser: Debian's Chromium, driven by scripts, against the real daemon.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nta_tests::browser::{self, Spoken, can_run};
use nta_tests::case::input;
use nta_tests::cases;
use nta_tests::daemon::{self, collect};
use nta_tests::netns::wait_for;
use nta_tests::served::{Served, ask, scan};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for something that has to come.
const LIMIT: Duration = Duration::from_secs(30);

fn script(name: &str, served: &Served) -> Command {
    let mut command = Command::new("node");
    command.arg(browser::script(name)).arg(format!("http://{}", served.address));
    command
}

/// Runs a script against a daemon; it has to succeed.
fn succeeds(name: &str, served: &Served, args: &[&str]) {
    let mut command = script(name, served);
    command.args(args);
    let run = collect(command, &[]);
    assert_eq!(run.status, Some(0), "{name}: {}{}", String::from_utf8_lossy(&run.stdout), run.stderr);
}

/// A daemon that serves a capture, with a database in a folder.
fn serve(capture: &Path) -> (TempDir, Served) {
    let folder = tempfile::tempdir().expect("folder");
    let served = Served::start(capture, &database(folder.path()), true);
    (folder, served)
}

fn database(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("nta.db").display())
}

/// The capture of a case, and what is expected of it.
fn case(name: &str) -> (PathBuf, Value) {
    let folder = cases().join(name);
    let expected = std::fs::read_to_string(folder.join("alerts.json")).expect("what is expected");
    (input(&folder), serde_json::from_str(&expected).expect("JSON"))
}

/// A port scan of our own making.
fn served_scan() -> (TempDir, Served) {
    let folder = tempfile::tempdir().expect("folder");
    let capture = folder.path().join("scan.pcap");
    scan(&capture);
    let served = Served::start(&capture, &database(folder.path()), true);
    (folder, served)
}

/// The first screen of each of the eight attacks says who, whom, what, since when, how much and what next.
#[test]
fn in_ten_seconds_one_knows_who_does_what_to_whom() {
    if !can_run("in_ten_seconds_one_knows_who_does_what_to_whom") {
        return;
    }
    for (name, words) in [
        ("port_scan-hit", "port scan"),
        ("ssh_brute_force-hit", "SSH password guessing"),
        ("slowloris-hit", "slowloris"),
        ("arp_spoof-hit", "ARP spoofing"),
        ("dns_tunnel-hit", "DNS tunnel"),
        ("syn_flood-hit", "SYN flood"),
        ("udp_flood-hit", "UDP flood"),
        ("icmp_flood-hit", "ICMP flood"),
    ] {
        let (capture, expected) = case(name);
        let (_folder, served) = serve(&capture);
        let mut wanted = vec![
            format!("{words}.{{0,90}}needs? you"),
            "attacker".to_owned(),
            "victim".to_owned(),
            r"since \d+ \w+ 20\d\d, \d\d:\d\d".to_owned(),
            r"measured [\d.,]+".to_owned(),
            r"(usual|reported from) [\d.,]+".to_owned(),
            r"next [A-Z]\w+".to_owned(),
        ];
        for party in ["source", "destination"] {
            let named = match &expected["expect"][0][party] {
                Value::String(one) => vec![one.as_str()],
                Value::Array(any) => any.iter().filter_map(Value::as_str).collect(),
                _ => continue,
            };
            let named: Vec<String> = named
                .iter()
                .map(|one| if *one == "*" { "forged".to_owned() } else { one.replace('.', r"\.") })
                .collect();
            wanted.push(named.join("|"));
        }
        succeeds("ten_seconds.mjs", &served, &wanted.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let (_folder, served) = serve(&case("port_scan-quiet").0);
    succeeds("ten_seconds.mjs", &served, &["Nothing needs you", "0 unaccounted", "!attacker"]);
}

#[test]
fn numbers_are_those_of_the_api() {
    if !can_run("numbers_are_those_of_the_api") {
        return;
    }
    let (_folder, served) = serve(&case("port_scan-hit").0);
    succeeds("numbers.mjs", &served, &[]);
}

#[test]
fn alerts_are_handled_by_keyboard_alone() {
    if !can_run("alerts_are_handled_by_keyboard_alone") {
        return;
    }
    let (_folder, served) = served_scan();
    succeeds("triage.mjs", &served, &[]);
}

#[test]
fn addresses_hold_the_state_of_a_page() {
    if !can_run("addresses_hold_the_state_of_a_page") {
        return;
    }
    let (_folder, served) = serve(&case("port_scan-hit").0);
    succeeds("links.mjs", &served, &[]);
}

#[test]
fn a_capture_that_is_dropped_has_a_report() {
    if !can_run("a_capture_that_is_dropped_has_a_report") {
        return;
    }
    let (folder, served) = served_scan();
    succeeds("upload.mjs", &served, &[folder.path().join("scan.pcap").to_str().expect("UTF-8")]);
}

#[test]
fn captures_and_jobs_appear_where_they_are_shown() {
    if !can_run("captures_and_jobs_appear_where_they_are_shown") {
        return;
    }
    let (folder, served) = served_scan();
    succeeds("follow.mjs", &served, &[folder.path().join("scan.pcap").to_str().expect("UTF-8")]);
}

#[test]
fn a_viewer_cannot_do_what_an_operator_can() {
    if !can_run("a_viewer_cannot_do_what_an_operator_can") {
        return;
    }
    let (folder, served) = served_scan();
    let token = |role: &str| {
        let made = daemon::run(["tokens", "--database", &database(folder.path()), "create", "--role", role]);
        String::from_utf8(made.stdout)
            .expect("UTF-8")
            .split_whitespace()
            .find(|word| word.starts_with("nta_"))
            .expect("a token")
            .to_owned()
    };
    let (viewer, operator) = (token("viewer"), token("operator"));
    wait_for("a token to be demanded", LIMIT, || (served.ask("GET", "/api/status", "").0 == 401).then_some(()));
    succeeds("roles.mjs", &served, &[&viewer, &operator]);
}

#[test]
fn a_page_recovers_when_the_daemon_was_killed() {
    if !can_run("a_page_recovers_when_the_daemon_was_killed") {
        return;
    }
    let (folder, served) = served_scan();
    let mut page = Spoken::start(script("recover.mjs", &served));
    page.wait_for("ready");
    served.signal("-KILL");
    let address = served.address.clone();
    drop(served);
    page.wait_for("stale");
    let mut again = Command::new(daemon::daemon());
    again
        .args(["replay", "--serve", "--listen", &address, "--database", &database(folder.path())])
        .arg(folder.path().join("scan.pcap"));
    let mut again = nta_tests::process::Process::start(&mut again, folder.path(), "again.log");
    wait_for("the daemon that was started again", LIMIT, || {
        assert!(again.ended().is_none(), "{}", again.log());
        ask(&address, "GET", "/api/status", "").ok()
    });
    page.say("started");
    assert!(page.wait().success());
}

#[test]
fn pages_are_accessible_in_both_themes() {
    if !can_run("pages_are_accessible_in_both_themes") {
        return;
    }
    let (_folder, served) = serve(&case("port_scan-hit").0);
    succeeds("axe.mjs", &served, &[]);
}

#[test]
fn a_first_visit_is_light_and_asks_no_other_host() {
    if !can_run("a_first_visit_is_light_and_asks_no_other_host") {
        return;
    }
    let (_folder, served) = serve(&case("port_scan-hit").0);
    succeeds("weight.mjs", &served, &[]);
}
