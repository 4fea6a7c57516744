//! `replay --serve`: a capture with a port scan in, alerts out over REST, and what an operator does about one kept.

use std::io::Write as _;
use std::time::Duration;

use nta_tests::netns::wait_for;
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use nta_tests::served::{Served, scan, scan_frames};

/// A debug build beside compilers may need it.
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn a_scan_becomes_an_alert_that_keeps_what_an_operator_says() {
    let folder = tempfile::tempdir().expect("folder");
    let (capture, database) = (folder.path().join("scan.pcap"), folder.path().join("nta.db"));
    scan(&capture);
    let database = format!("sqlite:{}", database.display());
    let served = Served::start(&capture, &database, true);
    let alerts = served.get("/api/alerts/?type=port_scan");
    let alert = &alerts["items"][0];
    assert_eq!((&alert["source"], &alert["destination"]), (&"192.0.2.1".into(), &"198.51.100.2".into()), "{alerts}");
    assert_eq!((&alert["status"], alerts["items"].as_array().map(Vec::len)), (&"open".into(), Some(1)));
    let id = alert["id"].as_str().expect("id").to_owned();
    // Beside the rule's finding, once, there may be those of a model.
    let findings = served.get("/api/anomalies?type=port_scan");
    let findings = findings["items"].as_array().expect("items");
    assert_eq!(findings.iter().filter(|finding| finding["detector"] == "port_scan").count(), 1, "{findings:?}");
    assert_eq!(served.get("/api/anomalies/by-type")["by_type"]["port_scan"]["count"], findings.len());
    let features = served.get("/api/features?host=192.0.2.1&window_size=5");
    // Distinct counts beyond 190 are estimated, to 2.3 %.
    let ports = features["items"][0]["features"]["ports_out"].as_f64().expect("a number");
    assert!((190.0..=210.0).contains(&ports), "{features}");
    for (span, windows) in [("5", 1), ("10", 1), ("30", 1), ("180", 1)] {
        let stored = served.get(&format!("/api/metrics?span={span}"));
        assert_eq!(stored["items"].as_array().map(Vec::len), Some(windows), "{span}: {stored}");
        assert_eq!(stored["items"][0]["packets"], 400, "{span}");
    }
    let host = served.get("/api/hosts/192.0.2.1");
    assert_eq!((&host["flows_out"], &host["alerts"][0]["id"]), (&200.into(), &id.as_str().into()), "{host}");
    // Its packets are those of the file: 400 frames, of which the scan has all.
    let (code, packets) = served.bytes(&format!("/api/alerts/{id}/evidence.pcap"));
    assert_eq!(code, 200, "{}", String::from_utf8_lossy(&packets));
    let (mut at, mut frames) = (24, 0);
    while let Some(length) = packets.get(at + 8..at + 12) {
        at += 16 + u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        frames += 1;
    }
    assert_eq!((frames, at), (400, packets.len()));
    let status = served.get("/api/status");
    assert!(status["detection"]["alerts_raised"].as_u64().is_some_and(|raised| raised >= 1), "{status}");

    let path = format!("/api/alerts/{id}");
    let (changed, answer) =
        served.ask("PATCH", &path, "{\"status\": \"resolved\", \"note\": \"a test\", \"by\": \"mira\"}");
    assert_eq!((changed, &answer["status"]), (200, &"resolved".into()), "{answer}");
    served.stop();

    // The same capture with the same settings is answered from what is there.
    let again = Served::start(&capture, &database, false);
    let alert = again.get(&path);
    assert_eq!((&alert["status"], &alert["notes"][0]["by"]), (&"resolved".into(), &"mira".into()), "{alert}");
    for (path, count) in
        [("/api/alerts?type=port_scan", 1), ("/api/metrics?span=5", 1), ("/api/alltraffic?limit=1000", 200)]
    {
        assert_eq!(again.get(path)["items"].as_array().map(Vec::len), Some(count), "{path}");
    }
    again.stop();
}

