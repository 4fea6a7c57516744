//! An interface without Ethernet, as a VPN has: its packets begin with the IP header.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use nta_tests::netns::{Namespace, alone};
use nta_tests::root;

use crate::can_run;
use crate::daemon::{Daemon, number};

#[test]
fn packets_of_an_interface_without_ethernet_are_counted_in_flows() {
    let test = "packets_of_an_interface_without_ethernet_are_counted_in_flows";
    if !can_run(test, &["python3"]) {
        return;
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        println!("not run: {test}: this kernel has no TUN interfaces");
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Namespace::new("tun");
    let mut sender = gateway.command("python3");
    sender.arg(root().join("tests/kernel_live/bare.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut sender = sender.spawn().expect("python3");
    let (mut go, said) = (sender.stdin.take().expect("piped"), sender.stdout.take().expect("piped"));
    let mut said = BufReader::new(said).lines();
    assert_eq!(said.next().expect("a line").expect("text"), "open");
    gateway.ip("link set tun0 up");
    let mut daemon = Daemon::start(&gateway, folder.path(), "tun0", "auto");
    writeln!(go).expect("it reads");
    assert_eq!(said.next().expect("a line").expect("text"), "sent");
    daemon.wait_for_window();
    let flows = daemon.all("/api/flows?port=9999");
    let mut found: Vec<_> = flows
        .iter()
        .map(|flow| (flow["source"].to_string(), number(&flow["orig_packets"]), number(&flow["orig_bytes"])))
        .collect();
    found.sort();
    // The bytes are those of the IP packets: 20 or 40 of header, 8 of UDP's, 20 of payload.
    assert_eq!(found, [("\"8.0.69.0\"".to_owned(), 100, 4800), ("\"fd00::2\"".to_owned(), 50, 3400)]);
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!((&ledger["balanced"], number(&ledger["total"]["non_ip"])), (&true.into(), 0), "{ledger}");
    assert!(daemon.stop().success());
    drop(go);
    sender.wait().expect("it ends when its input does");
}
