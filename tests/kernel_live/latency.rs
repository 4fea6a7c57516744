//! How soon after its end a window can be read.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use nta_tests::netns::alone;

use crate::daemon::{Daemon, WINDOW_S, number, time};
use crate::{Pair, can_run};
use nta_tests::process::Process;

/// Sends datagrams from many ports, each a flow of its own, at a steady pace: flows a second and seconds follow.
const MANY_FLOWS: &str = r#"
import socket, sys, time
per_second, seconds = int(sys.argv[1]), int(sys.argv[2])
end = time.monotonic() + seconds
port = 10000
while time.monotonic() < end:
    began = time.monotonic()
    for _ in range(per_second // 10):
        port = 10000 + (port - 9999) % 50000
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("10.77.1.2", port))
        s.sendto(b"x" * 64, ("10.77.1.1", 9))
        s.close()
    time.sleep(max(0, began + 0.1 - time.monotonic()))
"#;

/// Flows that start every second.
const FLOWS_PER_S: u64 = 2_000;
/// Windows with traffic to wait for.
const WINDOWS: usize = 4;
/// How late a window may be.
const LATEST: Duration = Duration::from_secs(1);

#[test]
fn a_window_can_be_read_within_a_second_of_its_end() {
    if !can_run("a_window_can_be_read_within_a_second_of_its_end", &["python3"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::new();
    // Nobody answers: an answer to each datagram would be limited in rate.
    pair.inside.sysctl("ipv4/icmp_ratemask", "8");
    let daemon = Daemon::start(&pair.inside, folder.path(), "v0", "auto");
    let mut sender = pair.peer.command("python3");
    let seconds = WINDOW_S as u64 * (WINDOWS as u64 + 3);
    sender.args(["-c", MANY_FLOWS, &FLOWS_PER_S.to_string(), &seconds.to_string()]);
    let _sender = Process::start(&mut sender, folder.path(), "sender.log");

    let began = Instant::now();
    let mut seen = Vec::new();
    let mut last = 0;
    while seen.len() < WINDOWS {
        assert!(began.elapsed() < Duration::from_secs(seconds + 10), "no more windows: {seen:?}");
        let Some(window) = daemon.newest_window() else { continue };
        let late = Timestamp::now().duration_since(time(&window["end"]));
        if number(&window["id"]) == last || number(&window["packets"]) == 0 {
            continue;
        }
        last = number(&window["id"]);
        assert_eq!(time(&window["end"]).as_second() % WINDOW_S, 0, "windows are aligned to the epoch");
        seen.push((late.as_millis(), number(&window["flows"])));
    }
    for (late_ms, _) in &seen {
        assert!((0..LATEST.as_millis() as i128).contains(late_ms), "milliseconds and flows: {seen:?}");
    }
    println!("windows seen so many milliseconds after their end, with so many flows: {seen:?}");
}
