//! A daemon that serves a capture, asked as a client would ask it.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::daemon::daemon;
use crate::packet::{ethernet, ipv4, tcp};
use crate::pcap::{ETHERNET, Frame, pcap};

const SYN: u8 = 0x02;
const RST_ACK: u8 = 0x14;

/// A daemon that serves; ended with the test.
pub struct Served {
    child: Child,
    /// Where: address and port.
    pub address: String,
    /// Kept open: the daemon writes to it until it ends.
    log: Option<Lines<BufReader<ChildStderr>>>,
}

impl Served {
    /// Starts it on a free port, given by flags or by the environment, and waits for the line that names the address once
    /// the capture is through.
    pub fn start(capture: &Path, database: &str, by_flags: bool) -> Self {
        let mut command = Command::new(daemon());
        command.args(["replay", "--serve"]).env_remove("NTA_LISTEN").env_remove("NTA_DATABASE");
        if by_flags {
            command.args(["--listen", "127.0.0.1:0", "--database", database]);
        } else {
            command.env("NTA_LISTEN", "127.0.0.1:0").env("NTA_DATABASE", database);
        }
        command.arg(capture).env_remove("NTA_WINDOW");
        Self::when(command, "serving what was found").0
    }

    /// Starts it on a free port by a configuration.
    pub fn configured(capture: &Path, database: &str, config: &Path) -> Self {
        let mut command = Command::new(daemon());
        command.args(["replay", "--serve", "--listen", "127.0.0.1:0", "--database", database, "--config"]);
        command.arg(config).arg(capture).env_remove("NTA_WINDOW");
        Self::when(command, "serving what was found").0
    }

    /// Starts it on a free port with so many descriptors.
    pub fn with_descriptors(capture: &Path, most: u32) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")]).arg(daemon());
        command.args(["replay", "--serve", "--listen", "127.0.0.1:0"]).arg(capture);
        command.env_remove("NTA_DATABASE").env_remove("NTA_WINDOW");
        Self::when(command, "serving what was found").0
    }

    /// Starts it on a free port with a pipe for its capture, and windows of so many seconds.
    pub fn follow(window_s: u64) -> (Self, ChildStdin) {
        let mut command = Command::new(daemon());
        command.args(["replay", "-", "--serve", "--listen", "127.0.0.1:0", "--window", &window_s.to_string()]);
        command.env_remove("NTA_DATABASE").stdin(Stdio::piped());
        let (served, pipe) = Self::when(command, "serving");
        (served, pipe.expect("piped"))
    }

    /// Starts it on a free port with a capture at a multiple of its pace.
    pub fn paced(capture: &Path, speed: &str) -> Self {
        let mut command = Command::new(daemon());
        command.args(["replay", "--serve", "--listen", "127.0.0.1:0", "--speed", speed]).arg(capture);
        command.env_remove("NTA_DATABASE").env_remove("NTA_WINDOW");
        Self::when(command, "serving").0
    }

    /// Waits for the line that says this and the address.
    fn when(mut command: Command, says: &str) -> (Self, Option<ChildStdin>) {
        command.env_remove("NTA_CONFIG").env("NTA_LOG", "info").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the daemon starts");
        let pipe = child.stdin.take();
        let log = BufReader::new(child.stderr.take().expect("piped")).lines();
        // From here on it ends with the test, whatever happens.
        let mut served = Self { child, address: String::new(), log: Some(log) };
        let mut said = String::new();
        while let Some(Ok(line)) = served.log.as_mut().and_then(Iterator::next) {
            let address = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
            if let (true, Some(address)) = (line.contains(says), address) {
                served.address = address.trim_end_matches('"').to_owned();
                return (served, pipe);
            }
            said.push_str(&line);
        }
        panic!("it ended: {said}");
    }

    /// Asks with a JSON body; answers the status and the document.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        ask(&self.address, method, path, body).expect("it listens")
    }

    /// Sends these bytes; answers the head and the body of what comes back until the daemon closes.
    pub fn send(&self, request: &str) -> (String, String) {
        send(&self.address, request).expect("it listens")
    }

    /// What is at this path.
    pub fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, "");
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Status and bytes of what is at this path.
    pub fn bytes(&self, path: &str) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("time-out");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).expect("request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answer");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("status");
        (status, answer.split_off(end))
    }

    /// Reads nothing any more of what it logs.
    pub fn close_log(&mut self) {
        self.log = None;
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().expect("kill").success());
    }

    /// Ends it as a service manager would.
    pub fn stop(self) {
        self.stop_with(0);
    }

    /// The same, which ends with this status.
    pub fn stop_with(mut self, status: i32) {
        self.signal("-TERM");
        assert_eq!(self.child.wait().expect("wait").code(), Some(status));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // After `stop` both fail, and that is well.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// Asks whoever listens there with a JSON body; answers the status and the document.
///
/// # Errors
///
/// When nobody listens.
pub fn ask(address: &str, method: &str, path: &str, body: &str) -> std::io::Result<(u16, Value)> {
    let length = body.len();
    let (head, body) = send(
        address,
        &format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ),
    )?;
    let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("status");
    Ok((status, serde_json::from_str(&body).expect("JSON")))
}

fn send(address: &str, request: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("time-out");
    stream.write_all(request.as_bytes()).expect("request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("head and body: {answer:?}"));
    Ok((head.to_owned(), body.to_owned()))
}

/// Writes a capture in which one host tries 200 ports of another, which refuses each.
pub fn scan(path: &Path) {
    std::fs::write(path, pcap(ETHERNET, &scan_frames(1_000_000_000_000_000))).expect("capture");
}

/// The frames of such a scan, all at the same time.
pub fn scan_frames(time_ns: u64) -> Vec<Frame> {
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
        frames.extend([there, back].map(|packet| Frame { time_ns, ..Frame::at(0, ethernet(0x0800, &packet)) }));
    }
    frames
}
