//! Frames that do not fit one buffer of the driver: native XDP takes them in fragments, and counts them whole.

use nta_tests::netns::alone;

use crate::daemon::{Daemon, number};
use crate::{Pair, can_run};

/// Ethernet, IPv4 and ICMP headers and this payload make a frame of 8,042 bytes.
const PAYLOAD: u64 = 8_000;
const FRAME: u64 = 14 + 20 + 8 + PAYLOAD;
const PINGS: u64 = 5;

#[test]
fn jumbo_frames_are_counted_whole_by_native_xdp() {
    if !can_run("jumbo_frames_are_counted_whole_by_native_xdp", &["ping"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::new();
    pair.inside.ip("link set v0 mtu 9000");
    pair.peer.ip("link set v1 mtu 9000");
    let mut daemon = Daemon::start(&pair.inside, folder.path(), "v0", "xdp");
    pair.peer.run(&format!("ping -q -c {PINGS} -i 0.2 -s {PAYLOAD} -M do 10.77.1.1"));
    daemon.wait_for_window();
    let flows = daemon.all("/api/alltraffic");
    let flow = flows.iter().find(|flow| flow["protocol"] == "icmp").expect("the pings");
    for side in ["orig", "resp"] {
        assert_eq!(number(&flow[format!("{side}_packets")]), PINGS, "{flow}");
        assert_eq!(number(&flow[format!("{side}_bytes")]), PINGS * FRAME, "{flow}");
    }
    assert!(daemon.stop().success());
}
