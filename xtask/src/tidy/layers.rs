//! Which module of the daemon may know which: the map of ARCHITECTURE.md, enforced.

use super::Finding;
use super::paths::{self, Path};
use super::source::Source;

/// The pure core, each with the core modules below it. Time and settings come as arguments.
const CORE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("window", &["domain"]),
    ("baseline", &["domain", "window"]),
    ("features", &["domain", "window", "baseline"]), // a feature says how far from its baseline a value is
    ("model", &["domain", "window", "features"]),
    ("detect", &["domain", "window", "baseline", "features", "model"]),
    ("evaluate", &["domain"]),
];

/// The edges, each with the modules that it may know; each keeps its own settings in `config`.
const EDGES: &[(&str, &[&str])] = &[
    ("source", &["domain", "config"]),
    ("json", &["domain", "window", "features"]),
    ("store", &["domain", "config", "window", "baseline", "features", "json"]),
    ("telemetry", &["domain", "config"]),
    // Stored windows are judged again on request, by the same detectors.
    ("api", &["domain", "config", "store", "window", "baseline", "features", "detect", "json"]),
    ("export", &["domain", "config", "store", "window", "json"]),
];

/// What joins the others and may know them all.
const TOP: &[&str] = &[
    "main", "lib", "cli", "app", "pipeline", "analysis", "batch", "judge", "live", "replay", "shelf", "train", "config",
];

/// Crates that do I/O or wait, which the core must not.
const IMPURE_CRATES: &[&str] = &["tokio", "sqlx", "axum", "aya"];

/// All rules about layers for one file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let Some(module) = Module::of(&source.path) else {
        return Vec::new();
    };
    if TOP.contains(&module.name) {
        return Vec::new();
    }
    let find = |table: &'static [(&str, &'static [&str])]| table.iter().find(|(name, _)| *name == module.name);
    let (known, is_core) = match (find(CORE), find(EDGES)) {
        (Some((_, known)), _) => (*known, true),
        (_, Some((_, known))) => (*known, false),
        (None, None) => {
            let message = format!("module `{}` has no layer; give it one in xtask/src/tidy/layers.rs", module.name);
            return vec![Finding::error(&source.path, 1, message)];
        }
    };
    let mut findings = Vec::new();
    for path in paths::paths(source) {
        if let Some(other) = module.names_module(&path)
            && other != module.name
            && !known.contains(&other)
            && is_module(other)
        {
            let message = format!("`{}` must not know `{other}`", module.name);
            findings.push(Finding::error(&source.path, path.line, message));
        }
        if is_core && let Some(what) = impurity(&path) {
            let message = format!("`{}` is core and must not use {what}", module.name);
            findings.push(Finding::error(&source.path, path.line, message));
        }
    }
    findings
}

/// A top-level module of the daemon, and how deep in it a file lies.
struct Module<'a> {
    name: &'a str,
    depth: usize,
}

impl<'a> Module<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let inside = path.strip_prefix("nta-daemon/src/")?.strip_suffix(".rs")?;
        let inside = inside.strip_suffix("/mod").unwrap_or(inside);
        let name = inside.split('/').next()?;
        Some(Self { name, depth: inside.split('/').count() })
    }

    /// The top-level module that a path leads to, written with `crate` or from below with `super`.
    fn names_module<'p>(&self, path: &'p Path) -> Option<&'p str> {
        let supers = path.segments.iter().take_while(|segment| *segment == "super").count();
        let at = if path.starts_with(&["crate"]) { 1 } else { supers };
        (at == 1 && supers == 0 || at == self.depth && supers > 0).then(|| path.segments.get(at))?.map(String::as_str)
    }
}

fn is_module(name: &str) -> bool {
    CORE.iter().chain(EDGES).any(|(module, _)| *module == name) || TOP.contains(&name)
}

/// What a path reaches that makes its user depend on more than its arguments.
fn impurity(path: &Path) -> Option<String> {
    let written = path.segments.join("::");
    let first = path.segments.first()?.as_str();
    let is_clock = path.starts_with(&["std", "time"]) && !path.ends_with(&["Duration"]);
    let is_net = path.starts_with(&["std", "net"]) && !is_address(path);
    let is_file = ["fs", "thread", "process"].iter().any(|module| path.starts_with(&["std", module]));
    (IMPURE_CRATES.contains(&first) || is_clock || is_net || is_file).then(|| format!("`{written}`"))
}

/// Addresses are values; all else in `std::net` does I/O.
fn is_address(path: &Path) -> bool {
    let plain = ["IpAddr", "Ipv4Addr", "Ipv6Addr", "AddrParseError", "SocketAddr"];
    path.segments.get(2).is_some_and(|name| plain.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::check_source;

    fn messages(path: &str, code: &str) -> Vec<String> {
        check_source(path, &format!("//! x\n{code}\n")).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_core_does_no_io_and_reads_no_clock() {
        let uses = [
            "use tokio::sync::mpsc;",
            "use std::{fs, fmt};",
            "use std::net::{IpAddr, UdpSocket};",
            "use std::time::Instant;",
            "fn f(t: std::time::SystemTime) {}",
            "use sqlx::Row;",
            "use aya::Pod;",
        ];
        for code in uses {
            assert_eq!(messages("nta-daemon/src/window/bucket.rs", code).len(), 1, "{code}");
            assert!(messages("nta-daemon/src/source/replay/pcap.rs", code).is_empty(), "{code}");
        }
        let pure = "use std::net::{IpAddr, Ipv4Addr};\nuse std::time::Duration;\nuse std::collections::HashMap;";
        assert!(messages("nta-daemon/src/domain/flow.rs", pure).is_empty());
    }

    #[test]
    fn the_core_imports_only_downward() {
        let said = messages("nta-daemon/src/window/mod.rs", "use crate::detect::Finding;");
        assert_eq!(said, ["nta-daemon/src/window/mod.rs:2: `window` must not know `detect`"]);
        assert!(messages("nta-daemon/src/detect/scan.rs", "use crate::{domain::Flow, window::Snapshot};").is_empty());
        assert_eq!(messages("nta-daemon/src/detect/scan.rs", "use crate::{domain::Flow, config::Detect};").len(), 1);
        assert_eq!(messages("nta-daemon/src/baseline.rs", "use super::features::X;").len(), 1);
        assert_eq!(messages("nta-daemon/src/baseline/ewma.rs", "use super::super::store::X;").len(), 1);
        assert!(messages("nta-daemon/src/baseline/ewma.rs", "use super::quantile::X;").is_empty());
    }

    #[test]
    fn edges_know_the_domain_but_not_each_other() {
        assert!(messages("nta-daemon/src/store/flows.rs", "use crate::domain::Flow;").is_empty());
        assert_eq!(messages("nta-daemon/src/store/flows.rs", "fn f() { crate::api::serve() }").len(), 1);
        assert!(messages("nta-daemon/src/api/routes/flows.rs", "use crate::store::Store;").is_empty());
        assert_eq!(messages("nta-daemon/src/api/mod.rs", "use crate::source::FlowSource;").len(), 1);
        assert!(messages("nta-daemon/src/app.rs", "use crate::{api, source, store};").is_empty());
    }

    #[test]
    fn tests_inside_a_module_may_use_what_they_like() {
        let code = "#[cfg(test)]\nmod tests {\n    use crate::store::Store;\n    use std::fs;\n}";
        assert!(messages("nta-daemon/src/window/mod.rs", code).is_empty());
    }

    #[test]
    fn a_module_without_a_layer_is_named() {
        assert_eq!(messages("nta-daemon/src/util/mod.rs", "").len(), 1);
    }
}
