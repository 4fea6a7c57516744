//! The benign load: real clients, in mixes. Each is a shell script of its own, drawn by the seed for the whole capture.

use std::net::Ipv4Addr;

use fastrand::Rng;
use serde_json::{Value, json};

use super::site::{CLIENTS, Site};

/// Where a load runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Client(usize),
    Victim,
    /// Beyond the WAN: its clients use the LAN's server.
    Outside,
    Gateway,
    /// Behind the first client.
    Behind(usize),
}

/// One client's doings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) kind: &'static str,
    pub(crate) who: Who,
    /// For a shell; `$S` is the folder of scripts, `$W` a folder to write to.
    pub(crate) script: String,
    /// Begins before the capture, which waits until the script has made the file `$W/ready`: nobody sees its beginning.
    pub(crate) early: bool,
}

impl Load {
    pub(crate) fn json(&self) -> Value {
        json!({ "kind": self.kind, "at": format!("{:?}", self.who), "early": self.early, "script": self.script })
    }
}

/// A benign scenario.
pub(crate) struct Mix {
    pub(crate) name: &'static str,
    pub(crate) count: u32,
    pub(crate) loads: &'static [&'static str],
}

/// The benign scenarios. From `monitor` on they are those that look like something else.
pub(crate) const MIXES: &[Mix] = &[
    Mix { name: "home", count: 2, loads: &["web", "browser", "dns", "video", "ping"] },
    Mix { name: "office", count: 3, loads: &["web", "browser", "ssh", "mail", "ntp", "voice", "files", "idle"] },
    Mix { name: "quiet", count: 2, loads: &["ntp", "idle", "ping"] },
    Mix { name: "calls", count: 1, loads: &["voice", "voice", "dns", "web"] },
    Mix { name: "backup", count: 2, loads: &["backup", "web", "poll"] },
    Mix { name: "admin", count: 2, loads: &["ssh", "ssh", "wrongpassword", "files", "poll"] },
    Mix { name: "monitor", count: 2, loads: &["ports", "poll", "poll", "ping", "sweep"] },
    Mix { name: "short", count: 2, loads: &["short", "short", "dns"] },
    Mix { name: "dnsburst", count: 2, loads: &["browser", "browser", "longnames", "dns"] },
    Mix { name: "download", count: 2, loads: &["download", "web"] },
    Mix { name: "busyserver", count: 3, loads: &["visitors", "visitors", "short", "longpoll", "ssh"] },
    Mix { name: "udpbulk", count: 2, loads: &["udpbulk", "voice", "web"] },
    Mix { name: "stall", count: 1, loads: &["longpoll", "slowdownload", "idle", "web"] },
];

/// What runs around an attack: from nearly nothing to a usual day.
pub(crate) fn around(rng: &mut Rng, victim_must_speak: bool) -> Vec<&'static str> {
    let usual = [
        "web",
        "browser",
        "dns",
        "ssh",
        "mail",
        "ntp",
        "voice",
        "video",
        "poll",
        "ping",
        "idle",
        "files",
        "visitors",
        "longnames",
    ];
    let count = rng.usize(1..=5);
    let mut mix = rng.choose_multiple(usual, count);
    if victim_must_speak {
        mix.push("victimweb");
    }
    mix
}

/// The scripts of these kinds.
pub(crate) fn loads(rng: &mut Rng, site: &Site, kinds: &[&'static str], seconds: u32) -> Vec<Load> {
    let first = rng.usize(0..CLIENTS);
    let each = |(n, kind): (usize, &&'static str)| {
        let mut maker = Maker { rng: Rng::with_seed(rng.u64(..)), site, seconds };
        let (who, script) = match *kind {
            "visitors" => (Who::Outside, maker.visitors()),
            "victimweb" => (Who::Victim, maker.web()),
            kind => (Who::Client((first + n) % CLIENTS), maker.script(kind)),
        };
        Load { kind, who, script, early: false }
    };
    kinds.iter().enumerate().map(each).collect()
}

/// Sizes of the files that the web servers have, in bytes; each is `/f` and its size.
pub(crate) const FILES: [u32; 9] = [300, 2_000, 8_000, 20_000, 60_000, 150_000, 400_000, 1_000_000, 4_000_000];

/// Quiet, and at an end when the server is gone.
pub(crate) const CURL: &str = "curl -s -o /dev/null -m 20";
pub(crate) const SSH: &str =
    "-q -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=8 -F none";

/// Draws scripts.
pub(crate) struct Maker<'a> {
    pub(crate) rng: Rng,
    pub(crate) site: &'a Site,
    pub(crate) seconds: u32,
}

