//! `tokens` on a database of its own, as an operator calls it.

use serde_json::Value;
use tempfile::TempDir;

/// Exit status, standard output and standard error.
#[derive(Debug)]
struct Run {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_token_is_made_listed_and_revoked() {
    let folder = TempDir::new().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("nta.db").display());
    let tokens = |args: &[&str]| {
        let run = super::run(&[&["tokens"], args].concat(), &[("NTA_DATABASE", &database)]);
        Run { status: run.status, stdout: String::from_utf8(run.stdout).expect("text"), stderr: run.stderr }
    };

    let made = tokens(&["create", "--role", "admin"]);
    assert_eq!(made.status, Some(0), "{made:?}");
    let secret = made.stdout.trim();
    assert!(secret.starts_with("nta_") && secret.len() == 47, "the token alone, for scripts: {made:?}");
    assert!(made.stderr.contains("`admin-1`") && !made.stderr.contains(secret), "{made:?}");
    let other = tokens(&[
        "create",
        "--role",
        "viewer",
        "--name",
        "mira",
        "--expires",
        "30d",
        "--scope",
        "eth0,eth1",
        "--format",
        "json",
    ]);
    let other = parse(&other.stdout);
    assert_eq!(
        (&other["name"], &other["role"], &other["scope"][1]),
        (&"mira".into(), &"viewer".into(), &"eth1".into())
    );
    assert!(other["token"].as_str().is_some_and(|token| token.starts_with("nta_") && token != secret), "{other}");
    assert!(other["expires"].is_string(), "{other}");

    let absent = tokens(&["create", "--role", "viewer", "--name", "later", "--interface", "lo,nosuch0"]);
    assert_eq!(absent.status, Some(0), "it may come: {absent:?}");
    assert!(
        absent.stderr.contains("no interface nosuch0") && !absent.stderr.contains("no interface lo "),
        "{absent:?}"
    );
    for (args, said) in [
        (&["create", "--role", "root"][..], "viewer, operator, admin, sensor"),
        (&["create", "--role", "viewer", "--name", "mira"], "another token has this name"),
        (&["create", "--role", "viewer", "--name", "a b"], "1 to 64 letters"),
        (&["create", "--role", "viewer", "--expires", "yesterday"], "90m, 12h or 30d"),
        (&["create", "--role", "viewer", "--scope", "../eth0"], "name of an interface"),
        (&["revoke", "nobody"], "there is no token `nobody`"),
        (&["list", "--database", "mysql://x"], "--database"),
    ] {
        let refused = tokens(args);
        assert_eq!(refused.status, Some(2), "{args:?}: {refused:?}");
        assert!(refused.stderr.contains(said), "{args:?}: {refused:?}");
    }
    let revoked = tokens(&["revoke", "mira"]);
    assert_eq!((revoked.status, revoked.stdout.as_str()), (Some(0), "token 2, `mira`, is revoked\n"));
    let list = tokens(&["list"]);
    let lines: Vec<Vec<&str>> = list.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1][..5], ["1", "admin-1", "admin", "all", "holds"], "{list:?}");
    assert_eq!(lines[2][..5], ["2", "mira", "viewer", "eth0,eth1", "revoked"], "{list:?}");
    let list = parse(&tokens(&["list", "--format", "json"]).stdout);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(3));
    assert!(!list.to_string().contains("nta_") && !list.to_string().contains("hash"), "{list}");
}
