//! The document is valid, and what the daemon answers is what it says.

use nta_tests::root;

use super::{made, served, succeed, succeed_with, tools};

#[test]
fn validators_have_nothing_to_say() {
    let Some(tools) = tools("validators_have_nothing_to_say") else { return };
    let (folder, _served) = served();
    succeed(folder.path(), &tools.join("python/bin/openapi-spec-validator"), &["openapi.json"]);
    let redocly = tools.join("node/node_modules/.bin/redocly");
    // What becomes a WebSocket answers 101.
    let args = ["lint", "--format", "json", "--skip-rule", "operation-2xx-response", "openapi.json"];
    let said = succeed(folder.path(), &redocly, &args);
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!(said["totals"], serde_json::json!({"errors": 0, "warnings": 0, "ignored": 0}), "{said}");
}

/// Schemathesis makes requests that fit the document and such as do not, by each operation and along the links from one to the next. No
/// answer may be a fault of the server, or one that the document does not describe; what does not fit has to be refused; and the role
/// decides, see `roles.py`. It may not demand that all that fits is taken: that a cursor comes from the same list, or `from` is before
/// `to`, no schema says. A stream of events has no end: it is closed behind its first message.
#[expect(clippy::print_stdout, reason = "how much was tried")]
fn asks_as(role: &str, test: &str) {
    let Some(tools) = tools(test) else { return };
    let (folder, served) = served();
    let token = if role == "nobody" { "" } else { role };
    // Where nobody has one, all may do all.
    let shown = made(folder.path(), &served, if token.is_empty() { "admin" } else { token });
    let header = format!("Authorization: Bearer {shown}");
    let url = format!("http://{}/openapi.json", served.address);
    // `cargo xtask ci` asks for more, and for each bound of each parameter by itself.
    let more = std::env::var("NTA_EXAMPLES").ok();
    let (phases, least) =
        if more.is_some() { ("examples,coverage,fuzzing,stateful", 5_000) } else { ("examples,fuzzing,stateful", 500) };
    std::fs::write(folder.path().join("schemathesis.toml"), "max-stream-events = 1\n").expect("its settings");
    let mut args =
        vec!["run", &url, "--max-examples", more.as_deref().unwrap_or(EXAMPLES), "--phases", phases, "--seed", "1"];
    args.extend(["--exclude-checks", "positive_data_acceptance", "--generation-database", "none"]);
    args.extend(["--continue-on-failure", "--warnings", "off"]);
    if role != "nobody" {
        args.extend(["--header", &header]);
    }
    let hooks = root().join("tests/openapi/roles.py");
    let hooks = hooks.to_str().expect("text");
    let set = [("SCHEMATHESIS_HOOKS", hooks), ("NTA_ROLE", role), ("NTA_TOKEN", &shown), ("NTA_KEPT", "1")];
    let run = succeed_with(folder.path(), &tools.join("python/bin/schemathesis"), &args, &set);
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let cases = said.split(" generated").next().and_then(|text| text.split_whitespace().next_back()?.parse().ok());
    assert!(cases.is_some_and(|cases: u32| cases >= least), "{said}");
    println!("{role}: {} cases", cases.unwrap_or_default());
    assert_eq!(served.get("/health")["status"], "ok");
}

#[test]
fn schemathesis_as_nobody_finds_nothing() {
    asks_as("nobody", "schemathesis_as_nobody_finds_nothing");
}

#[test]
fn schemathesis_as_a_viewer_finds_nothing() {
    asks_as("viewer", "schemathesis_as_a_viewer_finds_nothing");
}

#[test]
fn schemathesis_as_an_operator_finds_nothing() {
    asks_as("operator", "schemathesis_as_an_operator_finds_nothing");
}

#[test]
fn schemathesis_as_an_administrator_finds_nothing() {
    asks_as("admin", "schemathesis_as_an_administrator_finds_nothing");
}

/// For each operation.
const EXAMPLES: &str = "8";
