//! A daemon that is killed while others follow its events: they go on behind what they have, by server-sent events and by
//! WebSocket, and get every event that the database has, once and in order.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nta_tests::netns::{alone, run, wait_for};
use nta_tests::postgres::Postgres;
use nta_tests::process::Process;
use serde_json::Value;

use crate::daemon::{Daemon, command};
use crate::{Pair, can_run};

const LISTEN: &str = "127.0.0.1:5000";
const SOON: Duration = Duration::from_secs(60);
/// So many events have come to each reader when the daemon is killed, again and again.
const KILLED_AFTER: [usize; 5] = [3, 0, 1, 5, 2];

/// A WebSocket's client: the text messages, a line each.
const WEBSOCKET: &str = r#"
import socket, struct, sys
s = socket.create_connection(("127.0.0.1", 5000))
s.sendall((f"GET /api/stream?after={sys.argv[1]} HTTP/1.1\r\nHost: 127.0.0.1:5000\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
f = s.makefile("rb")
try:
    while f.readline() not in (b"\r\n", b""):
        pass
    while True:
        head = f.read(2)
        if len(head) < 2:
            break
        length = head[1] & 127
        if length == 126:
            length = struct.unpack(">H", f.read(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", f.read(8))[0]
        body = f.read(length)
        if len(body) < length:
            break
        if head[0] & 15 == 1:
            print(body.decode(), flush=True)
except OSError:
    pass
"#;

/// A statement's first column, a line each, as another program reads it from SQLite's file.
const ASK: &str = "import sqlite3, sys
for row in sqlite3.connect(sys.argv[1], timeout=10).execute(sys.argv[2]): print(row[0])";

/// One that follows, by either way, over several connections.
struct Follower {
    is_websocket: bool,
    connections: usize,
    /// What came over the connections that are over.
    events: Vec<Value>,
    process: Option<Process>,
}

impl Follower {
    const fn new(is_websocket: bool) -> Self {
        Self { is_websocket, connections: 0, events: Vec::new(), process: None }
    }

    /// Connects behind the last event that it has.
    fn connect(&mut self, pair: &Pair, folder: &Path) {
        let after = self.events.last().map_or(0, number).to_string();
        let mut client = if self.is_websocket {
            let mut python = pair.inside.command("python3");
            python.args(["-c", WEBSOCKET, &after]);
            python
        } else {
            let mut curl = pair.inside.command("curl");
            curl.args(["-s", "-N", "-H", &format!("Last-Event-ID: {after}"), &format!("http://{LISTEN}/api/events")]);
            curl
        };
        self.connections += 1;
        let log = format!("follower-{}-{}", self.is_websocket, self.connections);
        self.process = Some(Process::start(&mut client, folder, &log));
    }

    /// What has come over this connection: whether it was greeted, and the events.
    fn now(&self) -> (bool, Vec<Value>) {
        let text = self.process.as_ref().expect("connected").log();
        // What is not followed by the end of a line, or of an event, was cut off: it does not count.
        let end = if self.is_websocket { "\n" } else { "\n\n" };
        let whole = text.rfind(end).map_or("", |at| &text[..at]);
        let data = |line: &str| {
            if self.is_websocket { Some(line.to_owned()) } else { line.strip_prefix("data: ").map(str::to_owned) }
        };
        let said: Vec<Value> =
            whole.lines().filter_map(data).map(|line| serde_json::from_str(&line).expect("JSON")).collect();
        for word in ["\"resync\"", "\"missed\""] {
            assert!(!whole.contains(word), "{whole}");
        }
        (!said.is_empty(), said.into_iter().filter(|said| said["id"].is_u64()).collect())
    }

    /// Waits until the connection is over, and keeps what came over it.
    fn is_cut_off(&mut self) {
        self.process.as_mut().expect("connected").wait(SOON);
        let (_, came) = self.now();
        self.events.extend(came);
        self.process = None;
    }
}

fn number(event: &Value) -> u64 {
    event["id"].as_u64().expect("a number")
}

/// `database` is its address, `ask` answers a statement's lines by another program.
fn nothing_is_lost_or_doubled(folder: &Path, database: &str, ask: impl Fn(&str) -> Vec<String>) {
    let _alone = alone();
    let pair = Pair::silent();
    let start = || {
        let arguments = ["run", "--interface", "v0", "--window", "1", "--listen", LISTEN, "--database", database];
        Daemon::start_command(&pair.inside, folder, &mut command(&pair.inside, &arguments))
    };
    let mut ping = pair.peer.command("ping");
    let _pings = Process::start(ping.args(["-q", "-i", "0.05", "10.77.1.1"]), folder, "ping.log");
    let mut daemon = start();
    let mut followers = [false, true].map(Follower::new);
    for least in KILLED_AFTER {
        for follower in &mut followers {
            follower.connect(&pair, folder);
        }
        wait_for("events", SOON, || {
            let have = |follower: &Follower| matches!(follower.now(), (true, came) if came.len() >= least);
            followers.iter().all(have).then_some(())
        });
        daemon.process.signal("KILL");
        followers.iter_mut().for_each(Follower::is_cut_off);
        drop(daemon);
        daemon = start();
    }
    let kept = || -> u64 { ask("SELECT max(seq) FROM events")[0].parse().expect("a number") };
    // What was committed while nobody followed comes as well.
    let newest = kept();
    for follower in &mut followers {
        follower.connect(&pair, folder);
    }
    wait_for("the newest event", SOON, || {
        let has = |follower: &Follower| follower.now().1.last().is_some_and(|event| number(event) > newest);
        followers.iter().all(has).then_some(())
    });
    assert!(daemon.process.stop("TERM", SOON).success(), "{}", daemon.process.log());
    followers.iter_mut().for_each(Follower::is_cut_off);
    let rows: Vec<String> = ask("SELECT seq || ' ' || kind FROM events ORDER BY seq");
    for follower in &followers {
        let came =
            follower.events.iter().map(|event| format!("{} {}", event["id"], event["type"].as_str().unwrap_or("?")));
        let came: Vec<String> = came.collect();
        assert!(came.len() as u64 > newest && came.len() <= rows.len(), "{} of {}", came.len(), rows.len());
        assert_eq!(came, rows[..came.len()], "by WebSocket: {}", follower.is_websocket);
    }
    let begun = rows.iter().filter(|row| row.ends_with(" run_begun")).count();
    assert_eq!(begun, KILLED_AFTER.len() + 1, "each start is an event");
    println!("{} events over {} kills", rows.len(), KILLED_AFTER.len());
}

#[test]
fn who_follows_a_daemon_that_is_killed_gets_every_event_once_from_sqlite() {
    if !can_run("who_follows_a_daemon_that_is_killed_gets_every_event_once_from_sqlite", &["ping", "python3", "curl"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("nta.db");
    nothing_is_lost_or_doubled(folder.path(), &format!("sqlite:{}", file.display()), |sql| {
        let text = run(Command::new("python3").args(["-c", ASK]).arg(&file).arg(sql));
        text.lines().map(str::to_owned).collect()
    });
}

#[test]
fn who_follows_a_daemon_that_is_killed_gets_every_event_once_from_postgresql() {
    const TEST: &str = "who_follows_a_daemon_that_is_killed_gets_every_event_once_from_postgresql";
    if !can_run(TEST, &["ping", "python3", "curl"]) || !Postgres::can_run(TEST) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let server = Postgres::start();
    nothing_is_lost_or_doubled(folder.path(), &server.url(), |sql| server.ask(sql).expect("an answer"));
}
