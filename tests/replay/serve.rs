//! `replay --serve`: a capture with a port scan in, alerts out over REST, and what an operator does about one kept.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use nta_tests::daemon::daemon;
use nta_tests::packet::{ethernet, ipv4, tcp};
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use serde_json::Value;

const SYN: u8 = 0x02;
const RST_ACK: u8 = 0x14;

/// A daemon that serves; ended with the test.
struct Served {
    child: Child,
    address: String,
    /// Kept open: the daemon writes to it until it ends.
    log: Lines<BufReader<ChildStderr>>,
}

impl Served {
    /// Starts it on a free port, told by flags or by the environment, and waits for the line that names the address once
    /// the capture is through.
    fn start(capture: &Path, database: &str, by_flags: bool) -> Self {
        let mut command = Command::new(daemon());
        command.args(["replay", "--serve"]).env_remove("NTA_LISTEN").env_remove("NTA_DATABASE");
        if by_flags {
            command.args(["--listen", "127.0.0.1:0", "--database", database]);
        } else {
            command.env("NTA_LISTEN", "127.0.0.1:0").env("NTA_DATABASE", database);
        }
        let mut child = command
            .arg(capture)
            .env_remove("NTA_CONFIG")
            .env_remove("NTA_WINDOW")
            .env("NTA_LOG", "info")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon starts");
        let log = BufReader::new(child.stderr.take().expect("piped")).lines();
        // From here on it ends with the test, whatever happens.
        let mut served = Self { child, address: String::new(), log };
        let mut said = String::new();
        while let Some(Ok(line)) = served.log.next() {
            let address = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
            if let (true, Some(address)) = (line.contains("serving what was found"), address) {
                served.address = address.trim_end_matches('"').to_owned();
                return served;
            }
            said.push_str(&line);
        }
        panic!("it ended: {said}");
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("time-out");
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}",
            self.address
        )
        .expect("request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("status");
        (status, serde_json::from_str(body).expect("JSON"))
    }

    fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, "");
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
        assert!(self.child.wait().expect("wait").success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // After `stop` both fail, and that is well.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// One host tries 200 ports of another, which refuses each.
fn scan(path: &Path) {
    let mut frames = Vec::new();
    for port in 1..=200_u16 {
        let mut question = tcp(SYN, &[], &[]);
        question[2..4].copy_from_slice(&port.to_be_bytes());
        let mut answer = tcp(RST_ACK, &[], &[]);
        let source = [question[0], question[1]];
        answer[0..2].copy_from_slice(&port.to_be_bytes());
        answer[2..4].copy_from_slice(&source);
        let (there, mut back) = (ipv4(6, &[], 0, &question), ipv4(6, &[], 0, &answer));
        let (from, to) = (there[12..16].to_vec(), there[16..20].to_vec());
        back[12..16].copy_from_slice(&to);
        back[16..20].copy_from_slice(&from);
        frames.push(Frame::at(1_000_000, ethernet(0x0800, &there)));
        frames.push(Frame::at(1_000_000, ethernet(0x0800, &back)));
    }
    File::create(path).expect("file").write_all(&pcap(ETHERNET, &frames)).expect("capture");
}

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
