//! The examples for containers of docs/containers: their configurations, command lines, and what the engines that read them demand.

use std::fs;
use std::path::Path;
use std::process::Command;

use nta_tests::daemon::collect;
use nta_tests::{nats, not_run, root};
use serde_json::Value;
use tempfile::TempDir;

use super::{file, run, utf8};

/// Every YAML file as one JSON list of documents; manifests are held against the schemas of Kubernetes, strictly.
const READ: &str = "
import json, subprocess, sys, yaml
for path in sys.argv[1:]:
    if '/kubernetes/' in path and not path.endswith('kustomization.yaml'):
        subprocess.run([sys.executable, '-m', 'kubernetes_validate', '--strict', '--quiet', path], check=True, stdout=sys.stderr)
print(json.dumps([document for path in sys.argv[1:] for document in yaml.safe_load_all(open(path))]))
";

/// Certificate, key, authority and credentials where the examples have them; false where there is no openssl.
fn secrets(folder: &Path) -> bool {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=nta.example.org"]);
    openssl.args(["-keyout", "key.pem", "-out", "cert.pem"]).current_dir(folder);
    if !openssl.output().is_ok_and(|done| done.status.success()) {
        return false;
    }
    for (from, to) in [("cert.pem", "ca.pem"), ("cert.pem", "tls.crt"), ("key.pem", "tls.key")] {
        fs::copy(folder.join(from), folder.join(to)).expect("copied");
    }
    fs::write(folder.join("nats"), "gw-paris:secret\n").is_ok()
}

/// An example, its secrets in this folder.
fn example(name: &str, secrets: &Path) -> String {
    let text = fs::read_to_string(root().join("docs/containers").join(name)).expect("an example");
    let folders = ["/run/secrets/nta/", "/run/secrets/nats/", "/run/secrets/"];
    folders.iter().fold(text, |text, folder| text.replace(folder, &format!("{}/", utf8(secrets))))
}

#[test]
fn the_configurations_for_containers_can_be_used() {
    let folder = TempDir::new().expect("a folder");
    if !secrets(folder.path()) {
        return not_run("the_configurations_for_containers_can_be_used", "openssl makes no certificate");
    }
    for name in ["sensor/nta.toml", "centre/nta.toml", "kubernetes/sensor.toml", "kubernetes/centre.toml"] {
        let path = file(&folder, &example(name, folder.path()));
        let checked = run(&["check-config", "--config", utf8(&path)], &[("NTA_SENSOR_NAME", "gw-paris")]);
        assert_eq!(checked.status, Some(0), "{name}: {}", checked.stderr);
    }
    let Some(server) = nats::program("the_configurations_for_containers_can_be_used") else { return };
    for name in ["centre/nats.conf", "kubernetes/nats.conf"] {
        let path = folder.path().join("nats.conf");
        fs::write(&path, example(name, folder.path())).expect("written");
        let mut check = Command::new(&server);
        check.arg("-t").arg("-c").arg(&path);
        check.envs([("GW_PARIS", "a-secret"), ("SENSORS", "a-secret"), ("CENTRE", "another"), ("POD", "nats-0")]);
        let checked = collect(check, &[]);
        assert_eq!(checked.status, Some(0), "{name}: {}", checked.stderr);
    }
}

#[test]
fn manifests_pass_the_schemas_and_their_commands_are_ours() {
    let test = "manifests_pass_the_schemas_and_their_commands_are_ours";
    let python = root().join(".tools/python/bin/python");
    if !python.exists() {
        return not_run(test, "there are no tools to read them with: cargo xtask setup");
    }
    let folder = root().join("docs/containers");
    let names =
        ["sensor/compose.yaml", "centre/compose.yaml", "kubernetes/kustomization.yaml", "kubernetes/namespace.yaml"];
    let names = names.iter().chain(&["kubernetes/sensor.yaml", "kubernetes/centre.yaml"]);
    let mut read = Command::new(python);
    read.args(["-c", READ]).args(names.map(|name| folder.join(name)));
    let read = collect(read, &[]);
    assert_eq!(read.status, Some(0), "{}", read.stderr);
    let documents: Value = serde_json::from_slice(&read.stdout).expect("JSON");
    let mut commands = Vec::new();
    ours(&documents, &mut commands);
    assert_eq!(commands.len(), 5, "two sensors, two collectors and one that serves: {documents}");
    for command in commands {
        // What comes before --help is read first, and refused where it is unknown.
        let words: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let said = run(&words, &[]);
        assert_eq!(said.status, Some(0), "{command:?}: {}", said.stderr);
    }
}

/// The command lines of every container of our image.
fn ours(value: &Value, commands: &mut Vec<Vec<String>>) {
    if value["image"] == "nta" {
        let words = value.get("args").or(value.get("command")).and_then(Value::as_array).expect("a command");
        commands.push(words.iter().map(|word| word.as_str().expect("a word").to_owned()).collect());
        let variables = value.get("env").or(value.get("environment"));
        let variables = variables.map(Value::to_string).unwrap_or_default();
        assert!(variables.contains("NTA_SENSOR_NAME") || variables.contains("NTA_DATABASE"), "{value}");
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| ours(item, commands)),
        Value::Object(members) => members.values().for_each(|item| ours(item, commands)),
        _ => {}
    }
}
