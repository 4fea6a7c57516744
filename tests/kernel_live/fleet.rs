//! Gateways that ship to a server, or over NATS to collectors, while everything is killed and cut: what each of them committed is there,
//! once.
//!
//! `NTA_KILLS` says how often (10; from 50 on with five gateways), `NTA_SEED` by which numbers: the same seed kills the same things after
//! the same waits. Clocks are shorter than usual: windows of a second, `ship.resend_after_s` of two. In the middle the whole centre is away
//! for ten windows, from 50 kills on for 120, as many as ten minutes have by the usual clock. The first gateway's database lies on a disk
//! that is filled now and then.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use nta_tests::nats;
use nta_tests::netns::{End, Namespace, alone, output, run, silent, veth, wait_for};
use nta_tests::postgres::Postgres;
use nta_tests::process::Process;
use serde_json::Value;

use crate::can_run;
use crate::daemon::{binary, number};
use crate::disk::Disk;

const KILLS: u64 = 10;
/// From so many kills on it is the long form.
const MANY: u64 = 50;
const PORT: u16 = 5000;
const BROKERS: usize = 3;
/// A client finds a stream again and deletes it: the protocol of NATS is lines.
const DELETE_STREAM: &str = r#"
import socket
s = socket.create_connection(("127.0.0.1", 4222), timeout=2)
s.sendall(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB inbox 1\r\nPUB $JS.API.STREAM.DELETE.NTA_SHIP inbox 0\r\n\r\n')
text = b""
while b"MSG inbox" not in text or not text.endswith(b"\r\n"):
    text += s.recv(4096)
print("deleted" if b'"success":true' in text else text)
"#;
/// All is back, and a gateway waits up to half a minute before it tries again.
const SOON: Duration = Duration::from_secs(180);

/// Numbers by chance, the same for the same seed (Knuth's MMIX).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}

/// A program that is started again whenever it ends, as a service manager does.
struct Service {
    namespace: Rc<Namespace>,
    folder: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    starts: u32,
    process: Process,
}

impl Service {
    fn start(namespace: &Rc<Namespace>, folder: PathBuf, program: PathBuf, arguments: &[&str]) -> Self {
        std::fs::create_dir_all(&folder).expect("a folder");
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let process = Self::process(namespace, &folder, &program, &arguments, 1);
        Self { namespace: Rc::clone(namespace), folder, program, arguments, starts: 1, process }
    }

    fn process(namespace: &Namespace, folder: &Path, program: &Path, arguments: &[String], start: u32) -> Process {
        let mut command = namespace.command(program.to_str().expect("a path in UTF-8"));
        Process::start(command.args(arguments), folder, &format!("{start}.log"))
    }

    /// Kills it, unless it has ended by itself.
    fn kill(&mut self) {
        if self.process.ended().is_none() {
            self.process.signal("KILL");
        }
    }

    fn keep_up(&mut self) {
        if self.process.ended().is_some() {
            self.starts += 1;
            self.process = Self::process(&self.namespace, &self.folder, &self.program, &self.arguments, self.starts);
        }
    }

    /// The document at this path, if there is one.
    fn get(&self, path: &str, token: Option<&str>) -> Option<Value> {
        let mut curl = self.namespace.command("curl");
        curl.args(["-s", "-f", "-m", "10", &format!("http://127.0.0.1:{PORT}{path}")]);
        if let Some(token) = token {
            curl.args(["-H", &format!("Authorization: Bearer {token}")]);
        }
        let answer = output(&mut curl);
        answer.status.success().then(|| serde_json::from_slice(&answer.stdout).expect("JSON"))
    }
}

/// A gateway, and who talks to it.
struct Gateway {
    name: String,
    service: Service,
    peer: Namespace,
}

impl Gateway {
    /// Packets of its base windows.
    fn committed(&self) -> Option<u64> {
        let mut sum = 0;
        let mut cursor = String::new();
        loop {
            let page = self.service.get(&format!("/api/metrics?span=1&from=0&limit=250{cursor}"), None)?;
            sum += page["items"].as_array()?.iter().map(|window| number(&window["packets"])).sum::<u64>();
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Some(sum),
            }
        }
    }
}

