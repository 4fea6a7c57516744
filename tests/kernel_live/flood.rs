//! A flood of made-up sources in the database: few rows, in which every flow and packet is counted, over a kill as well.

use std::io::Write as _;
use std::time::Duration;

use nta_tests::netns::{alone, run};
use nta_tests::process::Process;
use serde_json::Value;

use crate::clock::{Clock, faketime};
use crate::daemon::{self, Daemon, number};
use crate::pin::{Bpffs, no_tcx, windows};
use crate::{Pair, can_run};

/// SYNs, each of a source of its own.
const SYNS: u64 = 20_000;
/// SYNs behind the last kill, of which some are sent again.
const MORE: u64 = 500;
const AGAIN: u64 = 10;

/// Sends the SYNs of these numbers, a hundred at a time.
const SEND: &str = r#"
import socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for n in range(int(sys.argv[1]), int(sys.argv[2])):
    source = bytes([198, 18 + (n >> 16), n >> 8 & 255, n & 255])
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, source, socket.inet_aton("10.77.1.1"))
    tcp = struct.pack(">HHIIBBHHH", 1024 + n % 60000, 4443, n, 0, 0x50, 2, 65535, 0, 0)
    s.sendto(ip + tcp, ("10.77.1.1", 0))
    if n % 100 == 99: time.sleep(0.02)
"#;

#[test]
fn a_flood_is_few_rows_that_have_every_flow_and_packet_over_a_kill() {
    const TEST: &str = "a_flood_is_few_rows_that_have_every_flow_and_packet_over_a_kill";
    if !can_run(TEST, &["python3"]) || no_tcx(TEST) {
        return;
    }
    let _alone = alone();
    let (folder, bpffs) = (tempfile::tempdir().expect("a folder"), Bpffs::new());
    let pair = Pair::silent();
    let config = bpffs.config(folder.path(), true);
    let mut more = std::fs::OpenOptions::new().append(true).open(&config).expect("the configuration");
    more.write_all(b"[store]\ngroup_flows = 100\n").expect("a setting");
    let mut daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "tcx", &config);
    let mut flood = pair.peer.command("python3");
    flood.args(["-c", SEND, "0", &SYNS.to_string()]);
    let mut flood = Process::start(&mut flood, folder.path(), "flood.log");
    let mut kills = 0;
    while flood.ended().is_none() {
        daemon.wait_for_window();
        daemon.process.stop("KILL", Duration::from_secs(5));
        daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "tcx", &config);
        kills += 1;
    }
    assert!(flood.wait(Duration::from_secs(1)).success(), "{}", flood.log());
    assert!(kills > 0, "killed amid the flood");
    let all = SYNS + MORE;
    run(pair.peer.command("python3").args(["-c", SEND, &SYNS.to_string(), &all.to_string()]));
    daemon.wait_for_window();
    daemon.wait_for_window();
    let (rows, flows, packets) = stored(&daemon);
    println!("{kills} kills amid {SYNS} SYNs: {rows} rows");
    assert_eq!((windows(&daemon), flows, packets), (all, all, all), "in windows, flows of rows, packets of rows");
    assert!(rows < SYNS / 20, "{rows} rows");
    let group = daemon.get("/api/flows?host=10.77.1.1&sort=-packets")["items"][0].clone();
    assert_eq!((&group["source"], &group["destination_port"]), (&"0.0.0.0".into(), &4443.into()), "{group}");
    assert!(number(&group["flows"]) > 100 && group["group"]["examples"][0]["source"].is_string(), "{group}");

    // Some of the last ones go on: each gets a row of its own, and leaves the one that it stood in.
    let from = all - AGAIN;
    run(pair.peer.command("python3").args(["-c", SEND, &from.to_string(), &all.to_string()]));
    daemon.wait_for_window();
    daemon.wait_for_window();
    let (_, flows, packets) = stored(&daemon);
    assert_eq!((windows(&daemon), flows, packets), (all + AGAIN, all, all + AGAIN));
    let last = all - 1;
    let own = daemon.all(&format!("/api/flows?host=198.{}.{}.{}", 18 + (last >> 16), last >> 8 & 255, last & 255));
    assert_eq!((own.len(), number(&own[0]["packets"]), number(&own[0]["flows"])), (1, 2, 1), "{own:?}");
    assert!(daemon.stop().success());
}

#[test]
fn a_flood_whose_sources_come_again_is_few_rows_as_well_when_the_clock_was_set() {
    const TEST: &str = "a_flood_whose_sources_come_again_is_few_rows_as_well_when_the_clock_was_set";
    if !can_run(TEST, &["python3"]) {
        return;
    }
    let Some(library) = faketime() else {
        println!("not run: {TEST}: libfaketime is not installed");
        return;
    };
    let _alone = alone();
    let (folder, pair) = (tempfile::tempdir().expect("a folder"), Pair::silent());
    let config = folder.path().join("nta.toml");
    std::fs::write(&config, "[store]\ngroup_flows = 100\n").expect("a configuration");
    let clock = Clock { file: folder.path().join("clock") };
    clock.set(0);
    let start = || {
        let mut command = pair.inside.command("env");
        command.args(clock.environment(&library));
        command.arg(daemon::binary()).args(daemon::arguments(folder.path(), "v0", "auto")).arg("--config").arg(&config);
        Daemon::start_command(&pair.inside, folder.path(), &mut command)
    };
    let mut daemon = start();
    let sources = SYNS / 4;
    for round in 1..=3 {
        run(pair.peer.command("python3").args(["-c", SEND, "0", &sources.to_string()]));
        daemon.wait_for_window();
        daemon.wait_for_window();
        let (rows, flows, packets) = stored(&daemon);
        assert_eq!((windows(&daemon), flows, packets), (round * sources, sources, round * sources), "round {round}");
        assert!(rows < sources / 20, "{rows} rows after round {round}");
        clock.set(600);
    }
    let status = daemon.status();
    assert!(number(&status["store"]["flows_grouped"]) > 0, "{}", status["store"]);
    let metrics = pair.inside.command("curl").args(["-s", "http://127.0.0.1:5000/metrics"]).output().expect("curl");
    assert!(String::from_utf8_lossy(&metrics.stdout).contains("nta_store_flows_grouped_total"));
    // All flows end.
    assert!(daemon.stop().success());
    let mut daemon = start();
    let (rows, flows, packets) = stored(&daemon);
    assert_eq!((flows, packets), (sources, 3 * sources));
    assert!(rows < sources / 20, "{rows} rows at the end");
    assert!(daemon.stop().success());
}

/// Rows, and the flows and packets that they stand for.
fn stored(daemon: &Daemon<'_>) -> (u64, u64, u64) {
    let rows = daemon.all("/api/alltraffic");
    let sum = |name: &str| rows.iter().map(|row: &Value| number(&row[name])).sum();
    (rows.len() as u64, sum("flows"), sum("packets"))
}