#[test]
fn how_many_analyses_of_a_capture_are_shown_together_is_said() {
    let folder = tempfile::tempdir().expect("folder");
    let (capture, database) = (folder.path().join("scan.pcap"), folder.path().join("nta.db"));
    scan(&capture);
    let database = format!("sqlite:{}", database.display());
    let shown = |windows: usize, analyses: u64| {
        let served = Served::start(&capture, &database, true);
        assert_eq!(served.get("/api/status")["store"]["analyses_shown"], analyses);
        assert_eq!(served.get("/api/metrics?span=5")["items"].as_array().map(Vec::len), Some(windows));
        served.stop();
    };
    shown(1, 1);
    let again = ["replay", "--again", "--database", &database, capture.to_str().expect("UTF-8")];
    assert_eq!(nta_tests::daemon::run(again).status, Some(0));
    shown(2, 2);
}

/// What a client sees of the first scan once it is stored.
fn first_scan(served: &Served) {
    wait_for("the first window", LIMIT, || {
        let windows = served.get("/api/metrics?span=5&sort=time");
        (windows["items"][0]["packets"] == 400).then_some(())
    });
    wait_for("its alert", LIMIT, || served.get("/api/alerts?type=port_scan")["items"].get(0).map(|_| ()));
    let flows = served.get("/api/alltraffic?limit=1000")["items"].as_array().map(Vec::len);
    assert!(flows >= Some(200), "{flows:?}");
}

#[test]
fn what_is_stored_so_far_is_served_and_said_to_be_running() {
    let folder = tempfile::tempdir().expect("folder");
    let capture = folder.path().join("scans.pcap");
    // Behind two scans a frame every few hours: a replay waits a minute for each.
    let rare = (1..=20).map(|number| 1_010 + number * 10_000);
    let rare = rare.map(|second| Frame { time_ns: second * 1_000_000_000, ..scan_frames(0).remove(0) });
    let scans = [1_000, 1_010].iter().flat_map(|second| scan_frames(second * 1_000_000_000));
    let frames: Vec<Frame> = scans.chain(rare).collect();
    let bytes = pcap(ETHERNET, &frames);
    std::fs::write(&capture, &bytes).expect("a capture");
    let served = Served::paced(&capture, "10");
    first_scan(&served);
    let analysis = served.get("/api/status")["analysis"].clone();
    assert_eq!((&analysis["state"], &analysis["total_bytes"]), (&"running".into(), &bytes.len().into()), "{analysis}");
    let read = analysis["read_bytes"].as_u64().expect("a number");
    assert!((1..=bytes.len() as u64).contains(&read), "{analysis}");

    let (served, mut pipe) = Served::follow(5);
    pipe.write_all(&pcap(ETHERNET, &frames[..401])).expect("a pipe");
    pipe.flush().expect("a pipe");
    first_scan(&served);
    let analysis = served.get("/api/status")["analysis"].clone();
    assert_eq!((&analysis["state"], analysis["total_bytes"].is_null()), (&"running".into(), true), "{analysis}");
    drop(pipe);
    wait_for("the end", LIMIT, || (served.get("/api/status")["analysis"]["state"] == "complete").then_some(()));
    let windows = served.get("/api/metrics?span=5&sort=time")["items"].clone();
    let packets = windows.as_array().expect("windows").iter().filter_map(|window| window["packets"].as_u64());
    assert_eq!(packets.sum::<u64>(), 401, "{windows}");
}

#[test]
fn what_an_earlier_replay_has_stored_is_complete_from_the_start() {
    let folder = tempfile::tempdir().expect("folder");
    let (capture, database) = (folder.path().join("scan.pcap"), folder.path().join("nta.db"));
    scan(&capture);
    let database = format!("sqlite:{}", database.display());
    for _ in 0..2 {
        let served = Served::start(&capture, &database, true);
        let analysis = served.get("/api/status")["analysis"].clone();
        assert_eq!(
            (&analysis["state"], &analysis["read_bytes"]),
            (&"complete".into(), &analysis["total_bytes"]),
            "{analysis}"
        );
        served.stop();
    }
}

