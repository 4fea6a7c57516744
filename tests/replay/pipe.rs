//! A pipe is followed like a live source: its windows close by the clock, and alerts come at once.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nta_tests::netns::wait_for;
use nta_tests::pcap::{ETHERNET, pcap};
use nta_tests::served::{Served, scan_frames};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_pipe_that_falls_silent_has_its_windows_closed_by_the_clock_and_its_scan_reported_at_once() {
    let (served, mut pipe) = Served::follow(1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    pipe.write_all(&pcap(ETHERNET, &scan_frames(now.as_nanos() as u64))).expect("the daemon reads");
    pipe.flush().expect("the daemon reads");
    let count = |path: &str| served.get(path)["items"].as_array().map_or(0, Vec::len);
    // Nothing more comes, and the pipe stays open.
    wait_for("the alert", SOON, || (count("/api/alerts?type=port_scan") == 1).then_some(()));
    let before = count("/api/metrics?span=1&limit=250");
    wait_for("more windows", SOON, || (count("/api/metrics?span=1&limit=250") >= before + 2).then_some(()));
    // What comes then is in the window of its time.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    pipe.write_all(&pcap(ETHERNET, &scan_frames(now.as_nanos() as u64))[24..]).expect("the daemon reads");
    wait_for("the packets", SOON, || {
        let windows = served.get("/api/metrics?span=1&limit=250");
        let packets = windows["items"].as_array()?.iter().filter_map(|window| window["packets"].as_u64());
        (packets.sum::<u64>() == 800).then_some(())
    });
    let windows = served.get("/api/metrics?span=1&limit=250&sort=time");
    let windows = windows["items"].as_array().expect("windows");
    let ends: Vec<_> = windows.iter().map(|window| (window["start"].as_str(), window["end"].as_str())).collect();
    assert!(ends.windows(2).all(|pair| pair[0].1 == pair[1].0), "one window follows the other: {ends:?}");
    // A signal ends it while the pipe is open and silent.
    served.stop();
}
