//! Network namespaces and veth pairs between them, removed when they go out of scope, panic or not.
//!
//! Nothing speaks in them that was not asked to: no duplicate address detection, no router solicitations, neighbours
//! are entered by hand, and [`silent`] waits until multicast reports are over.

use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Held by each test that makes namespaces: they run one after another, as each wants the machine for itself.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Polls until `done` gives something.
///
/// # Panics
/// When it has not within the deadline, or so many times as long as `NTA_SLOWNESS` says where a machine is translated.
pub fn wait_for<T>(what: &str, deadline: Duration, mut done: impl FnMut() -> Option<T>) -> T {
    let slowness = std::env::var("NTA_SLOWNESS").ok().and_then(|times| times.parse().ok());
    let (began, deadline) = (Instant::now(), deadline * slowness.unwrap_or(1));
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(began.elapsed() < deadline, "{what}: not within {deadline:?}");
        sleep(Duration::from_millis(10));
    }
}

/// Runs a command to its end and returns its standard output.
///
/// # Panics
/// When it cannot be started or fails.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {errors}{text}", output.status);
    text
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A network namespace with its loopback up.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one; the label distinguishes it from the others of the process.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(label: &str) -> Self {
        remove_orphans();
        let name = format!("{PREFIX}{}-{label}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Self { name };
        for (key, value) in QUIET {
            namespace.sysctl(key, value);
        }
        namespace.ip("link set lo up");
        namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a command line (split at spaces) inside and returns its standard output.
    pub fn run(&self, line: &str) -> String {
        let mut words = line.split(' ');
        run(self.command(words.next().unwrap_or_default()).args(words))
    }

    /// Runs `ip` with these arguments (split at spaces) on the namespace.
    pub fn ip(&self, arguments: &str) -> String {
        run(Command::new("ip").args(["-n", &self.name]).args(arguments.split(' ')))
    }

    /// Runs a line of shell inside and returns its standard output.
    pub fn shell(&self, line: &str) -> String {
        run(self.command("sh").args(["-c", line]))
    }

    /// Sets a value below `/proc/sys/net`.
    pub fn sysctl(&self, key: &str, value: &str) {
        self.shell(&format!("echo {value} > /proc/sys/net/{key}"));
    }

    /// Switches off whatever merges or splits packets, so that every observer sees the same ones. A program at native
    /// XDP switches GRO on by itself, so this is repeated after attaching.
    pub fn no_offloads(&self, interface: &str) {
        self.run(&format!("ethtool -K {interface} tso off gso off gro off tx off rx off"));
    }

    /// Packets that the interface received and sent.
    ///
    /// # Panics
    /// When the interface does not exist.
    pub fn packets(&self, interface: &str) -> [u64; 2] {
        let table = self.run("cat /proc/net/dev");
        let row = table.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
        let row: Vec<&str> =
            row.unwrap_or_else(|| panic!("no {interface} in {}", self.name)).split_whitespace().collect();
        [row[1], row[9]].map(|number| number.parse().unwrap_or(0))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status(); // a panic here would hide another
    }
}

/// One end of a veth pair.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Where it is.
    pub namespace: &'a Namespace,
    /// Name of the interface.
    pub interface: &'a str,
    /// IPv4 address, in a /24.
    pub v4: &'a str,
    /// IPv6 address, in a /64.
    pub v6: &'a str,
}

/// Connects two namespaces.
pub fn veth(ends: [End<'_>; 2]) {
    let [a, b] = ends;
    let mac = |end: &End<'_>| {
        let last: u8 = end.v4.rsplit('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let net: u8 = end.v4.split('.').nth(2).and_then(|n| n.parse().ok()).unwrap_or(0);
        format!("02:00:00:00:{net:02x}:{last:02x}")
    };
    a.namespace.ip(&format!(
        "link add {} address {} type veth peer name {} address {} netns {}",
        a.interface,
        mac(&a),
        b.interface,
        mac(&b),
        b.namespace.name
    ));
    for (end, peer) in [(a, b), (b, a)] {
        let (namespace, interface) = (end.namespace, end.interface);
        namespace.no_offloads(interface);
        namespace.ip(&format!("address add {}/24 dev {interface}", end.v4));
        namespace.ip(&format!("address add {}/64 dev {interface} nodad", end.v6));
        namespace.ip(&format!("link set {interface} up"));
        for address in [peer.v4, peer.v6] {
            namespace.ip(&format!("neigh replace {address} lladdr {} dev {interface} nud permanent", mac(&peer)));
        }
    }
}

/// Waits until nothing more comes from a veth pair that was just made, given either end.
pub fn silent(namespace: &Namespace, interface: &str) {
    let began = Instant::now();
    let mut last = ([0, 0], began);
    wait_for("a silent veth pair", Duration::from_secs(10), || {
        let packets = namespace.packets(interface);
        if packets != last.0 {
            last = (packets, Instant::now());
        }
        // The kernel notifies one end of its carrier up to a second later.
        let reported = packets.iter().all(|sent| *sent >= REPORTS) || began.elapsed() > LAST_REPORT;
        (reported && last.1.elapsed() >= SILENCE).then_some(())
    });
}

/// Removes the namespaces of processes that were killed before they could.
fn remove_orphans() {
    let listed = output(Command::new("ip").args(["netns", "list"]));
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !std::path::Path::new("/proc").join(pid).exists()) {
            let _ = Command::new("ip").args(["netns", "del", name]).status(); // another process may have been faster
        }
    }
}

/// Namespaces of the tests are called this, the process and a label.
const PREFIX: &str = "nta-test-";
/// A veth pair that was silent for so long has nothing more to say.
const SILENCE: Duration = Duration::from_millis(250);
/// Multicast reports (MLDv2) that each end sends at least.
const REPORTS: u64 = 2;
/// When the last of them comes at the latest.
const LAST_REPORT: Duration = Duration::from_secs(3);
/// Keeps the stack from speaking by itself.
const QUIET: [(&str, &str); 5] = [
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv6/conf/default/mldv2_unsolicited_report_interval", "1"),
];
