//! Live and from a recording, the same packets give the same alerts: bundled attacks sent over a veth pair at their own
//! pace, the daemon at the other end, and a replay of what tcpdump recorded beside it.

use std::collections::BTreeSet;
use std::time::Duration;

use nta_tests::netns::{End, Namespace, alone, silent, veth, wait_for};
use nta_tests::process::Process;
use nta_tests::{cases, daemon};
use serde_json::Value;

use crate::net::{INTERFACE, Live, can_run};

/// Sent at once; the longest takes 22 s.
const ATTACKS: [&str; 4] = ["arp_spoof-hit", "syn_flood-hit", "udp_flood-hit", "port_scan-hit"];
const KINDS: [&str; 4] = ["arp_spoof", "syn_flood", "udp_flood", "port_scan"];
const LONGEST: Duration = Duration::from_secs(60);

/// Type, source and destination.
type Reported = BTreeSet<[String; 3]>;

#[test]
fn a_live_run_and_a_replay_of_its_recording_give_the_same_alerts() {
    let test = "a_live_run_and_a_replay_of_its_recording_give_the_same_alerts";
    if !can_run(test, &["tcpreplay", "tcpdump"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let (inside, sender) = (Namespace::new("in"), Namespace::new("sender"));
    veth([
        End { namespace: &inside, interface: INTERFACE, v4: "10.79.1.1", v6: "fd79:1::1" },
        End { namespace: &sender, interface: INTERFACE, v4: "10.79.1.2", v6: "fd79:1::2" },
    ]);
    silent(&inside, INTERFACE);
    let live = Live::start(&inside, folder.path());
    let recording = folder.path().join("recording.pcap");
    let mut tcpdump = inside.command("tcpdump");
    tcpdump.args(["-n", "-U", "--immediate-mode", "-B", "65536", "-Z", "root", "-i", INTERFACE, "-w"]).arg(&recording);
    let mut tcpdump = Process::start(&mut tcpdump, folder.path(), "tcpdump.log");
    wait_for("tcpdump", Duration::from_secs(10), || tcpdump.log().contains("listening on").then_some(()));

    let send = |name: &str| {
        let mut command = sender.command("tcpreplay");
        command.args(["-q", "-i", INTERFACE]).arg(cases().join(name).join("input.pcap"));
        Process::start(&mut command, folder.path(), &format!("{name}.log"))
    };
    let mut senders = ATTACKS.map(send);
    for sender in &mut senders {
        assert!(sender.wait(LONGEST).success(), "{}", sender.log());
    }
    live.wait_for_window();
    let reported = reported(&live.alerts());
    tcpdump.stop("INT", Duration::from_secs(10));
    live.stop();

    let arguments = ["replay".as_ref(), "--format".as_ref(), "json".as_ref(), recording.as_os_str()];
    let run = daemon::run(arguments);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let replayed = self::reported(run.json()[0]["alerts"].as_array().expect("alerts"));
    assert_eq!(reported, replayed, "live, and replayed");
    let missing: Vec<&str> =
        KINDS.into_iter().filter(|kind| !reported.iter().any(|alert| alert[0] == format!("\"{kind}\""))).collect();
    assert!(missing.is_empty(), "no {missing:?} among {reported:?}");
}

fn reported(alerts: &[Value]) -> Reported {
    alerts.iter().map(|alert| ["type", "source", "destination"].map(|key| alert[key].to_string())).collect()
}
