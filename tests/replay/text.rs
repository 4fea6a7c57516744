//! The text that a replay prints: what it says, how wide it is, and what of a capture never reaches a terminal.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use nta_tests::daemon::{Run, collect, daemon, run};
use nta_tests::packet::{ethernet, icmp, ipv4, udp};
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use nta_tests::{cases, installed, not_run};
use tempfile::TempDir;

/// What is printed into a pipe that is said to be so wide.
fn piped(path: &Path, columns: usize, flags: &[&str]) -> String {
    let mut command = Command::new(daemon());
    command.arg("replay").arg(path).args(flags).env("COLUMNS", columns.to_string());
    text(collect(command, &[]))
}

fn text(run: Run) -> String {
    assert!(run.is_read(), "{run:?}");
    String::from_utf8(run.stdout).expect("text")
}

fn of_frames(frames: &[Frame]) -> String {
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("input.pcap");
    fs::write(&path, pcap(ETHERNET, frames)).expect("written");
    piped(&path, 100, &[])
}

#[test]
fn the_first_things_that_people_look_at() {
    let text = piped(&cases().join("port_scan-hit/input.pcap"), 100, &[]);
    // capinfos: 81 packets, 4982 bytes, 16.346364 s, 62 bytes on average, 5 packets/s, 2438 bits/s.
    for line in [
        "time      2024-07-19 09:12:27.940923 to 09:12:44.287349 UTC, 16.3 s\n",
        "packets   81, 4.96 packets/s, mean length 62 bytes\n",
        "bytes     4,982 (4.98 kB), 2.44 kbit/s\n",
        "link type 1 (ETHERNET) · at most 262,144 bytes a packet · times in microseconds\n",
        "1 alert (",
        "    192.168.177.151 > 192.168.126.204\n    192.168.177.151 tried ",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    // tshark: 18 of the 22 are port unreachable. Their types are no ports.
    assert!(text.contains("  icmp port unreachable\n") && !text.contains("192.168.126.204:3"), "{text}");
    let quiet = piped(&cases().join("demo/input.pcap"), 100, &[]);
    assert!(quiet.contains("alerts    nothing unusual: ") && quiet.contains(" detectors looked at "), "{quiet}");
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for case in ["demo/input.pcap", "port_scan-hit/input.pcap", "cut-off/input.pcap", "pcapng-sections/input.pcapng"] {
        for columns in [40, 41, 60, 79, 80, 100, 132, 200] {
            let text = piped(&cases().join(case), columns, &["--plot", "always"]);
            let too_wide = text.lines().find(|line| line.chars().count() > columns);
            assert_eq!(too_wide, None, "{case} in {columns} columns");
        }
    }
}

#[test]
fn a_pipe_gets_neither_colours_nor_a_chart_unless_it_is_asked_for() {
    let path = cases().join("demo/input.pcap");
    let plain = piped(&path, 100, &[]);
    assert!(!plain.contains('\x1b') && !plain.contains('█'), "{plain}");
    let charted = piped(&path, 100, &["--plot", "always"]);
    assert!(!charted.contains('\x1b') && charted.contains("packets over time") && charted.contains('█'), "{charted}");
}

#[test]
fn a_terminal_gets_them_as_wide_as_it_is() {
    if !installed("script") || !installed("stty") {
        return not_run("a_terminal_gets_them_as_wide_as_it_is", "script or stty is not installed");
    }
    let shown = |before: &str, flags: &str| {
        let capture = cases().join("port_scan-hit/input.pcap");
        let line =
            format!("stty rows 24 cols 70; {before} {} replay {} {flags}", daemon().display(), capture.display());
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("TERM", "xterm")
            .env_remove("NO_COLOR");
        text(collect(command, &[]))
    };
    let coloured = shown("", "");
    assert!(coloured.contains("\x1b[") && coloured.contains('█'), "{coloured}");
    let plain = shown("NO_COLOR=1", "");
    // What the progress bar leaves behind on standard error is no colour.
    let colours = ["\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m"];
    assert!(!colours.iter().any(|colour| plain.contains(colour)) && plain.contains('█'), "{plain}");
    let page = plain.lines().skip_while(|line| !line.contains("capture ")).skip(1);
    assert!(page.into_iter().all(|line| line.trim_end().chars().count() <= 70), "{plain}");
    assert!(!shown("NO_COLOR=1", "--plot never").contains('█'));
}

#[test]
fn a_file_name_commands_no_terminal() {
    let folder = TempDir::new().expect("folder");
    let name = OsStr::from_bytes(b"a\x1b]0;owned\x07\nalerts    none\xe2\x80\xae\xff.pcap");
    let path = folder.path().join(name);
    fs::write(&path, pcap(ETHERNET, &[Frame::at(1, ethernet(0x88cc, &[0; 46]))])).expect("written");
    for format in ["text", "json", "jsonl"] {
        let run = run(["replay".as_ref(), "--format".as_ref(), format.as_ref(), path.as_os_str()]);
        assert_eq!(run.status, Some(0), "{run:?}");
        let shown = String::from_utf8(run.stdout).expect("UTF-8") + &run.stderr;
        assert!(!shown.contains(['\x1b', '\x07']) && !shown.contains("\nalerts    none"), "{shown}");
        assert!(format != "text" || !shown.contains('\u{202e}'), "{shown}");
    }
}

#[test]
fn an_empty_capture() {
    let text = of_frames(&[]);
    assert!(
        text.contains("packets   none\n") && text.contains("alerts    none: there was nothing to look at"),
        "{text}"
    );
    assert!(text.contains("skipped\n  nothing\n"), "{text}");
}

#[test]
fn one_packet_has_no_rate() {
    let text = of_frames(&[Frame::at(1, ethernet(0x0800, &ipv4(17, &[], 0, &udp(&[0; 10]))))]);
    assert!(text.contains("packets   1, mean length 52 bytes\n"), "{text}");
    assert!(text.contains("time      1970-01-01 00:00:01.000000 to 00:00:01.000000 UTC, 0 s\n"), "{text}");
    assert!(text.contains("192.0.2.1:40000 > 198.51.100.2:53 domain\n"), "{text}");
}

#[test]
fn what_is_no_ip_is_named() {
    let lldp = ethernet(0x88cc, &[0; 46]);
    let tagged = ethernet(0x8100, &[&[0, 7, 0x88, 0xcc][..], &[0; 46]].concat());
    let spanning_tree = ethernet(38, &[&[0x42, 0x42, 3][..], &[0; 43]].concat());
    let arp = ethernet(0x0806, &[0; 46]);
    let frames: Vec<Frame> =
        (1..).zip([lldp, tagged, spanning_tree, arp]).map(|(s, frame)| Frame::at(s, frame)).collect();
    let text = of_frames(&frames);
    assert!(text.contains("  1 packet of ARP\n  3 packets without IP: LLDP 2, STP 1\n"), "{text}");
    assert!(text.contains("nothing unusual"), "{text}");
}

#[test]
fn icmp_has_messages_and_no_ports() {
    let echo = |kind| ethernet(0x0800, &ipv4(1, &[], 0, &icmp(kind, 0, &[0; 40])));
    let text = of_frames(&[Frame::at(1, echo(8)), Frame::at(2, echo(13))]);
    assert!(text.contains("192.0.2.1 > 198.51.100.2 echo\n"), "{text}");
    assert!(text.contains("192.0.2.1 > 198.51.100.2 timestamp\n"), "{text}");
    assert!(!text.contains("services by port"), "{text}");
}

#[test]
fn a_cut_capture_is_said_first_and_is_in_the_exit_status() {
    let path = cases().join("cut-off/input.pcap");
    let run = run(["replay".as_ref(), path.as_os_str()]);
    assert_eq!(run.status, Some(3), "{run:?}");
    let text = String::from_utf8(run.stdout).expect("text");
    // capinfos: 171 packets, "cut short in the middle of a packet".
    assert!(text.contains("171 packets · cut off, see below\n"), "{text}");
    let (_, skipped) = text.split_once("\nskipped\n").expect("what was skipped");
    assert!(skipped.lines().next().is_some_and(|line| line.contains("cut off at byte 19,960")), "{text}");
    let help = nta_tests::daemon::run(["replay", "--help"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("3: a capture was cut off"));
}
