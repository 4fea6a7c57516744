//! `--format zeek`: the columns and lines that are no comparison with Zeek's own logs (`tests/zeek`).

use std::fs;
use std::path::Path;

use nta_tests::cases;
use nta_tests::daemon::run;
use nta_tests::packet::{ethernet, icmp, ipv4, ipv6, udp};
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use tempfile::TempDir;

/// A log: its lines that begin with #, and its connections by column.
struct Log {
    head: Vec<String>,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Log {
    fn of(path: &Path, config: Option<&Path>) -> Self {
        let mut args = vec!["replay".as_ref(), "--format".as_ref(), "zeek".as_ref(), path.as_os_str()];
        if let Some(config) = config {
            args.extend(["--config".as_ref(), config.as_os_str()]);
        }
        let run = run(args);
        assert_eq!(run.status, Some(0), "{run:?}");
        Self::read(&String::from_utf8(run.stdout).expect("text"))
    }

    fn read(text: &str) -> Self {
        let (head, rows): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('#'));
        let columns = head.iter().find_map(|line| line.strip_prefix("#fields\t")).expect("#fields");
        Self {
            columns: columns.split('\t').map(str::to_owned).collect(),
            head: head.into_iter().map(str::to_owned).collect(),
            rows: rows.into_iter().map(|row| row.split('\t').map(str::to_owned).collect()).collect(),
        }
    }

    /// A row's values in these columns.
    fn values<'a>(&'a self, row: &'a [String], columns: &[&str]) -> Vec<&'a str> {
        let at = |name: &&str| self.columns.iter().position(|column| column == name).expect("a column");
        columns.iter().map(|name| row[at(name)].as_str()).collect()
    }
}

#[test]
fn the_folder_for_the_log_is_made_and_those_above_it_are_not() {
    let (folder, path) = in_folder(&[Frame::at(1, ethernet(0x0800, &ipv4(17, &[], 0, &udp(b"one"))))]);
    let replay = |to: &Path| {
        let to = ["--format".as_ref(), "zeek".as_ref(), "--output".as_ref(), to.as_os_str()];
        run(["replay".as_ref(), path.as_os_str()].into_iter().chain(to))
    };
    let refused = replay(&folder.path().join("a/b/c"));
    assert!(refused.status == Some(1) && refused.stderr.contains("/a/b"), "{refused:?}");
    assert!(!folder.path().join("a").exists(), "nothing is made");
    for _ in 0..2 {
        assert_eq!(replay(&folder.path().join("a")).status, Some(0));
        assert!(folder.path().join("a/conn.log").is_file());
    }
}

fn in_folder(frames: &[Frame]) -> (TempDir, std::path::PathBuf) {
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("input.pcap");
    fs::write(&path, pcap(ETHERNET, frames)).expect("written");
    (folder, path)
}

/// The lines around the connections, in the order in which `LogAscii` of Zeek writes them.
#[test]
fn a_log_is_opened_and_closed_as_zeek_does() {
    let log = Log::of(&cases().join("demo/input.pcap"), None);
    let names: Vec<&str> = log.head.iter().map(|line| line.split([' ', '\t']).next().expect("a name")).collect();
    let wanted = [
        "#separator",
        "#set_separator",
        "#empty_field",
        "#unset_field",
        "#path",
        "#open",
        "#fields",
        "#types",
        "#close",
    ];
    assert_eq!(names, wanted);
    // capinfos: the last packet at 10:24:53.807907.
    assert_eq!(log.head[8], "#close\t2026-11-20-10-24-53");
    assert!(log.head[5].starts_with("#open\t2026-11-20-10-2"), "{}", log.head[5]);
    let types = log.head[7].split('\t').count();
    assert!(log.rows.iter().all(|row| row.len() == log.columns.len()) && types == log.columns.len() + 1);
    // As many as a replay has flows, by another format.
    assert_eq!(log.rows.len(), 543);
}

#[test]
fn a_log_without_connections_is_one() {
    for frames in [&[][..], &[Frame::at(5, ethernet(0x88cc, &[0; 46]))]] {
        let (_folder, path) = in_folder(frames);
        let log = Log::of(&path, None);
        assert_eq!((log.rows.len(), log.head.len(), log.columns.len()), (0, 9, 23));
    }
}

/// Zeek's `Site::private_address_space` by default, else what is configured.
#[test]
fn sides_are_local_by_the_configured_networks() {
    let question = || ethernet(0x0800, &ipv4(17, &[], 0, &udp(&[0; 10])));
    let (folder, path) = in_folder(&[Frame::at(1, question())]);
    let sides = ["id.orig_h", "id.resp_h", "local_orig", "local_resp"];
    let log = Log::of(&path, None);
    // Both are documentation addresses.
    assert_eq!(log.values(&log.rows[0], &sides), ["192.0.2.1", "198.51.100.2", "F", "F"]);
    for (networks, local) in [("192.0.2.0/24", ["T", "F"]), ("198.51.100.0/25", ["F", "T"]), ("0.0.0.0/0", ["T", "T"])]
    {
        let config = folder.path().join("nta.toml");
        fs::write(&config, format!("[detect]\nlocal_networks = [\"{networks}\"]\n")).expect("written");
        let log = Log::of(&path, Some(&config));
        assert_eq!(log.values(&log.rows[0], &sides)[2..], local, "{networks}");
    }
    // The demo's 10.20.0.0/16 and fd20::/16 are private, 203.0.113.0/24 and 2001:db8::/32 are not.
    let log = Log::of(&cases().join("demo/input.pcap"), None);
    let is_private = |address: &str| ["10.", "fd", "fe80:"].iter().any(|start| address.starts_with(start));
    for row in &log.rows {
        let [orig, resp, local_orig, local_resp] = log.values(row, &sides)[..] else { panic!("{row:?}") };
        assert_eq!((local_orig == "T", local_resp == "T"), (is_private(orig), is_private(resp)), "{row:?}");
    }
}

/// A service is what the first bytes say: a datagram of zeros to port 53 is no query, and a port is no guess.
#[test]
fn what_is_not_known_is_unset() {
    let question = ethernet(0x0800, &ipv4(17, &[], 0, &udp(&[0; 10])));
    let echo = ethernet(0x86dd, &ipv6(58, &icmp(128, 0, &[0; 20])));
    let (_folder, path) = in_folder(&[Frame::at(1, question), Frame::at(2, echo)]);
    let log = Log::of(&path, None);
    assert_eq!(log.rows.len(), 2);
    for row in &log.rows {
        assert_eq!(log.values(row, &["service", "tunnel_parents", "missed_bytes"]), ["-", "-", "0"]);
    }
    let echo = log.rows.iter().find(|row| log.values(row, &["proto"]) == ["icmp"]).expect("the echo");
    // As in Zeek, an echo's ports are its type and that of its answer.
    assert_eq!(log.values(echo, &["id.orig_p", "id.resp_p", "ip_proto"]), ["128", "129", "58"]);
}

#[test]
fn a_folder_gets_the_log_and_standard_output_nothing() {
    let folder = TempDir::new().expect("folder");
    let logs = folder.path().join("logs");
    let demo = cases().join("demo/input.pcap");
    let args = ["replay".as_ref(), "--format".as_ref(), "zeek".as_ref(), "--output".as_ref(), logs.as_os_str()];
    let run = run(args.into_iter().chain([demo.as_os_str()]));
    assert_eq!((run.status, run.stdout.len()), (Some(0), 0), "{run:?}");
    let log = Log::read(&fs::read_to_string(logs.join("conn.log")).expect("conn.log"));
    assert_eq!(log.rows.len(), 543);
}
