//! A log that nobody reads: it holds up nothing, and says what is lost of it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nta_tests::daemon::daemon;
use nta_tests::netns::wait_for;
use nta_tests::served::{ask, scan};
use serde_json::Value;

#[test]
fn a_log_that_nobody_reads_holds_up_neither_start_nor_answers_nor_end() {
    let folder = tempfile::tempdir().expect("folder");
    let capture = folder.path().join("scan.pcap");
    scan(&capture);
    let (log, full) = std::io::pipe().expect("a pipe");
    // Keeps the pipe full, whatever its size.
    let mut filler = Ended(Command::new("yes").stdout(full.try_clone().expect("pipe")).spawn().expect("yes"));
    let another = full.try_clone().expect("a second writer");
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").to_string();
    let mut command = Command::new(daemon());
    command.args(["replay", "--serve", "--log", "trace", "--listen", &address]).arg(&capture);
    command.env_remove("NTA_CONFIG").env_remove("NTA_DATABASE").stdout(Stdio::null()).stderr(full);
    let mut daemon = Ended(command.spawn().expect("the daemon starts"));
    drop(command);
    let lost = || {
        let (_, status) = ask(&address, "GET", "/api/status", "").ok()?;
        status["process"]["log_lines_lost"].as_u64()
    };
    // Each answer is logged in detail, so that more waits than there is room for.
    let before = wait_for("lines without room", LIMIT, || lost().filter(|lost| *lost > 0));

    // Someone reads again.
    filler.0.kill().expect("kill");
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    // A burst may have outrun the writer before the pipe was full: that is said by itself.
    let mut said = 0;
    while said < before {
        let line = lines.find(|line| line.contains("log lines are lost")).expect("it is said");
        assert!(line.contains("WARN"), "{line}");
        let number = line.split("lines=").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        said += number.unwrap_or_else(|| panic!("no number in {line}"));
    }

    // And stops again: whoever ends it is not kept waiting.
    let _filler = Ended(Command::new("yes").stdout(another).spawn().expect("yes"));
    let id = daemon.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
    let status = wait_for("the end", LIMIT, || daemon.0.try_wait().expect("a child's status"));
    assert!(status.success(), "{status:?}");
    drop(lines);
}

#[test]
fn a_log_whose_reader_is_gone_ends_nothing_and_is_counted() {
    let folder = tempfile::tempdir().expect("folder");
    let capture = folder.path().join("scan.pcap");
    scan(&capture);
    let mut served = nta_tests::served::Served::start(&capture, "sqlite::memory:", true);
    let lost = |served: &nta_tests::served::Served| -> Value {
        served.get("/api/status")["process"]["log_lines_lost"].clone()
    };
    assert_eq!(lost(&served), 0);
    served.close_log();
    // It logs what the signal made it do.
    served.signal("-HUP");
    wait_for("a line that cannot be written", LIMIT, || lost(&served).as_u64().filter(|lost| *lost > 0));
    served.stop();
}

/// A child that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

const LIMIT: Duration = Duration::from_secs(60);
