//! Two processors send at once, each through an interface of its own, more flows than fit or fewer: the ledger balances
//! to the packet.

use std::path::Path;

use nta_tests::netns::{End, Namespace, alone, silent, veth};
use nta_tests::packet::{ethernet, ipv4, udp};
use nta_tests::pcap::{ETHERNET, Frame, pcap};

use crate::can_run;
use crate::daemon::{Daemon, number};
use nta_tests::process::Process;

/// Packets of a round from each side.
const PACKETS: u64 = 200_000;
/// Packets in the file that is sent over and over; every one a flow of its own.
const FLOWS: u32 = 20_000;
const ROUNDS: u64 = 3;

#[test]
fn the_ledger_balances_with_maps_too_small() {
    // 1 MiB holds some 1,500 IPv4 flows; both sides send 40,000.
    balances("the_ledger_balances_with_maps_too_small", 1, |flow, overflow| flow > 0 && overflow > PACKETS);
}

#[test]
fn the_ledger_balances_with_maps_large_enough() {
    balances("the_ledger_balances_with_maps_large_enough", 64, |_, overflow| overflow == 0);
}

fn balances(test: &str, map_memory_mib: u32, expected: impl Fn(u64, u64) -> bool) {
    if !can_run(test, &["tcpreplay", "taskset"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let [gateway, west, east] = ["gate", "west", "east"].map(Namespace::new);
    let sides = [("w0", &west, "10.77.1", 1), ("e0", &east, "10.77.2", 2)];
    for (interface, peer, net, number) in sides {
        let (here, there) = (format!("{net}.1"), format!("{net}.2"));
        let (here6, there6) = (format!("fd77:{number}::1"), format!("fd77:{number}::2"));
        veth([
            End { namespace: &gateway, interface, v4: &here, v6: &here6 },
            End { namespace: peer, interface: "v0", v4: &there, v6: &there6 },
        ]);
        silent(&gateway, interface);
        silent(peer, "v0");
        write_flood(&folder.path().join(format!("{interface}.pcap")), number);
    }
    let config = folder.path().join("nta.toml");
    std::fs::write(&config, format!("[capture]\nmap_memory_mib = {map_memory_mib}\n")).expect("a configuration");
    let mut daemon = Daemon::start_with(&gateway, folder.path(), "w0,e0", "xdp", &config);
    for round in 1..=ROUNDS {
        let mut senders: Vec<Process> = sides
            .iter()
            .enumerate()
            .map(|(cpu, (interface, peer, ..))| {
                let file = folder.path().join(format!("{interface}.pcap"));
                let repeat = format!("--loop={}", PACKETS / u64::from(FLOWS));
                let mut command = peer.command("taskset");
                command.args(["-c", &cpu.to_string(), "tcpreplay", "-q", "--topspeed", "--preload-pcap", &repeat]);
                command.args(["-i", "v0"]).arg(file);
                Process::start(&mut command, folder.path(), &format!("{interface}.log"))
            })
            .collect();
        for sender in &mut senders {
            assert!(sender.wait(std::time::Duration::from_secs(60)).success(), "{}", sender.log());
        }
        daemon.wait_for_window();
        let ledger = &daemon.status()["ledger"];
        assert_eq!(ledger["balanced"], true, "{ledger}");
        for interface in ledger["interfaces"].as_array().expect("interfaces") {
            assert_eq!(number(&interface["seen"]), round * PACKETS, "round {round}: {interface}");
        }
        let total = &ledger["total"];
        let (flow, overflow) = (number(&total["flow"]), number(&total["overflow"]));
        assert_eq!(flow + overflow, 2 * round * PACKETS, "round {round}: {total}");
        assert!(expected(flow, overflow), "round {round}: {total}");
        // The windows add up to the same.
        let windows = daemon.windows();
        let sum = |field: &str| windows.iter().map(|window| number(&window[field])).sum::<u64>();
        assert_eq!(sum("packets"), 2 * round * PACKETS, "round {round}");
        println!("{map_memory_mib} MiB, round {round}: {flow} in flows, {overflow} in the overflow aggregate");
    }
    // The overflow aggregate shows where all of it went: one destination a side.
    let reported: u64 = daemon
        .windows()
        .iter()
        .flat_map(|window| window["overflow"].as_array().cloned().unwrap_or_default())
        .map(|overflow| number(&overflow["packets"]))
        .sum();
    assert_eq!(reported, number(&daemon.status()["ledger"]["total"]["overflow"]));
    assert!(daemon.stop().success());
}

/// UDP from `FLOWS` sources to one destination.
fn write_flood(path: &Path, side: u8) {
    let frames: Vec<Frame> = (0..FLOWS)
        .map(|n| {
            let mut packet = ipv4(17, &[], 0, &udp(b"12345678"));
            packet[12..16].copy_from_slice(&(0x0a80_0000 + n).to_be_bytes());
            packet[16..20].copy_from_slice(&[10, 200, 0, side]);
            Frame::at(1, ethernet(0x0800, &packet))
        })
        .collect();
    std::fs::write(path, pcap(ETHERNET, &frames)).expect("a capture");
}