impl Maker<'_> {
    pub(crate) fn script(&mut self, kind: &str) -> String {
        let (site, seconds) = (self.site, self.seconds);
        let [_, web, host, dns, _] = site.servers;
        let victim = site.victim.address;
        match kind {
            "browser" => self.browser(),
            "dns" => self.repeat(1.0, 6.0, |maker| format!("dig +short +tries=1 @{dns} {} >/dev/null", maker.name())),
            "longnames" => self.repeat(0.3, 3.0, |maker| {
                let (kind, name) = (maker.pick(&["A", "A", "AAAA", "TXT"]), maker.long_name());
                format!("dig +short +tries=1 @{dns} {kind} {name} >/dev/null")
            }),
            "ssh" => self.repeat(8.0, 25.0, |maker| {
                let to = if maker.rng.bool() { host } else { victim };
                let size = maker.rng.u32(100..40_000);
                format!("ssh {SSH} -i $S/key root@{to} head -c {size} /dev/urandom >/dev/null")
            }),
            "wrongpassword" => self.repeat(20.0, 45.0, |maker| {
                let tries = maker.rng.u32(1..3);
                let wrong = "-o PubkeyAuthentication=no -o NumberOfPasswordPrompts=1";
                format!(
                    "for n in $(seq {tries}); do sshpass -p typo ssh {SSH} {wrong} root@{victim} true; sleep 2; done; \
                     ssh {SSH} -i $S/key root@{victim} true"
                )
            }),
            "files" => self.repeat(15.0, 40.0, |maker| {
                let size = maker.pick(&[20_000, 150_000, 400_000, 1_000_000]);
                format!("scp {SSH} -i $S/key $S/www/f{size} root@{victim}:/dev/null")
            }),
            "backup" => {
                let megabytes = self.rng.u32(5..25);
                let start = self.rng.u32(5..30);
                format!(
                    "sleep {start}; head -c {megabytes}000000 /dev/urandom | \
                     ssh {SSH} -i $S/key root@{host} 'cat >/dev/null'"
                )
            }
            "download" => {
                let rate = self.rng.u32(200..1_500);
                let line = format!("{CURL} --limit-rate {rate}k http://{web}/f4000000");
                self.repeat(2.0, 15.0, |_| line.clone())
            }
            "slowdownload" => {
                let rate = self.rng.u32(4..9);
                format!("curl -s -o /dev/null --limit-rate {rate}k http://{web}/f1000000")
            }
            "udpbulk" => {
                let rate = self.rng.u32(300..3_000);
                let reverse = self.pick(&["", "-R"]);
                let (size, length) = (self.rng.u32(400..1300), seconds - 15);
                format!("sleep 5; iperf3 -u -c {host} -b {rate}k -l {size} -t {length} {reverse}")
            }
            "video" => {
                let (period, size) = (self.rng.u32(3..8), self.pick(&[400_000, 1_000_000]));
                let line = format!("{CURL} --limit-rate 2M http://{web}/f{size}");
                self.repeat(f64::from(period), f64::from(period) + 0.5, |_| line.clone())
            }
            "voice" => {
                let (start, length, size) = (self.rng.u32(1..20), seconds - 25, self.rng.u32(60..172));
                format!("sleep {start}; python3 $S/client.py voice {host} {length} {size}")
            }
            "ntp" => format!("python3 $S/client.py ntp {host} {seconds} {}", self.pick(&[4, 8, 16])),
            "mail" => format!("python3 $S/client.py mail {host} {seconds} {}", self.rng.u32(5..20)),
            "idle" => format!("python3 $S/client.py idle {host} {seconds} {}", self.rng.u32(1..12)),
            "ping" => {
                let to = self.pick(&[victim, host, site.gateway.address]);
                let six = site.wan_v6().map_or_else(String::new, |six| format!("ping -q -i 2 {six} & "));
                format!("{six}ping -q -i {} -s {} {to}", self.pick(&["0.2", "1", "2"]), self.pick(&[56, 32, 200]))
            }
            "poll" => {
                let period = self.rng.u32(2..10);
                let path = self.pick(&[300, 2_000]);
                self.repeat(f64::from(period), f64::from(period), |_| format!("{CURL} http://{victim}/f{path}"))
            }
            // A monitoring system: the same few ports of the same few hosts, again and again.
            "ports" => {
                let others: Vec<Ipv4Addr> = vec![victim, host, web, site.gateway.address];
                self.repeat(5.0, 10.0, |_| {
                    others.iter().map(|to| format!("nc -n -z -w 1 {to} 22 80 25 443")).collect::<Vec<_>>().join("; ")
                })
            }
            // It also asks a dozen addresses whether they live.
            "sweep" => {
                let hosts: Vec<String> = (1..=12).map(|n| format!("{}.{}", site.prefix(), n * 20)).collect();
                self.repeat(20.0, 40.0, |_| format!("for h in {}; do ping -q -c 1 -W 0.3 $h; done", hosts.join(" ")))
            }
            "short" => self.repeat(0.1, 0.6, |_| format!("{CURL} http://{victim}/f300")),
            "longpoll" => format!("python3 $S/client.py hold {host} {seconds} {}", self.rng.u32(5..25)),
            _ => self.web(),
        }
    }

    /// Pages with a name looked up before, one connection for several files.
    fn web(&mut self) -> String {
        let [first, second, _, dns, _] = self.site.servers;
        let six = self.site.wan_v6();
        self.repeat(1.0, 9.0, |maker| {
            let server = match six {
                Some(six) if maker.rng.bool() => format!("[{six}]"),
                _ => maker.pick(&[first, second]).to_string(),
            };
            let urls: Vec<String> =
                (0..maker.rng.u32(1..5)).map(|_| format!("http://{server}/f{}", maker.size())).collect();
            format!("dig +short +tries=1 @{dns} {} >/dev/null; {CURL} {}", maker.name(), urls.join(" -o /dev/null "))
        })
    }

    /// A page of today: a dozen names at once, then many files in parallel.
    fn browser(&mut self) -> String {
        let [first, second, _, dns, _] = self.site.servers;
        self.repeat(6.0, 20.0, |maker| {
            let names: Vec<String> = (0..maker.rng.u32(4..16))
                .map(|_| if maker.rng.bool() { maker.long_name() } else { maker.name() })
                .collect();
            let urls: Vec<String> = (0..maker.rng.u32(4..14))
                .map(|_| format!("-o /dev/null http://{}/f{}", maker.pick(&[first, second]), maker.size()))
                .collect();
            format!(
                "dig +short +tries=1 @{dns} {} >/dev/null; curl -sS --no-progress-meter -m 20 -Z --parallel-max 6 {}",
                names.join(" "),
                urls.join(" ")
            )
        })
    }

    /// Clients from the Internet at the LAN's server.
    pub(crate) fn visitors(&mut self) -> String {
        let victim = self.site.victim.address;
        let outsiders = self.site.outsiders.clone();
        self.repeat(0.2, 2.0, |maker| {
            let from = maker.pick(&outsiders);
            format!("{CURL} --interface {from} http://{victim}/f{} &", maker.size())
        })
    }

    /// The lines that `line` draws, with pauses of `least` to `most` seconds, until the capture is over.
    fn repeat(&mut self, least: f64, most: f64, mut line: impl FnMut(&mut Self) -> String) -> String {
        let mut script = String::new();
        let mut at = f64::from(self.rng.u32(0..5));
        script += &format!("sleep {at:.0}\n");
        while at < f64::from(self.seconds) {
            let pause = least + self.rng.f64() * (most - least);
            script += &format!("{}\nsleep {pause:.2}\n", line(self));
            at += pause;
        }
        script
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(..of.len())]
    }

    /// A file's size: small mostly.
    fn size(&mut self) -> u32 {
        let small = FILES.len() - 2;
        FILES[self.rng.usize(..small).min(self.rng.usize(..small))]
    }

    /// A host's name; one of twelve does not exist.
    fn name(&mut self) -> String {
        let domains = &self.site.domains;
        let domain = &domains[self.rng.usize(..domains.len())];
        match self.rng.u8(0..12) {
            0 => format!("wpad{}.lan", self.rng.u8(..)),
            1..=6 => format!("www.{domain}"),
            _ => format!("{}{}.{domain}", self.pick(&["img", "api", "static", "mail"]), self.rng.u8(0..9)),
        }
    }

    /// As content networks and telemetry have them.
    fn long_name(&mut self) -> String {
        let domains = &self.site.domains;
        let domain = domains[self.rng.usize(..domains.len())].clone();
        let node: String = (0..self.rng.usize(8..28)).map(|_| self.rng.alphanumeric().to_ascii_lowercase()).collect();
        let edge = self.rng.u32(..);
        format!("e{edge:08x}.{node}.{}.cdn.{domain}", self.pick(&["fra1", "ams2", "iad-c", "sin.edge"]))
    }
}
