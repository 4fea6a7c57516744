//! Live and from a recording, the same packets give the same windows and alerts: sent over a veth pair at their own pace, the
//! daemon at the other end, and a replay of what tcpdump recorded beside it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nta_tests::netns::{End, Namespace, alone, silent, veth, wait_for};
use nta_tests::process::Process;
use nta_tests::{cases, daemon};
use serde_json::Value;

use crate::net::{INTERFACE, Live, WINDOW_S, can_run};

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
    let (inside, sender) = pair();
    let live = Live::start(&inside, folder.path());
    let (mut tcpdump, recording) = record(&inside, folder.path());

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

    let replayed = self::reported(replay(&recording)["alerts"].as_array().expect("alerts"));
    assert_eq!(reported, replayed, "live, and replayed");
    let missing: Vec<&str> =
        KINDS.into_iter().filter(|kind| !reported.iter().any(|alert| alert[0] == format!("\"{kind}\""))).collect();
    assert!(missing.is_empty(), "no {missing:?} among {reported:?}");
}

#[test]
fn a_silence_gives_the_same_windows_live_and_in_a_replay() {
    let test = "a_silence_gives_the_same_windows_live_and_in_a_replay";
    if !can_run(test, &["ping", "tcpdump"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let (inside, sender) = pair();
    let live = Live::start(&inside, folder.path());
    let (mut tcpdump, recording) = record(&inside, folder.path());
    let ping = || {
        // Within one window, so that a packet's time says which one it is in.
        wait_for("the middle of a window", Duration::from_secs(2 * WINDOW_S), || {
            let into_ms = jiff::Timestamp::now().as_millisecond().rem_euclid(WINDOW_S as i64 * 1000);
            (1000..2000).contains(&into_ms).then_some(())
        });
        sender.run("ping -q -c 20 -i 0.05 10.79.1.1");
    };
    ping();
    (0..4).for_each(|_| live.wait_for_window());
    ping();
    live.wait_for_window();
    let told = heard(&live.windows());
    tcpdump.stop("INT", Duration::from_secs(10));
    live.stop();
    let replayed = heard(replay(&recording)["windows"].as_array().expect("windows"));
    assert_eq!(told.iter().map(|(_, packets)| packets).sum::<u64>(), 80, "{told:?}");
    assert!(told.iter().filter(|(_, packets)| *packets == 0).count() >= 3, "{told:?}");
    assert_eq!(told, replayed, "live, and replayed");
}

/// Start and packets of the windows from the first one with packets to the last one.
fn heard(windows: &[Value]) -> Vec<(String, u64)> {
    let of = |window: &Value| {
        (window["start"].as_str().expect("a time").to_owned(), window["packets"].as_u64().expect("a number"))
    };
    let all: Vec<_> = windows.iter().map(of).skip_while(|(_, packets)| *packets == 0).collect();
    let last = all.iter().rposition(|(_, packets)| *packets > 0).expect("packets");
    all[..=last].to_vec()
}

/// The daemon's side and the sender's, between which nothing is said.
fn pair() -> (Namespace, Namespace) {
    let (inside, sender) = (Namespace::new("in"), Namespace::new("sender"));
    veth([
        End { namespace: &inside, interface: INTERFACE, v4: "10.79.1.1", v6: "fd79:1::1" },
        End { namespace: &sender, interface: INTERFACE, v4: "10.79.1.2", v6: "fd79:1::2" },
    ]);
    silent(&inside, INTERFACE);
    (inside, sender)
}

/// Records what the daemon sees, into this file.
fn record(inside: &Namespace, folder: &Path) -> (Process, PathBuf) {
    let recording = folder.join("recording.pcap");
    let mut tcpdump = inside.command("tcpdump");
    tcpdump.args(["-n", "-U", "--immediate-mode", "-B", "65536", "-Z", "root", "-i", INTERFACE, "-w"]).arg(&recording);
    let tcpdump = Process::start(&mut tcpdump, folder, "tcpdump.log");
    wait_for("tcpdump", Duration::from_secs(10), || tcpdump.log().contains("listening on").then_some(()));
    (tcpdump, recording)
}

fn replay(recording: &Path) -> Value {
    let arguments = ["replay".as_ref(), "--format".as_ref(), "json".as_ref(), recording.as_os_str()];
    let run = daemon::run(arguments);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    run.json().remove(0)
}

fn reported(alerts: &[Value]) -> Reported {
    alerts.iter().map(|alert| ["type", "source", "destination"].map(|key| alert[key].to_string())).collect()
}
