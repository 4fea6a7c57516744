//! A switched network of three stations in namespaces, the daemon at the victim's interface, and what it has reported.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nta_tests::daemon::daemon;
use nta_tests::netns::{Namespace, output, wait_for};
use nta_tests::process::Process;
use nta_tests::{installed, not_run};
use serde_json::Value;

/// Where the daemon listens, in the victim's namespace.
pub(crate) const LISTEN: &str = "127.0.0.1:5000";
/// Length of a window in seconds, the default.
pub(crate) const WINDOW_S: u64 = 5;
/// The daemon itself gives its parts 10 seconds each.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// One station: its namespace, IPv4 and MAC address; its interface is [`INTERFACE`].
pub(crate) struct Station {
    pub(crate) inside: Namespace,
    pub(crate) address: &'static str,
    pub(crate) mac: &'static str,
}

/// Name of each station's interface.
pub(crate) const INTERFACE: &str = "eth0";

/// A switch with a victim, an attacker and a gateway.
pub(crate) struct Network {
    pub(crate) victim: Station,
    pub(crate) attacker: Station,
    pub(crate) gateway: Station,
    /// Goes with the others.
    _switch: Namespace,
}

impl Network {
    pub(crate) fn new() -> Self {
        let switch = Namespace::new("sw");
        switch.ip("link add br0 type bridge");
        switch.ip("link set br0 up");
        Self {
            victim: station(&switch, "victim", "10.78.1.1", "02:00:00:00:01:01"),
            attacker: station(&switch, "attacker", "10.78.1.2", "02:00:00:00:01:02"),
            gateway: station(&switch, "gateway", "10.78.1.3", "02:00:00:00:01:03"),
            _switch: switch,
        }
    }
}

fn station(switch: &Namespace, name: &str, address: &'static str, mac: &'static str) -> Station {
    let inside = Namespace::new(name);
    inside.sysctl("ipv6/conf/default/disable_ipv6", "1");
    let netns = inside.name();
    switch.ip(&format!("link add {name} type veth peer name {INTERFACE} address {mac} netns {netns}"));
    switch.no_offloads(name);
    inside.no_offloads(INTERFACE);
    switch.ip(&format!("link set {name} master br0 up"));
    inside.ip(&format!("address add {address}/24 dev {INTERFACE}"));
    inside.ip(&format!("link set {INTERFACE} up"));
    Station { inside, address, mac }
}

/// The daemon, capturing at the victim's interface.
pub(crate) struct Live<'a> {
    process: Process,
    inside: &'a Namespace,
    listen: String,
}

impl<'a> Live<'a> {
    /// Returns when it is healthy; database and log go to the folder.
    pub(crate) fn start(inside: &'a Namespace, folder: &Path) -> Self {
        Self::with(inside, folder, INTERFACE, LISTEN, "")
    }

    /// At this interface, listening here, with this further in its configuration.
    pub(crate) fn with(inside: &'a Namespace, folder: &Path, interface: &str, listen: &str, further: &str) -> Self {
        let config = folder.join("nta.toml");
        // Nothing else uses the namespace, and its programs are to go with it.
        fs::write(&config, format!("[capture]\npin = false\n{further}")).expect("a configuration");
        let mut command = inside.command(daemon().to_str().expect("a path in UTF-8"));
        command.args(["run", "--interface", interface, "--window", &WINDOW_S.to_string(), "--listen", listen]);
        command.arg("--database").arg(format!("sqlite:{}", folder.join("nta.db").display()));
        command.arg("--config").arg(config);
        let process = Process::start(&mut command, folder, "daemon.log");
        let mut live = Self { process, inside, listen: listen.to_owned() };
        wait_for("a healthy daemon", Duration::from_secs(30), || {
            assert!(live.process.ended().is_none(), "the daemon ended: {}", live.process.log());
            live.get("/health")
        });
        inside.no_offloads(interface);
        live
    }

    /// The alerts of the store, at most a page of them.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        let page = self.get("/api/alerts?limit=250").expect("the daemon answers");
        page["items"].as_array().expect("items").clone()
    }

    /// The windows of the store, oldest first, at most a page of them.
    pub(crate) fn windows(&self) -> Vec<Value> {
        let page = self.get(&format!("/api/metrics?span={WINDOW_S}&limit=250&sort=time")).expect("the daemon answers");
        page["items"].as_array().expect("items").clone()
    }

    /// Waits until everything up to now is in windows that can be read.
    pub(crate) fn wait_for_window(&self) {
        let now = jiff::Timestamp::now();
        let path = format!("/api/metrics?span={WINDOW_S}&limit=1&sort=-time");
        wait_for("the window", Duration::from_secs(3 * WINDOW_S), || {
            let page = self.get(&path)?;
            let end: jiff::Timestamp = page["items"][0]["end"].as_str()?.parse().expect("a time stamp");
            (end > now).then_some(())
        });
    }

    fn get(&self, path: &str) -> Option<Value> {
        let url = format!("http://{}{path}", self.listen);
        let answer = output(self.inside.command("curl").args(["-s", "-f", "-m", "10", &url]));
        answer.status.success().then(|| serde_json::from_slice(&answer.stdout).expect("JSON"))
    }

    /// Ends it at once, as a fault of its own would.
    pub(crate) fn kill(mut self) {
        self.process.stop("KILL", STOP_DEADLINE);
    }

    /// Ends it as systemd does.
    pub(crate) fn stop(mut self) {
        assert!(self.process.stop("TERM", STOP_DEADLINE).success(), "{}", self.process.log());
    }
}

/// Whether a test can run here; if not, says why.
pub(crate) fn can_run(test: &str, tools: &[&str]) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let reason = if status.contains("\nUid:\t0\t") {
        let missing = ["ip", "ethtool", "curl"].iter().chain(tools).find(|tool| !is_there(tool));
        missing.map(|tool| format!("{tool} is not installed"))
    } else {
        Some("making network namespaces needs root".to_owned())
    };
    if let Some(reason) = &reason {
        not_run(test, reason);
    }
    reason.is_none()
}

/// On the path, or where Debian keeps what only root uses.
fn is_there(tool: &str) -> bool {
    installed(tool) || Path::new("/usr/sbin").join(tool).is_file()
}

/// Runs a command line (split at spaces) in a namespace to its end; its status says nothing, as with many attack tools.
pub(crate) fn attempt(inside: &Namespace, line: &str) {
    let mut words = line.split(' ');
    let mut command: Command = inside.command(words.next().unwrap_or_default());
    let _status = output(command.args(words)); // nmap is content with nothing found, hping3 with nothing answered
}
