//! Clients that are generated from the document: compiled, and used.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nta_tests::root;
use nta_tests::served::Served;

use super::{admin, served, succeed, tools};

/// What both programs do: they change the alert, and print its identity.
fn is_done(served: &Served, printed: &[u8], status: &str) {
    let id = String::from_utf8_lossy(printed).trim().to_owned();
    let alert = served.get(&format!("/api/alerts/{id}"));
    assert_eq!(alert["status"], status, "{alert}");
}

fn take(folder: &Path, name: &str) {
    fs::copy(root().join("tests/openapi").join(name), folder.join(name)).expect("copy");
}

#[test]
fn a_client_in_typescript_compiles_and_works() {
    let Some(tools) = tools("a_client_in_typescript_compiles_and_works") else { return };
    let (folder, served) = served();
    let (folder, modules) = (folder.path(), tools.join("node/node_modules"));
    symlink(&modules, folder.join("node_modules")).expect("link");
    fs::write(folder.join("package.json"), r#"{"type": "module"}"#).expect("a module");
    take(folder, "client.ts");
    succeed(folder, &modules.join(".bin/openapi-typescript"), &["openapi.json", "-o", "schema.d.ts"]);
    let strict = ["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2023,dom", "client.ts"];
    succeed(folder, &modules.join(".bin/tsc"), &strict);
    let run = succeed(folder, Path::new("node"), &["client.js", &format!("http://{}", served.address)]);
    is_done(&served, &run.stdout, "acknowledged");
}

#[test]
fn a_client_in_python_passes_mypy_and_works() {
    let Some(tools) = tools("a_client_in_python_passes_mypy_and_works") else { return };
    let (folder, served) = served();
    let (folder, bin) = (folder.path(), tools.join("python/bin"));
    // Its formatter is not needed; the exposition of Prometheus is text, and packets are bytes.
    let settings = "post_hooks: []\ncontent_type_overrides:\n  application/openmetrics-text: text/plain\n  \
                    application/vnd.tcpdump.pcap: application/octet-stream\n";
    fs::write(folder.join("settings.yaml"), settings).expect("settings");
    take(folder, "client.py");
    let args = ["generate", "--path", "openapi.json", "--output-path", "nta_client", "--meta", "none"];
    let strict = ["--config", "settings.yaml", "--fail-on-warning"];
    succeed(folder, &bin.join("openapi-python-client"), &[&args[..], &strict].concat());
    succeed(folder, &bin.join("mypy"), &["--strict", "client.py"]);
    let token = admin(folder, &served);
    let run = succeed(folder, &bin.join("python"), &["client.py", &format!("http://{}", served.address), &token]);
    assert!(!String::from_utf8_lossy(&run.stdout).trim().is_empty(), "it says which alert it resolved");
}
