//! What the core depends on: nothing that waits, does I/O or binds a C library. The compiler keeps it from using what is not
//! in this list.

use std::process::Command;

/// Runtimes, databases, servers, the kernel's interface; and what binds the C library or another one.
const OUTSIDE: &[&str] = &[
    "async-std",
    "aya",
    "axum",
    "hyper",
    "libc",
    "libsqlite3",
    "mio",
    "nix",
    "reqwest",
    "rustix",
    "socket2",
    "sqlx",
    "tokio",
    "tungstenite",
    "xgb",
];

/// What a process keeps beside its values: two runs in one would share it.
#[test]
fn the_core_has_no_static_state() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            for (number, line) in std::fs::read_to_string(&path).expect("text").lines().enumerate() {
                // A static table that nothing changes is a constant.
                let item = line.trim_start();
                let is_static = ["static ", "pub static ", "pub(super) static ", "pub(crate) static "]
                    .iter()
                    .any(|start| item.starts_with(start));
                let changes = ["mut ", "Mutex", "RwLock", "Atomic", "Cell", "Once", "Lazy"];
                let is_state = is_static && changes.iter().any(|change| line.contains(change));
                assert!(!is_state && !line.contains("thread_local!"), "{}:{}: {line}", path.display(), number + 1);
            }
        }
    }
    assert!(files > 50, "only {files} files were read");
}

#[test]
fn the_core_depends_on_nothing_of_the_outside_world() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "tree",
        "--package",
        "nta-core",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--offline",
        "--format",
        "{p}",
    ]);
    let tree = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo starts");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("text");
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"nta-common") && names.contains(&"serde"), "this is no tree of the core:\n{tree}");
    let is_outside = |name: &&&str| {
        name.ends_with("-sys")
            || OUTSIDE.iter().any(|outside| *name == outside || name.starts_with(&format!("{outside}-")))
    };
    let found: Vec<&&str> = names.iter().filter(is_outside).collect();
    assert!(found.is_empty(), "{found:?} in\n{tree}");
}
