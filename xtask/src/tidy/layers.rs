//! Which module of the daemon may know which. What `nta-core` and `nta-capture` may know, the compiler holds.

use super::Finding;
use super::paths::{self, Path};
use super::source::Source;

/// The edges, each with the modules that it may know; each keeps its own settings in `config`.
const EDGES: &[(&str, &[&str])] = &[
    ("source", &["config"]),
    ("xgboost", &[]),
    ("json", &[]),
    ("export", &["anonymize", "json"]),
    ("anonymize", &[]),
    ("archive", &[]),
    ("dashboard", &[]),
    ("descriptors", &[]),
    ("telemetry", &[]),
    ("store", &["config", "private"]),
    ("private", &[]),
    ("room", &[]),
    ("recording", &["config", "private", "source"]),
    ("results", &["config", "private", "room", "store"]),
    ("sink", &["config", "export", "json", "pipeline", "store"]),
    ("report", &["json", "replay"]),
    (
        "api",
        &[
            "anonymize",
            "archive",
            "dashboard",
            "capture",
            "collector",
            "config",
            "descriptors",
            "export",
            "jobs",
            "json",
            "model_loader",
            "pipeline",
            "recording",
            "report",
            "results",
            "sink",
            "source",
            "store",
            "telemetry",
            "uploads",
        ],
    ),
];

/// What joins the others and may know them all.
const TOP: &[&str] = &[
    "main",
    "lib",
    "cli",
    "app",
    "capture",
    "collector",
    "history",
    "pipeline",
    "jobs",
    "batch",
    "model_loader",
    "replay",
    "train",
    "uploads",
    "config",
    "service",
];

/// All rules about layers for one file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let Some(module) = Module::of(&source.path) else {
        return Vec::new();
    };
    if TOP.contains(&module.name) {
        return Vec::new();
    }
    let Some((_, known)) = EDGES.iter().find(|(name, _)| *name == module.name) else {
        let message = format!("module `{}` has no layer; give it one in xtask/src/tidy/layers.rs", module.name);
        return vec![Finding::error(&source.path, 1, message)];
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
    EDGES.iter().any(|(module, _)| *module == name) || TOP.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::super::check_source;

    fn messages(path: &str, code: &str) -> Vec<String> {
        check_source(path, &format!("//! x\n{code}\n")).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn edges_do_not_know_each_other() {
        assert_eq!(messages("nta-daemon/src/store/flows.rs", "fn f() { crate::api::serve() }").len(), 1);
        let said = messages("nta-daemon/src/source/mod.rs", "use super::store::Store;");
        assert_eq!(said, ["nta-daemon/src/source/mod.rs:2: `source` must not know `store`"]);
        assert!(messages("nta-daemon/src/api/routes/flows.rs", "use crate::store::Store;").is_empty());
        assert_eq!(messages("nta-daemon/src/json/mod.rs", "use crate::source::FlowSource;").len(), 1);
        assert!(messages("nta-daemon/src/app.rs", "use crate::{api, source, store};").is_empty());
    }

    #[test]
    fn a_module_without_a_layer_is_an_error() {
        assert_eq!(messages("nta-daemon/src/util/mod.rs", "").len(), 1);
    }
}
