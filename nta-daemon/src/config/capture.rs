//! `[capture]`: what is captured, and how.

use std::collections::HashSet;
use std::path::PathBuf;

use nta_common::TunnelPorts;
use nta_core::Bounds;
use nta_loader::can_select;

use super::section::section;
use super::{Attach, InterfacePattern, Refused, TcxOrder};

/// Fewer MiB hold too few flows to be of use; more than 64 GiB is a typing error rather than a wish.
const MAP_MEMORY_MIB: Bounds = Bounds::new(1.0, 65_536.0);
/// A terabyte.
const RING_MIB: Bounds = Bounds::new(0.0, 1_048_576.0);
/// From the headers of a TCP packet on.
const RING_SNAP: Bounds = Bounds::new(64.0, 262_144.0);
/// Every packet, or every Nth.
const SAMPLE: Bounds = Bounds::new(1.0, u32::MAX as f64);

section! {
    /// What is captured, and how.
    CaptureConfig in "capture" {
        /// Interfaces to watch: names, or patterns such as "eth*" and "!docker*". Empty: the one of the default route.
        interfaces: Vec<InterfacePattern> = Vec::new(),
        /// Interfaces whose side is inside. Empty: all but those with a default route. Their networks are added to detect.local_networks.
        inside: Vec<InterfacePattern> = Vec::new(),
        /// Hook: auto, xdp, xdp-generic, tcx or tc.
        attach: Attach = Attach::Auto,
        /// Kernel memory for the flow maps in MiB; 96 hold about 70,000 IPv4 and 45,000 IPv6 flows, and 180,000 and 98,000 of one packet.
        map_memory_mib: u64 = 96 => MAP_MEMORY_MIB,
        /// Account the inner packet in place of the tunnel: VXLAN, Geneve, GRE, ERSPAN, IP-in-IP, GTP-U, L2TP, PPTP, Teredo, AYIYA, TZSP.
        tunnels: bool = false,
        /// UDP ports of VXLAN, at most 4.
        vxlan_ports: Vec<u16> = TunnelPorts::VXLAN.to_vec(),
        /// UDP ports of Geneve, at most 4.
        geneve_ports: Vec<u16> = TunnelPorts::GENEVE.to_vec(),
        /// Place among other programs at TCX: first (sees also what they drop) or last.
        tcx_order: TcxOrder = TcxOrder::First,
        /// Keep programs and maps in the kernel while the daemon restarts, so that packets go on being counted.
        pin: bool = false,
        /// Where they are pinned: an absolute path of a folder on a BPF file system.
        pin_path: PathBuf = PathBuf::from("/sys/fs/bpf/nta"),
        /// Socket of nta-loader, which attaches in the place of a daemon without rights, and pins by its own configuration. Empty: none.
        loader: PathBuf = PathBuf::new(),
        /// MiB of heads of packets that are kept on disk for each watched interface, the newest: packets of alerts are found in them. 0: none.
        ring: u64 = 0 => RING_MIB,
        /// Bytes of each packet that are kept there.
        ring_snaplen: u32 = 128 => RING_SNAP,
        /// Account every Nth packet on each CPU; the others are only counted (sampled_out).
        sample: u32 = 1 => SAMPLE,
    }
}

impl CaptureConfig {
    /// The socket of the process that attaches, where that is another one.
    pub fn loader(&self) -> Option<PathBuf> {
        (!self.loader.as_os_str().is_empty()).then(|| self.loader.clone())
    }

    pub(super) fn check(&self, refused: &mut Vec<Refused>) {
        if self.loader().is_some_and(|path| !path.is_absolute()) {
            refused.push(Refused::new("capture.loader", self.loader.display(), "an absolute path, or empty"));
        }
        if !self.pin_path.is_absolute() {
            refused.push(Refused::new("capture.pin_path", self.pin_path.display(), "an absolute path"));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = self.interfaces.iter().find(|pattern| !seen.insert(pattern.as_str())) {
            refused.push(Refused::new(
                "capture.interfaces",
                format_args!("[… {twice} …]"),
                "each interface named once",
            ));
        }
        if !can_select(&self.interfaces) {
            let patterns: Vec<&str> = self.interfaces.iter().map(InterfacePattern::as_str).collect();
            refused.push(Refused::new("capture.interfaces", format_args!("{patterns:?}"), "patterns that select any"));
        }
        if self.vxlan_ports.iter().any(|port| self.geneve_ports.contains(port)) {
            let ports = format_args!("{:?}", self.vxlan_ports).to_string();
            refused.push(Refused::new(
                "capture.vxlan_ports",
                ports,
                "ports that are not those of capture.geneve_ports",
            ));
        }
        for (key, ports) in [("capture.vxlan_ports", &self.vxlan_ports), ("capture.geneve_ports", &self.geneve_ports)] {
            if filled(ports).is_none() || ports.contains(&0) {
                refused.push(Refused::new(key, format_args!("{ports:?}"), "one to four ports, none of them 0"));
            }
        }
    }

    /// By which ports tunnels are known, where they are opened.
    pub fn tunnel_ports(&self) -> Option<TunnelPorts> {
        let ports = TunnelPorts { vxlan: filled(&self.vxlan_ports)?, geneve: filled(&self.geneve_ports)? };
        self.tunnels.then_some(ports)
    }
}

/// All places taken, the last ones by the first port. `None` when there is none, or too many.
fn filled(ports: &[u16]) -> Option<[u16; TunnelPorts::EACH]> {
    let first = *ports.first()?;
    (ports.len() <= TunnelPorts::EACH).then(|| std::array::from_fn(|at| ports.get(at).copied().unwrap_or(first)))
}
