//! `[capture]`: what is captured, and how.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Fewer MiB hold too few flows to be of use.
const MIN_MAP_MEMORY_MIB: u64 = 1;
/// More than any gateway needs; a typing error rather than a wish.
const MAX_MAP_MEMORY_MIB: u64 = 65_536;

/// What is captured, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureConfig {
    /// Interfaces to watch. Default: none named, which means the one of the default route.
    pub interfaces: Vec<String>,
    /// Hook: `auto`, `xdp`, `xdp-generic`, `tcx` or `tc`. Default: `auto`.
    pub attach: String,
    /// Kernel memory for the flow maps in MiB. Default: 64, which holds about 70,000 IPv4 and 45,000 IPv6 flows.
    pub map_memory_mib: u64,
    /// Whether the inner packet of VXLAN, Geneve, GRE and IP-in-IP is accounted in place of the tunnel. Default: false.
    pub tunnels: bool,
    /// Place among other programs at TCX: `first` (sees also what they drop) or `last`. Default: `first`.
    pub tcx_order: String,
    /// Whether programs and maps stay in the kernel while the daemon restarts, so that packets go on being counted.
    /// Default: false.
    pub pin: bool,
    /// Where they are pinned: a folder on a BPF file system. Default: `/sys/fs/bpf/nta`.
    pub pin_path: String,
    /// Every how many-th packet is accounted, on each CPU; the others are only counted (`sampled_out`). Default: 1.
    pub sample: u32,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            attach: "auto".to_owned(),
            map_memory_mib: 64,
            tunnels: false,
            tcx_order: "first".to_owned(),
            pin: false,
            pin_path: "/sys/fs/bpf/nta".to_owned(),
            sample: 1,
        }
    }
}

impl CaptureConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !(MIN_MAP_MEMORY_MIB..=MAX_MAP_MEMORY_MIB).contains(&self.map_memory_mib) {
            return Err(ConfigError::Value {
                key: "capture.map_memory_mib",
                value: self.map_memory_mib.to_string(),
                expected: "from 1 to 65536 MiB",
            });
        }
        if !["first", "last"].contains(&self.tcx_order.as_str()) {
            let value = self.tcx_order.clone();
            return Err(ConfigError::Value { key: "capture.tcx_order", value, expected: "first or last" });
        }
        if !self.pin_path.starts_with('/') {
            let value = self.pin_path.clone();
            return Err(ConfigError::Value { key: "capture.pin_path", value, expected: "an absolute path" });
        }
        if self.sample == 0 {
            return Err(ConfigError::Value {
                key: "capture.sample",
                value: self.sample.to_string(),
                expected: "1 to account every packet, N to account every Nth",
            });
        }
        Ok(())
    }

    pub(super) fn to_toml(&self) -> String {
        let interfaces: Vec<String> = self.interfaces.iter().map(|name| format!("{name:?}")).collect();
        format!(
            "[capture]\n\
             # Interfaces to watch; empty: the one of the default route.\n\
             interfaces = [{}]\n\
             # Hook: auto, xdp, xdp-generic, tcx or tc.\n\
             attach = {:?}\n\
             # Kernel memory for the flow maps in MiB.\n\
             map_memory_mib = {}\n\
             # Account the inner packet of VXLAN, Geneve, GRE and IP-in-IP in place of the tunnel.\n\
             tunnels = {}\n\
             # Place among other programs at TCX: first (sees also what they drop) or last.\n\
             tcx_order = {:?}\n\
             # Keep programs and maps in the kernel while the daemon restarts, so that packets go on being counted.\n\
             pin = {}\n\
             # Where they are pinned: a folder on a BPF file system.\n\
             pin_path = {:?}\n\
             # Account every Nth packet on each CPU, and only count the others.\n\
             sample = {}\n",
            interfaces.join(", "),
            self.attach,
            self.map_memory_mib,
            self.tunnels,
            self.tcx_order,
            self.pin,
            self.pin_path,
            self.sample
        )
    }
}