/// What an operator types beside a daemon that runs, and what clients see of it.
#[test]
fn a_token_that_is_made_beside_the_daemon_closes_it_and_its_revocation_holds() {
    let folder = tempfile::tempdir().expect("folder");
    let (capture, database) = (folder.path().join("scan.pcap"), folder.path().join("nta.db"));
    scan(&capture);
    let database = format!("sqlite:{}", database.display());
    let served = Served::start(&capture, &database, true);
    assert_eq!(served.get("/api/status")["access"]["token_demanded"], false);
    let tokens = |args: &[&str]| {
        let run = nta_tests::daemon::run([&["tokens", "--database", &database], args].concat());
        assert_eq!(run.status, Some(0), "{run:?}");
        String::from_utf8(run.stdout).expect("text")
    };
    let secret = tokens(&["create", "--role", "viewer", "--name", "mira"]);
    let status = |shown: &str| {
        let request = format!("GET /api/status HTTP/1.1\r\nHost: localhost\r\n{shown}Connection: close\r\n\r\n");
        let (head, _) = served.send(&request);
        head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).expect("a status")
    };
    let shown = format!("Authorization: Bearer {}\r\n", secret.trim());
    wait_for("a token to be demanded", LIMIT, || (status("") == 401).then_some(()));
    assert_eq!(status(&shown), 200);
    assert_eq!(served.ask("GET", "/health", "").0, 200, "who looks after it needs none");
    tokens(&["revoke", "mira"]);
    wait_for("the revocation", LIMIT, || (status(&shown) == 401).then_some(()));
    served.stop();
}

/// Three hundred clients that never end what they ask, with as few descriptors as a shell gives: whoever asks is answered.
#[test]
fn half_open_connections_do_not_silence_a_daemon_with_few_descriptors() {
    let folder = tempfile::tempdir().expect("folder");
    let capture = folder.path().join("scan.pcap");
    scan(&capture);
    let served = Served::with_descriptors(&capture, 256);
    let half_open: Vec<_> = (0..300)
        .map(|_| {
            let mut client = std::net::TcpStream::connect(&served.address).expect("a connection");
            std::io::Write::write_all(&mut client, b"GET /health HTTP/1.1\r\nHost: lo").expect("sent");
            client
        })
        .collect();
    for path in ["/health", "/api/status", "/api/alerts"] {
        assert_eq!(served.ask("GET", path, "").0, 200, "{path}");
    }
    let (_, metrics) = served.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let cut =
        metrics.lines().find_map(|line| line.strip_prefix("nta_http_connections_cut_total ")?.parse::<f64>().ok());
    assert!(cut.is_some_and(|cut| cut > 100.0), "the oldest made room: {cut:?}");
    drop(half_open);
    served.stop();
}

/// Reads server-sent events behind a number until `count` have come; answers their numbers.
fn follow(served: &Served, after: u64, count: usize) -> Vec<u64> {
    let mut socket = std::net::TcpStream::connect(&served.address).expect("connect");
    socket.set_read_timeout(Some(LIMIT)).expect("a limit");
    let host = &served.address;
    write!(socket, "GET /api/events?types=window HTTP/1.1\r\nHost: {host}\r\nLast-Event-ID: {after}\r\n\r\n")
        .expect("ask");
    let mut numbers = Vec::new();
    let mut id: Option<u64> = None;
    for line in std::io::BufRead::lines(std::io::BufReader::new(socket)) {
        let line = line.expect("it goes on");
        if let Some(number) = line.strip_prefix("id: ") {
            id = number.trim().parse().ok();
        } else if line.trim() == "event: window_closed" {
            numbers.extend(id);
            if numbers.len() == count {
                break;
            }
        }
    }
    numbers
}

#[test]
fn who_follows_events_goes_on_where_it_was_when_the_daemon_was_killed() {
    let folder = tempfile::tempdir().expect("folder");
    let (capture, database) = (folder.path().join("scan.pcap"), folder.path().join("nta.db"));
    scan(&capture);
    let database = format!("sqlite:{}", database.display());
    let served = Served::start(&capture, &database, true);
    let all = follow(&served, 0, 5);
    assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
    served.signal("-KILL");
    drop(served);

    let again = Served::start(&capture, &database, true);
    assert_eq!(follow(&again, 0, 5), all, "the same events have the same numbers");
    assert_eq!(follow(&again, all[1], 3), all[2..5], "and none is lost or doubled");
    again.stop();
}
