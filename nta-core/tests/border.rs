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
