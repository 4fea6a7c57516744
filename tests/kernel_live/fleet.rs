//! Gateways that ship to a server while everything is killed and cut: the server has what each of them committed, once.
//!
//! `NTA_KILLS` says how often (10), `NTA_SEED` by which numbers; the same seed kills the same things after the same waits.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nta_tests::netns::{End, Namespace, alone, output, run, silent, veth, wait_for};
use nta_tests::postgres::Postgres;
use nta_tests::process::Process;
use serde_json::Value;

use crate::can_run;
use crate::daemon::{binary, number};

const GATEWAYS: usize = 3;
const KILLS: u32 = 10;
const PORT: u16 = 5000;
const SOON: Duration = Duration::from_secs(120);

/// Numbers by chance, the same for the same seed (Knuth's MMIX).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}

/// A daemon that is started again whenever it ends, as a service manager does.
struct Service {
    namespace: Namespace,
    folder: PathBuf,
    arguments: Vec<String>,
    starts: u32,
    process: Process,
}

impl Service {
    fn start(namespace: Namespace, folder: PathBuf, arguments: Vec<String>) -> Self {
        let process = Self::process(&namespace, &folder, &arguments, 1);
        Self { namespace, folder, arguments, starts: 1, process }
    }

    fn process(namespace: &Namespace, folder: &Path, arguments: &[String], start: u32) -> Process {
        let mut command = namespace.command(binary().to_str().expect("a path in UTF-8"));
        Process::start(command.args(arguments), folder, &format!("daemon-{start}.log"))
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
            self.process = Self::process(&self.namespace, &self.folder, &self.arguments, self.starts);
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

/// A gateway, who talks to it, and what it ships over.
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

/// Makes a token at the server's database.
fn token(database: &str, arguments: &[&str]) -> String {
    let mut made = Command::new(binary());
    made.args(["tokens", "create", "--database", database]).args(arguments);
    run(&mut made).trim().to_owned()
}

fn gateway(index: usize, centre: &Namespace, folder: &Path, token: &str) -> Gateway {
    let name = format!("gw{index}");
    let (inside, peer) = (Namespace::new(&name), Namespace::new(&format!("peer{index}")));
    veth([
        End { namespace: &inside, interface: "v0", v4: "10.77.1.1", v6: "fd77:1::1" },
        End { namespace: &peer, interface: "v1", v4: "10.77.1.2", v6: "fd77:1::2" },
    ]);
    let net = index + 1;
    veth([
        End { namespace: centre, interface: &name, v4: &format!("10.99.{net}.1"), v6: &format!("fd99:{net}::1") },
        End { namespace: &inside, interface: "u0", v4: &format!("10.99.{net}.2"), v6: &format!("fd99:{net}::2") },
    ]);
    silent(&inside, "v0");
    let folder = folder.join(&name);
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("token"), token).expect("a token");
    let config = format!(
        "[sensor]\nname = {name:?}\n[ship]\nto = \"http://10.99.{net}.1:{PORT}\"\ntoken_file = {:?}\ninsecure = \"i understand\"\n",
        folder.join("token")
    );
    std::fs::write(folder.join("nta.toml"), config).expect("a configuration");
    let database = format!("sqlite:{}", folder.join("nta.db").display());
    let (config, listen) = (folder.join("nta.toml").display().to_string(), format!("127.0.0.1:{PORT}"));
    let arguments = ["run", "--interface", "v0", "--window", "1", "--listen", &listen, "--database", &database];
    let arguments = arguments.into_iter().chain(["--config", &config]).map(str::to_owned).collect();
    Gateway { name, service: Service::start(inside, folder, arguments), peer }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn what_gateways_committed_is_at_the_server_once_whatever_is_killed() {
    const TEST: &str = "what_gateways_committed_is_at_the_server_once_whatever_is_killed";
    if !can_run(TEST, &["ping", "curl"]) || !Postgres::can_run(TEST) {
        return;
    }
    let _alone = alone();
    let kills = variable("NTA_KILLS").unwrap_or(KILLS.into());
    let mut chance = Chance(variable("NTA_SEED").unwrap_or(19));
    let folder = tempfile::tempdir().expect("a folder");
    let mut postgres = Postgres::start();
    let database = postgres.url();
    let admin = token(&database, &["--role", "admin"]);
    let centre = Namespace::new("centre");
    let mut gateways: Vec<Gateway> = (0..GATEWAYS)
        .map(|index| {
            let scope = format!("gw{index}");
            gateway(index, &centre, folder.path(), &token(&database, &["--role", "sensor", "--scope", &scope]))
        })
        .collect();
    std::fs::write(folder.path().join("nta.toml"), "[api]\ninsecure = \"i understand\"\n").expect("a configuration");
    let (config, listen) = (folder.path().join("nta.toml").display().to_string(), format!("0.0.0.0:{PORT}"));
    let arguments = ["run", "--interface", "lo", "--listen", &listen, "--database", &database, "--config", &config];
    let arguments = arguments.map(str::to_owned).to_vec();
    let mut server = Service::start(centre, folder.path().to_owned(), arguments);
    let pings = |gateway: &Gateway| {
        let mut ping = gateway.peer.command("ping");
        Process::start(ping.args(["-q", "-i", "0.02", "10.77.1.1"]), &gateway.service.folder, "ping.log")
    };
    let pinging: Vec<Process> = gateways.iter().map(pings).collect();
    let seen = |server: &Service, gateway: &Gateway| {
        server
            .get(&format!("/api/sensors/{}", gateway.name), Some(&admin))
            .filter(|seen| number(&seen["watermark"]) > 0)
    };
    for gateway in &gateways {
        wait_for("each gateway at the server", SOON, || seen(&server, gateway));
    }
    let mut done = std::collections::BTreeMap::<&str, u32>::new();
    for _ in 0..kills {
        // Each is hit in another moment of its work, of its start too.
        std::thread::sleep(Duration::from_millis(100 + chance.below(1400) as u64));
        // Two at once, every fourth time.
        for _ in 0..=usize::from(chance.below(4) == 0) {
            let which = chance.below(GATEWAYS);
            let what = ["gateway", "gateway", "server", "server", "postgresql", "line"][chance.below(6)];
            *done.entry(what).or_default() += 1;
            match what {
                "gateway" => gateways[which].service.kill(),
                "server" => server.kill(),
                "postgresql" => postgres.kill_and_start(),
                _ => {
                    server.namespace.ip(&format!("link set gw{which} down"));
                    std::thread::sleep(Duration::from_millis(300 + chance.below(1500) as u64));
                    server.namespace.ip(&format!("link set gw{which} up"));
                }
            }
        }
        std::thread::sleep(Duration::from_millis(50));
        postgres.keep_up();
        server.keep_up();
        gateways.iter_mut().for_each(|gateway| gateway.service.keep_up());
    }
    drop(pinging);
    for index in 0..GATEWAYS {
        let (committed, seen) = wait_for("all that was committed, at the server", SOON, || {
            postgres.keep_up();
            server.keep_up();
            gateways.iter_mut().for_each(|gateway| gateway.service.keep_up());
            let (committed, seen) = (gateways[index].committed()?, seen(&server, &gateways[index])?);
            (seen["is_complete"] == true && number(&seen["packets"]) >= committed).then_some((committed, seen))
        });
        let name = &gateways[index].name;
        assert_eq!(number(&seen["packets"]), committed, "{name}: {seen}");
        // As another program sums it: what is stored, not what was noted of it.
        let sql = format!(
            "SELECT coalesce(sum(packets), 0), count(*) - count(DISTINCT (w.run_id, w.number)) FROM windows w \
             JOIN runs r ON r.id = w.run_id WHERE r.sensor = '{name}' AND w.factor = 1"
        );
        assert_eq!(postgres.ask(&sql).expect("an answer"), [format!("{committed}|0")], "{name}: {seen}");
        println!(
            "{name}: {}, {committed} packets, {} starts, {} batches came twice",
            seen["completeness"].as_str().unwrap_or_default(),
            gateways[index].service.starts,
            seen["doubles"]
        );
    }
    println!("{done:?}, the server started {} times", server.starts);
}