struct Fleet {
    gateways: Vec<Gateway>,
    /// The server, or collectors; the first answers.
    centre: Vec<Service>,
    brokers: Vec<Service>,
    postgres: Postgres,
    admin: String,
    /// What the first gateway keeps is on it.
    disk: Disk,
    _folder: tempfile::TempDir,
}

/// Makes a token at the server's database.
fn token(database: &str, arguments: &[&str]) -> String {
    let mut made = Command::new(binary());
    made.args(["tokens", "create", "--database", database]).args(arguments);
    run(&mut made).trim().to_owned()
}

fn text(folder: &Path, name: &str, text: &str) -> String {
    std::fs::create_dir_all(folder).expect("a folder");
    let path = folder.join(name);
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

/// Where the first gateway keeps its database and its spool.
fn first_disk(folder: &Path) -> Disk {
    let folder = folder.join("gw0");
    std::fs::create_dir_all(&folder).expect("a folder");
    Disk::new(&folder, "64m")
}

/// A gateway that ships to what the centre's end of its line is called in `to`.
fn gateway(index: usize, centre: &Namespace, folder: &Path, ship: impl Fn(&str) -> String) -> Gateway {
    let name = format!("gw{index}");
    let (inside, peer) = (Rc::new(Namespace::new(&name)), Namespace::new(&format!("peer{index}")));
    veth([
        End { namespace: &inside, interface: "v0", v4: "10.77.1.1", v6: "fd77:1::1" },
        End { namespace: &peer, interface: "v1", v4: "10.77.1.2", v6: "fd77:1::2" },
    ]);
    let net = index + 1;
    let centre_v4 = format!("10.99.{net}.1");
    veth([
        End { namespace: centre, interface: &name, v4: &centre_v4, v6: &format!("fd99:{net}::1") },
        End { namespace: &inside, interface: "u0", v4: &format!("10.99.{net}.2"), v6: &format!("fd99:{net}::2") },
    ]);
    silent(&inside, "v0");
    let folder = folder.join(&name);
    let settings = format!("[sensor]\nname = {name:?}\n[ship]\ninsecure = \"i understand\"\n{}\n", ship(&centre_v4));
    let config = text(&folder, "nta.toml", &settings);
    let disk = Some(folder.join("disk")).filter(|disk| disk.is_dir());
    let database = format!("sqlite:{}", disk.as_ref().unwrap_or(&folder).join("nta.db").display());
    let listen = format!("127.0.0.1:{PORT}");
    let arguments = ["run", "--interface", "v0", "--window", "1", "--listen", &listen, "--database", &database];
    let arguments = [&arguments[..], &["--config", &config]].concat();
    Gateway { name, service: Service::start(&inside, folder, binary(), &arguments), peer }
}

impl Fleet {
    /// Gateways that ship to one server by HTTP.
    fn to_a_server(gateways: usize) -> Self {
        let (folder, postgres) = (tempfile::tempdir().expect("a folder"), Postgres::start());
        let (database, centre) = (postgres.url(), Rc::new(Namespace::new("centre")));
        let admin = token(&database, &["--role", "admin"]);
        let disk = first_disk(folder.path());
        let ship = |index: usize| {
            let token = token(&database, &["--role", "sensor", "--scope", &format!("gw{index}")]);
            let file = text(&folder.path().join(format!("gw{index}")), "token", &token);
            move |host: &str| format!("to = \"http://{host}:{PORT}\"\ntoken_file = {file:?}")
        };
        let gateways = (0..gateways).map(|index| gateway(index, &centre, folder.path(), ship(index))).collect();
        let config = text(folder.path(), "nta.toml", "[api]\ninsecure = \"i understand\"\n");
        let listen = format!("0.0.0.0:{PORT}");
        let arguments = ["run", "--interface", "lo", "--listen", &listen, "--database", &database, "--config", &config];
        let server = Service::start(&centre, folder.path().join("server"), binary(), &arguments);
        Self { gateways, centre: vec![server], brokers: Vec::new(), postgres, admin, disk, _folder: folder }
    }

    /// Gateways that publish to three servers of NATS, and two collectors.
    fn over_nats(gateways: usize, nats: &Path) -> Self {
        let (folder, postgres) = (tempfile::tempdir().expect("a folder"), Postgres::start());
        let (database, centre) = (postgres.url(), Rc::new(Namespace::new("centre")));
        let admin = token(&database, &["--role", "admin"]);
        let disk = first_disk(folder.path());
        let routes: Vec<String> = (0..BROKERS).map(|index| format!("nats://127.0.0.1:{}", 6222 + index)).collect();
        let broker = |index: usize| {
            let folder = folder.path().join(format!("nats{index}"));
            let settings = format!(
                "server_name: n{index}\nlisten: \"0.0.0.0:{}\"\njetstream {{ store_dir: {folder:?}, sync_interval: always }}\n\
                 cluster {{ name: nta, listen: \"127.0.0.1:{}\", routes: {routes:?} }}\n",
                4222 + index,
                6222 + index,
            );
            let config = text(&folder, "nats.conf", &settings);
            Service::start(&centre, folder, nats.to_owned(), &["-c", &config])
        };
        let brokers = (0..BROKERS).map(broker).collect();
        let servers = |host: &str| {
            let servers: Vec<String> = (0..BROKERS).map(|index| format!("nats://{host}:{}", 4222 + index)).collect();
            servers.join(",")
        };
        let ship = |host: &str| format!("to = \"{}\"\nresend_after_s = 2", servers(host));
        let gateways = (0..gateways).map(|index| gateway(index, &centre, folder.path(), ship)).collect();
        let config = text(folder.path(), "nta.toml", "[collect]\nreplicas = 3\n");
        let (from, listen) = (servers("127.0.0.1"), format!("127.0.0.1:{PORT}"));
        let collector = |name: &str, more: &[&str]| {
            let arguments = ["collect", "--from", &from, "--database", &database, "--config", &config];
            Service::start(&centre, folder.path().join(name), binary(), &[&arguments, more].concat())
        };
        let centre = vec![collector("collector1", &["--listen", &listen]), collector("collector2", &[])];
        Self { gateways, centre, brokers, postgres, admin, disk, _folder: folder }
    }

    fn keep_up(&mut self) {
        self.postgres.keep_up();
        self.centre.iter_mut().chain(&mut self.brokers).for_each(Service::keep_up);
        self.gateways.iter_mut().for_each(|gateway| gateway.service.keep_up());
    }

    /// What the centre says of a gateway, once it has a batch of it.
    fn seen(&self, gateway: usize) -> Option<Value> {
        let path = format!("/api/sensors/{}", self.gateways[gateway].name);
        self.centre[0].get(&path, Some(&self.admin)).filter(|seen| number(&seen["watermark"]) > 0)
    }

    /// Hits something, and says what.
    fn hit(&mut self, chance: &mut Chance) -> &'static str {
        const ALWAYS: [&str; 8] =
            ["gateway", "gateway", "gateway", "centre", "centre", "database", "line", "full disk"];
        const OF_NATS: [&str; 5] = ["broker", "broker", "two brokers", "stream", "centre"];
        let kinds = if self.brokers.is_empty() { ALWAYS.to_vec() } else { [&ALWAYS[..], &OF_NATS].concat() };
        let (what, which) = (kinds[chance.below(kinds.len())], chance.below(1 << 20));
        let pause = Duration::from_millis(300 + chance.below(2000) as u64);
        let (gateways, centres) = (self.gateways.len(), self.centre.len());
        match what {
            "gateway" => self.gateways[which % gateways].service.kill(),
            "centre" => self.centre[which % centres].kill(),
            // Away for a while, not only for its start.
            "database" => {
                self.postgres.kill();
                std::thread::sleep(pause);
            }
            "line" => {
                let (centre, name) = (&self.centre[0].namespace, &self.gateways[which % gateways].name);
                centre.ip(&format!("link set {name} down"));
                std::thread::sleep(pause);
                centre.ip(&format!("link set {name} up"));
            }
            "full disk" => {
                self.disk.fill();
                std::thread::sleep(pause);
                self.disk.give_room();
            }
            "broker" => self.brokers[which % BROKERS].kill(),
            "two brokers" => {
                self.brokers[which % BROKERS].kill();
                self.brokers[(which + 1) % BROKERS].kill();
                std::thread::sleep(pause);
            }
            _ => {
                let said = output(self.centre[0].namespace.command("python3").args(["-c", DELETE_STREAM]));
                if !String::from_utf8_lossy(&said.stdout).contains("deleted") {
                    return "stream, which had no leader";
                }
            }
        }
        what
    }

    /// Hits one thing after the other, and sometimes two at once, then holds what the centre has against what each gateway committed.
    fn has_all_once(mut self) {
        let kills: u64 = variable("NTA_KILLS").unwrap_or(KILLS);
        let mut chance = Chance(variable("NTA_SEED").unwrap_or(19));
        let ping = |gateway: &Gateway| {
            let mut ping = gateway.peer.command("ping");
            Process::start(ping.args(["-q", "-i", "0.02", "10.77.1.1"]), &gateway.service.folder, "ping.log")
        };
        let pinging: Vec<Process> = self.gateways.iter().map(ping).collect();
        for index in 0..self.gateways.len() {
            wait_for("each gateway at the centre", SOON, || {
                self.keep_up();
                self.seen(index)
            });
        }
        let mut done = BTreeMap::<&str, u32>::new();
        for kill in 0..kills {
            if kill == kills / 2 {
                let outage = if kills < MANY { 10 } else { 120 };
                self.centre.iter_mut().chain(&mut self.brokers).for_each(Service::kill);
                self.postgres.kill();
                std::thread::sleep(Duration::from_secs(outage));
                self.keep_up();
            }
            // Each is hit in another moment of its work, of its start too.
            std::thread::sleep(Duration::from_millis(100 + chance.below(1400) as u64));
            for _ in 0..=usize::from(chance.below(4) == 0) {
                *done.entry(self.hit(&mut chance)).or_default() += 1;
            }
            std::thread::sleep(Duration::from_millis(50));
            self.keep_up();
        }
        drop(pinging);
        for index in 0..self.gateways.len() {
            // What was pinged is in a window before one without a packet.
            wait_for("a silent window", SOON, || {
                self.keep_up();
                let newest = self.gateways[index].service.get("/api/metrics?span=1&limit=1&sort=-time&from=0", None)?;
                (number(&newest["items"].get(0)?["packets"]) == 0).then_some(())
            });
            let (committed, seen) = wait_for("all that was committed, at the centre", SOON, || {
                self.keep_up();
                let (committed, seen) = (self.gateways[index].committed()?, self.seen(index)?);
                (seen["is_complete"] == true && number(&seen["packets"]) >= committed).then_some((committed, seen))
            });
            let Gateway { name, service, .. } = &self.gateways[index];
            assert_eq!(number(&seen["packets"]), committed, "{name}: {seen}");
            // As another program sums it: what is stored, not what was noted of it.
            let sql = format!(
                "SELECT coalesce(sum(packets), 0), count(*) - count(DISTINCT (w.run_id, w.number)) FROM windows w \
                 JOIN runs r ON r.id = w.run_id WHERE r.sensor = '{name}' AND w.factor = 1"
            );
            let stored = self.postgres.ask(&sql).expect("an answer");
            assert_eq!(stored, [format!("{committed}|0")], "{name}: {seen}");
            let (complete, starts) = (seen["completeness"].as_str().unwrap_or_default(), service.starts);
            println!(
                "{name}: {complete}, {committed} packets, {starts} starts, {} batches came twice",
                seen["doubles"]
            );
        }
        let starts: u32 = self.centre.iter().map(|service| service.starts).sum();
        println!("{done:?}; {starts} starts of the centre");
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn gateways() -> usize {
    if variable("NTA_KILLS").is_some_and(|kills| kills >= MANY) { 5 } else { 3 }
}

#[test]
fn what_gateways_committed_is_at_the_server_once_whatever_is_killed() {
    const TEST: &str = "what_gateways_committed_is_at_the_server_once_whatever_is_killed";
    if !can_run(TEST, &["ping", "curl"]) || !Postgres::can_run(TEST) {
        return;
    }
    let _alone = alone();
    Fleet::to_a_server(gateways()).has_all_once();
}

#[test]
fn what_gateways_committed_is_stored_once_whatever_is_killed_on_the_way_over_nats() {
    const TEST: &str = "what_gateways_committed_is_stored_once_whatever_is_killed_on_the_way_over_nats";
    if !can_run(TEST, &["ping", "curl", "python3"]) || !Postgres::can_run(TEST) {
        return;
    }
    let Some(nats) = nats::program(TEST) else { return };
    let _alone = alone();
    Fleet::over_nats(gateways(), &nats).has_all_once();
}
