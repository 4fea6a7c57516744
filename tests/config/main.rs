//! Configuration from outside: what `check-config`, `print-config` and `run` make of files, flags and the environment.

mod backup;
mod containers;
mod installed;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nta_tests::daemon::{Run, collect, daemon};
use tempfile::TempDir;

/// Runs the daemon with only these `NTA_*` variables.
fn run(args: &[&str], variables: &[(&str, &str)]) -> Run {
    let mut command = Command::new(daemon());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NTA_") {
            command.env_remove(name);
        }
    }
    collect(
        {
            command.args(args).envs(variables.iter().copied());
            command
        },
        &[],
    )
}

fn file(folder: &TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("nta.toml");
    fs::write(&path, text).expect("a file");
    path
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn check_config_refuses_what_run_refuses() {
    let folder = TempDir::new().expect("a folder");
    for (text, said) in [
        ("[capture]\nattach = \"bogus\"\n", "bogus"),
        ("[capture]\ntcx_order = \"middle\"\n", "middle"),
        ("[capture]\ninterfaces = [\"no/interface\"]\n", "no/interface"),
        ("[capture]\npin = true\npin_path = \"relative\"\n", "absolute path"),
        ("[store]\ndatabase = \"mysql://x\"\n", "mysql"),
        ("[store]\ndatabase = \"postgres://nta@db/nta?foo=1\"\n", "no option `foo`"),
        ("[store]\nmax_bytes = 1\n", "at least 4194304"),
        ("[windows]\nseconds = 301\n", "windows.seconds"),
        ("[capture]\ninterfaces = [\"!?*\"]\n", "!?*"),
        ("[capture]\ninterfaces = [\"eth0\", \"!e*\"]\n", "eth0"),
        ("[sensor]\nname = \"with blank\"\n", "with blank"),
        ("[detect.beaconing]\nmax_deviation = nan\n", "max_deviation"),
        ("[capture\n", ":1: "),
        ("[store]\ndatabase = \"sqlite:/dev/null\"\n", "is no regular file, but a device"),
        ("[store]\ndatabase = \"sqlite:/dev\"\n", "is no regular file, but a directory"),
        ("[store]\ndatabase = \"sqlite:nta\\u0000.db\"\n", "NUL"),
        ("[store]\ndatabase = \"sqlite:nta%00.db\"\n", "NUL"),
        ("[model]\npath = \"/dev/zero\"\n", "is no regular file, but a device"),
        ("[model]\nforest = \"/dev/zero\"\n", "is no regular file, but a device"),
        ("[model]\nforest = \"for\\u0000est\"\n", "NUL"),
    ] {
        let path = file(&folder, text);
        let check = run(&["check-config", "--config", utf8(&path)], &[]);
        let live = run(&["run", "--dry-run", "--config", utf8(&path)], &[]);
        assert!(check.is_refused() && check.stderr.contains(said), "{text}: {check:?}");
        assert_eq!((check.status, &check.stderr), (live.status, &live.stderr), "{text}");
    }
    for (variable, value) in
        [("NTA_ATTACH", "bogus"), ("NTA_DATABASE", "mysql"), ("NTA_WINDOW", "0"), ("NTA_INTERFACE", "no/interface")]
    {
        let check = run(&["check-config"], &[(variable, value)]);
        let live = run(&["run", "--dry-run"], &[(variable, value)]);
        assert_eq!((check.status, live.status), (Some(2), Some(2)), "{variable}: {check:?} {live:?}");
        assert!(check.stderr.contains(value) && live.stderr.contains(value), "{variable}: {check:?} {live:?}");
    }
}

/// An interface may come later: `run` waits for it, a dry run cannot.
#[test]
fn an_interface_that_is_not_there_is_said_by_check_config_and_refused_by_a_dry_run() {
    let folder = TempDir::new().expect("a folder");
    let path = file(&folder, "[capture]\ninterfaces = [\"nosuch0\"]\n");
    let check = run(&["check-config", "--config", utf8(&path)], &[]);
    assert!(check.status == Some(0) && check.stderr.contains("nosuch0"), "{check:?}");
    assert!(check.stderr.contains("warning: ") && check.stderr.contains("`run` waits"), "{check:?}");
    let dry = run(&["run", "--dry-run", "--config", utf8(&path)], &[]);
    assert!(dry.is_refused() && dry.stderr.contains("nosuch0"), "{dry:?}");
    let flag = run(&["check-config", "-i", "nosuch0"], &[]);
    assert!(flag.status == Some(0) && flag.stderr.contains("nosuch0"), "{flag:?}");
}

#[test]
fn folders_that_would_be_made_are_named_and_nothing_is_made_by_looking() {
    let folder = TempDir::new().expect("a folder");
    let database = format!("sqlite:{}/a/b/c.db", folder.path().display());
    let check = run(&["check-config", "--database", &database], &[]);
    let said = format!("the folder {}/a/b is not there: `run` makes it", folder.path().display());
    assert!(check.status == Some(0) && check.stderr.contains(&said), "{check:?}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "it only looked");
    let capture = nta_tests::cases().join("port-scan/input.pcap");
    let stored = run(&["replay", "--database", &database, utf8(&capture)], &[]);
    assert!(
        stored.status == Some(0) && stored.stderr.contains("a/b") && stored.stderr.contains("was made"),
        "{stored:?}"
    );
    // What is no file is not written to, and nothing is left beside it.
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let refused = run(&["replay", "--database", &format!("sqlite:{}", pipe.display()), utf8(&capture)], &[]);
    assert!(matches!(refused.status, Some(1 | 2)) && refused.stderr.contains("but a pipe"), "{refused:?}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "the pipe, and the folder of before");
}

#[test]
fn a_window_of_no_length_is_refused_in_the_same_words_wherever_it_stands() {
    let folder = TempDir::new().expect("a folder");
    let path = file(&folder, "[windows]\nseconds = 0\n");
    let in_file = run(&["check-config", "--config", utf8(&path)], &[]).stderr;
    let said = in_file.split("nta.toml:").nth(1).and_then(|rest| rest.split_once(": ")).expect("a place").1;
    let capture = nta_tests::cases().join("port-scan/input.pcap");
    for args in [
        &["run", "--window", "0"][..],
        &["check-config", "--window", "0"],
        &["replay", utf8(&capture), "--window", "0"],
    ] {
        let refused = run(args, &[]);
        assert!(refused.is_refused() && refused.stderr.ends_with(said), "{refused:?}, not {said}");
    }
}

#[test]
fn flow_maps_larger_than_the_memory_are_warned_of() {
    let folder = TempDir::new().expect("a folder");
    let meminfo = fs::read_to_string("/proc/meminfo").expect("meminfo");
    let kib = meminfo.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("MemTotal");
    for (mib, warns) in [(65_536, kib / 1024 < 65_536), (64, false)] {
        let path = file(&folder, &format!("[capture]\nmap_memory_mib = {mib}\n"));
        let check = run(&["check-config", "--config", utf8(&path)], &[]);
        assert_eq!(check.status, Some(0), "{check:?}");
        assert_eq!(check.stderr.contains("nta.toml:2: capture.map_memory_mib"), warns, "{check:?}");
    }
}

#[test]
fn what_print_config_prints_reads_back_the_same() {
    let folder = TempDir::new().expect("a folder");
    let text = "[capture]\ninterfaces = [\"eth*\", \"!docker*\"]\npin_path = \"/sys/\\u007f\\\"\\\\\\n\"\n\
                [store]\ndatabase = \"postgres://nta:pass%7F@db/nta\"\n";
    let first = run(&["print-config", "--config", utf8(&file(&folder, text))], &[]);
    assert_eq!(first.status, Some(0), "{first:?}");
    let printed = String::from_utf8(first.stdout).expect("UTF-8");
    let path = file(&folder, &printed);
    assert_eq!(run(&["check-config", "--config", utf8(&path)], &[]).status, Some(0), "{printed}");
    let second = run(&["print-config", "--config", utf8(&path)], &[]);
    assert_eq!(String::from_utf8_lossy(&second.stdout), printed);
    assert!(printed.contains("!docker*") && printed.contains("postgres://nta@db/nta"), "{printed}");
    assert!(!printed.contains("pass%7F") && printed.contains("PGPASSWORD"), "{printed}");
}

#[test]
fn print_config_prints_what_the_environment_says() {
    let printed = run(&["print-config", "--attach", "tcx"], &[("NTA_WINDOW", "7"), ("NTA_INTERFACE", "a,b")]);
    let printed = String::from_utf8(printed.stdout).expect("UTF-8");
    for line in ["seconds = 7\n", "attach = \"tcx\"\n", "interfaces = [\"a\", \"b\"]\n"] {
        assert!(printed.contains(line), "{line}{printed}");
    }
}

#[test]
fn a_variable_that_nothing_reads_is_said_with_the_nearest_one() {
    let run = run(&["check-config"], &[("NTA_INTERFACES", "lo"), ("NTA_BENCH_ROWS", "x"), ("NTA_WINDOW", "5")]);
    assert_eq!(run.status, Some(0), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    assert!(run.stderr.contains("NTA_INTERFACES") && run.stderr.contains("did you mean NTA_INTERFACE?"), "{run:?}");
}

#[test]
fn a_refused_value_names_the_variable_that_it_comes_from() {
    let capture = nta_tests::cases().join("port-scan/input.pcap");
    for (args, variable) in [
        (&["run"][..], "NTA_WINDOW"),
        (&["replay", utf8(&capture)], "NTA_WINDOW"),
        (&["check-config"], "NTA_LISTEN"),
        (&["replay", utf8(&capture)], "NTA_SPEED"),
        (&["run"], "NTA_ATTACH"),
    ] {
        let refused = run(args, &[(variable, "abc")]);
        assert!(refused.status == Some(2) && refused.stderr.contains(variable), "{args:?}: {refused:?}");
    }
    let refused = run(&["check-config", "--window", "abc"], &[("NTA_WINDOW", "5")]);
    assert!(refused.status == Some(2) && !refused.stderr.contains("NTA_WINDOW"), "{refused:?}");
}

#[test]
fn a_database_url_without_a_user_is_refused_where_nothing_else_names_one() {
    let check = |url: &str, variables: &[(&str, &str)]| {
        let mut command = Command::new(daemon());
        command.env_clear().args(["check-config", "--database", url]).envs(variables.iter().copied());
        collect(command, &[])
    };
    let refused = check("postgres:///nta?host=/run/postgresql", &[]);
    assert!(refused.status == Some(2) && refused.stderr.contains("names no user"), "{refused:?}");
    for (url, variables) in [
        ("postgres:///nta?host=/run/postgresql", &[("PGUSER", "nta")][..]),
        ("postgres:///nta?host=/run/postgresql&user=nta", &[]),
        ("postgres://nta@db/nta", &[]),
    ] {
        let taken = check(url, variables);
        assert_eq!(taken.status, Some(0), "{url}: {taken:?}");
    }
}

#[test]
fn check_config_names_every_error_with_its_line() {
    let folder = TempDir::new().expect("a folder");
    let path = file(&folder, "[windows]\nseconds = 301\n[detect.port_scan]\nmin_failed_share = 1.5\nmin_port = 3\n");
    let check = run(&["check-config", "--config", utf8(&path)], &[]);
    let lines: Vec<&str> = check.stderr.lines().collect();
    assert_eq!((check.status, lines.len()), (Some(2), 3), "{check:?}");
    for (line, (number, said)) in lines.iter().zip([
        (2, "windows.seconds is 301: expected from 1 to 300"),
        (4, "detect.port_scan.min_failed_share is 1.5: expected from 0 to 1"),
        (5, "did you mean `min_ports`?"),
    ]) {
        assert!(line.contains(&format!("{}:{number}: ", path.display())) && line.contains(said), "{line}");
    }
}

#[test]
fn check_config_says_which_model_cannot_be_used() {
    let folder = TempDir::new().expect("a folder");
    for (key, other) in [("path", ""), ("forest", "enabled = false\n")] {
        let path = file(&folder, &format!("[model]\n{other}{key} = \"/nowhere/model.json\"\n"));
        let check = run(&["check-config", "--config", utf8(&path)], &[]);
        let line = 2 + other.lines().count();
        let said = format!("{}:{line}: model.{key}: ", path.display());
        assert!(check.is_refused() && check.stderr.contains(&said), "{check:?}");
        assert!(check.stderr.contains("/nowhere/model.json"), "{check:?}");
    }
    let path = file(&folder, "[model]\nenabled = false\npath = \"/nowhere/model.json\"\n");
    assert_eq!(run(&["check-config", "--config", utf8(&path)], &[]).status, Some(0));
}

#[test]
fn check_config_warns_of_a_listener_that_others_reach() {
    let folder = TempDir::new().expect("a folder");
    let refused = file(&folder, "[api]\nlisten = \"0.0.0.0:5000\"\n");
    // Without TLS it is refused, by both, with what to do.
    for (command, flags) in [("check-config", &[][..]), ("run", &[]), ("check-config", &["--listen", "192.0.2.1:80"])] {
        let args = [&[command, "--config", utf8(&refused)], flags].concat();
        let said = run(&args, &[]);
        assert_eq!(said.status, Some(2), "{said:?}");
        for word in ["api.listen is ", "api.tls_cert", "api.insecure", "ssh -L"] {
            assert!(said.stderr.contains(word), "{word}: {said:?}");
        }
    }
    let half = file(&folder, "[api]\ntls_key = \"/etc/nta/key.pem\"\n");
    let half = run(&["check-config", "--config", utf8(&half)], &[]);
    assert!(half.status == Some(2) && half.stderr.contains("api.tls_cert beside it"), "{half:?}");
    let absent = "[api]\nlisten = \"0.0.0.0:5000\"\ntls_cert = \"/nowhere/cert.pem\"\ntls_key = \"/nowhere/key.pem\"\n";
    let absent = file(&folder, absent);
    let absent = run(&["check-config", "--config", utf8(&absent)], &[]);
    assert!(absent.status == Some(2) && absent.stderr.contains(":3: api.tls_cert: /nowhere/cert.pem"), "{absent:?}");
    let almost = file(&folder, "[api]\ninsecure = \"yes\"\n");
    let almost = run(&["check-config", "--config", utf8(&almost)], &[]);
    assert!(almost.status == Some(2) && almost.stderr.contains("expected \"i understand\""), "{almost:?}");
    let path = file(&folder, "[api]\nlisten = \"0.0.0.0:5000\"\ninsecure = \"i understand\"\n");
    let check = run(&["check-config", "--config", utf8(&path)], &[]);
    assert_eq!((check.status, check.stderr.lines().count()), (Some(0), 1), "{check:?}");
    let said = format!("warning: {}:2: api.listen: 0.0.0.0:5000", path.display());
    assert!(check.stderr.contains(&said) && check.stderr.contains("while no token was made"), "{check:?}");
    // A flag stands above the file, and so does not stand in it.
    let flag = run(&["check-config", "--config", utf8(&path), "--listen", "192.0.2.1:80"], &[]);
    assert!(flag.stderr.contains("warning: api.listen: 192.0.2.1:80"), "{flag:?}");
    let loopback = run(&["check-config", "--config", utf8(&path), "--listen", "127.0.0.1:80"], &[]);
    assert!(loopback.status == Some(0) && loopback.stderr.is_empty(), "{loopback:?}");
}

#[test]
fn check_config_warns_of_a_listener_also_while_something_else_is_wrong() {
    let folder = TempDir::new().expect("a folder");
    let path = file(
        &folder,
        "[api]\nlisten = \"0.0.0.0:5000\"\ninsecure = \"i understand\"\n[windows]\nsecond = 5\n[model]\npath = \"/nowhere/model.json\"\n",
    );
    let check = run(&["check-config", "--config", utf8(&path)], &[]);
    let at = |line: u32, said: &str| format!("{}:{line}: {said}", path.display());
    assert!(check.status == Some(2) && check.stderr.contains(&at(5, "there is no `second` in [windows]")), "{check:?}");
    assert!(
        check.stderr.contains(&at(2, "api.listen: 0.0.0.0:5000 is reached from other machines: while no token")),
        "{check:?}"
    );
    assert!(check.stderr.contains(&at(7, "model.path: ")), "{check:?}");
    let flag = run(&["check-config", "--config", utf8(&path), "--listen", "127.0.0.1:80"], &[]);
    assert!(flag.status == Some(2) && !flag.stderr.contains("api.listen"), "{flag:?}");
}

#[test]
fn a_password_is_printed_nowhere() {
    let folder = TempDir::new().expect("a folder");
    let good = "postgres://nta:hunter2@127.0.0.1:1/nta?password=hunter2";
    let path = file(&folder, &format!("[store]\ndatabase = \"{good}\"\n"));
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/port_scan-hit/input.pcap");
    for args in [
        &["print-config", "--config", utf8(&path)] as &[&str],
        &["check-config", "--config", utf8(&path)],
        &["replay", "--database", good, capture],
        &["check-config", "--database", "mysql://nta:hunter2@db/nta"],
        &["replay", "--database", "mysql://nta:hunter2@db/nta", capture],
        &["run", "--dry-run", "--database", "mysql:hunter2"],
    ] {
        let done = run(args, &[]);
        let printed = String::from_utf8_lossy(&done.stdout).into_owned() + &done.stderr;
        assert!(!printed.is_empty() && !printed.contains("hunter2"), "{args:?}: {printed}");
    }
    for args in [["run", "--help"], ["replay", "--help"], ["check-config", "--help"]] {
        let done = run(&args, &[("NTA_DATABASE", good)]);
        assert!(!String::from_utf8_lossy(&done.stdout).contains("hunter2"), "{args:?}");
    }
}
