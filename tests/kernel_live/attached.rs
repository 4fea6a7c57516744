//! What is attached to an interface, as the kernel and its tools say it.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use nta_tests::netns::{Namespace, output, run, wait_for};

/// How long the kernel may take to let go of what a dead process held.
const RELEASE: Duration = Duration::from_secs(5);

/// Filters of ours at clsact: ingress, egress.
pub(crate) fn filters(namespace: &Namespace, interface: &str) -> [usize; 2] {
    ["ingress", "egress"].map(|direction| {
        let mut tc = Command::new("tc");
        tc.args(["-n", namespace.name(), "filter", "show", "dev", interface, direction]);
        let name = format!("name nta_tc_{direction} ");
        run(&mut tc).matches(&name).count()
    })
}

/// The XDP program of an interface, as `ip` shows it.
pub(crate) fn xdp(namespace: &Namespace, interface: &str) -> Option<String> {
    let shown = namespace.ip(&format!("-d link show {interface}"));
    let line = shown.lines().find(|line| line.trim().starts_with("prog/xdp"))?;
    line.split_whitespace().nth(2).map(str::to_owned)
}

/// Programs and links that a process holds, by the ids of the kernel.
#[derive(Debug, Default)]
pub(crate) struct Held {
    programs: BTreeSet<String>,
    links: BTreeSet<String>,
}

impl Held {
    /// What the process holds now.
    pub(crate) fn of(pid: u32) -> Self {
        let mut held = Self::default();
        let Ok(folder) = std::fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return held };
        for file in folder.flatten() {
            let text = std::fs::read_to_string(file.path()).unwrap_or_default();
            let id = |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
            held.programs.extend(id("prog_id:"));
            held.links.extend(id("link_id:"));
        }
        held
    }

    /// Number of programs and links.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.programs.len(), self.links.len())
    }

    /// Waits until the kernel has none of the links any more, and with `programs` none of those.
    pub(crate) fn wait_gone(&self, programs: bool) {
        for id in &self.links {
            gone("link", id);
        }
        for id in self.programs.iter().filter(|_| programs) {
            gone("prog", id);
        }
    }
}

fn gone(kind: &str, id: &str) {
    wait_for(&format!("{kind} {id} gone"), RELEASE, || {
        let shown = output(Command::new("bpftool").args([kind, "show", "id", id]));
        (!shown.status.success()).then_some(())
    });
}
