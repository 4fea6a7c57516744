//! `backup` as an operator calls it.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

#[test]
fn a_backup_opens_as_a_database_and_what_cannot_be_copied_is_said() {
    let folder = TempDir::new().expect("a folder");
    let database = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let copy = folder.path().join("copy.db");
    let file = copy.to_str().expect("a path");
    let run = |args: &[&str], name: &str| {
        let run = super::run(args, &[("NTA_DATABASE", &database(name))]);
        (run.status, String::from_utf8(run.stdout).expect("text"), run.stderr)
    };
    let made = run(&["tokens", "create", "--role", "viewer", "--name", "mira"], "nta.db");
    assert_eq!(made.0, Some(0), "{made:?}");
    let (status, out, err) = run(&["backup", file, "--format", "json"], "nta.db");
    assert_eq!(status, Some(0), "{err}");
    let said: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&said["file"], &said["tables"]["api_tokens"]), (&file.into(), &1.into()), "{said}");
    assert_eq!(said["bytes"].as_u64(), Some(copy.metadata().expect("there").len()));
    let listed = run(&["tokens", "list"], "copy.db");
    assert!(listed.1.contains("mira"), "{listed:?}");

    let again = run(&["backup", file], "nta.db");
    assert!(again.0 == Some(2) && again.2.contains("--force"), "{again:?}");
    assert_eq!(run(&["backup", file, "--force"], "nta.db").0, Some(0));
    let absent = run(&["backup", file, "--force"], "absent.db");
    assert!(absent.0 == Some(2) && absent.2.contains("no such database"), "{absent:?}");
    assert!(!Path::new(&folder.path().join("absent.db")).exists(), "asking for it does not make it");
    let server = super::run(&["backup", "a b.dump", "--database", "postgres://nta:secret@db/nta"], &[]);
    let dump = "pg_dump --format=custom --file='a b.dump' 'postgres://nta@db/nta'";
    assert!(server.status == Some(2) && server.stderr.contains(dump), "{server:?}");
    assert!(!server.stderr.contains("secret"), "{server:?}");
}
