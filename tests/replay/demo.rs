//! What `cargo xtask demo` shows is so.

use std::process::Command;

use nta_tests::daemon::daemon;
use nta_tests::root;

/// Each part of it, in a process of its own: what one leaves behind is no help to the next.
#[expect(clippy::print_stdout, reason = "the test runner reads there what was not run")]
fn shows(part: &str) {
    let script = root().join("tests/demo/demo.sh");
    let run = Command::new("bash").arg(script).arg(part).env("NTA_DAEMON", daemon()).output().expect("bash");
    let said = String::from_utf8_lossy(&run.stdout);
    // With what it could not run, if so, and why.
    println!("{said}");
    assert!(run.status.success(), "{part}: {}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("$ curl ") || said.contains("not run: "), "{part} shows something");
}

#[test]
fn the_demo_analyses_a_capture() {
    shows("analyse");
}

#[test]
fn the_demo_learns_judges_and_sums_up() {
    shows("learn");
}

#[test]
fn the_demo_watches_an_interface_and_follows_an_alert_to_its_end() {
    shows("watch");
}
