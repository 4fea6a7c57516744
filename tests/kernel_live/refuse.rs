//! What cannot be done is refused with one line that says why, and nobody is disturbed by the attempt.

use std::process::{Command, Output};
use std::time::Duration;

use nta_tests::netns::{Namespace, alone, output, wait_for};
use nta_tests::process::Process;
use serde_json::Value;

use crate::attached::{filters, xdp};
use crate::daemon::{Daemon, command, copy, number};
use crate::{Pair, can_run, traffic};

#[test]
fn a_second_daemon_is_refused_at_every_hook_and_the_first_goes_on() {
    const TEST: &str = "a_second_daemon_is_refused_at_every_hook_and_the_first_goes_on";
    if !can_run(TEST, &["tc", "ping"]) {
        return;
    }
    let _alone = alone();
    for hook in ["xdp", "auto", "tc"] {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = Pair::silent();
        let first = Daemon::start(&pair.inside, folder.path(), "v0", hook);
        let (program, count) = (xdp(&pair.inside, "v0"), filters(&pair.inside, "v0"));
        let pid = first.process.id(); // `ip netns exec` becomes the daemon
        for attach in ["auto", "xdp", "xdp-generic", "tcx", "tc"] {
            let (code, line) = refused(&run(&pair.inside, "v0", attach));
            assert_eq!(code, Some(1), "{hook}, {attach}: {line}");
            assert!(line.contains("v0") && line.contains(&format!("pid {pid}")), "{hook}, {attach}: {line}");
        }
        assert!(output(&mut command(&pair.inside, &["doctor"])).status.success(), "doctor asks only");
        assert_eq!((xdp(&pair.inside, "v0"), filters(&pair.inside, "v0")), (program, count), "{hook}: as before");
        counts_pings(&first, &pair);
    }
}

/// `run --dry-run`.
fn run(namespace: &Namespace, interface: &str, attach: &str) -> Output {
    output(&mut command(namespace, &["run", "--dry-run", "--interface", interface, "--attach", attach]))
}

/// Exit status, and the one line that says why.
fn refused(answer: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&answer.stderr).into_owned();
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    assert!(text.starts_with("nta-daemon: "), "{text}");
    (answer.status.code(), text)
}

fn counts_pings(daemon: &Daemon<'_>, pair: &Pair) {
    traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
    daemon.wait_for_window();
    assert_eq!(number(&daemon.status()["ledger"]["total"]["seen"]), 80);
}

#[test]
fn without_the_right_to_it_names_the_capabilities() {
    if !can_run("without_the_right_to_it_names_the_capabilities", &["setpriv"]) {
        return;
    }
    let _alone = alone();
    let pair = Pair::new();
    // Somewhere that nobody may go.
    let folder = tempfile::Builder::new().permissions(readable()).tempdir().expect("a folder");
    let daemon = copy(folder.path());
    let mut command = pair.inside.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&daemon);
    let (code, line) = refused(&output(command.args(["run", "--interface", "v0"])));
    assert_eq!(code, Some(1), "{line}");
    for capability in ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"] {
        assert!(line.contains(capability), "{line}");
    }
    // One that is missing is named, and no verifier's log is shown.
    let mut command = pair.inside.command("setpriv");
    command.args(["--inh-caps", "-perfmon,-sys_admin", "--bounding-set", "-perfmon,-sys_admin"]).arg(&daemon);
    let (code, line) = refused(&output(command.args(["run", "--interface", "v0"])));
    assert!(code == Some(1) && line.contains("(CAP_PERFMON missing)"), "{line}");
}

/// Attaching at clsact leaves its qdisc behind, so that it shows afterwards whether anything was attached.
#[test]
fn what_can_be_refused_is_refused_before_anything_is_attached() {
    if !can_run("what_can_be_refused_is_refused_before_anything_is_attached", &["python3", "tc"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::new();
    let garbage = folder.path().join("garbage.db");
    std::fs::write(&garbage, "no database\n".repeat(1000)).expect("a file");
    let mut taken = pair.inside.command("python3");
    taken.args([
        "-c",
        "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', 6000)); s.listen(); time.sleep(99)",
    ]);
    let mut taken = Process::start(&mut taken, folder.path(), "taken.log");
    taken.wait_listening(6000);
    let database = format!("sqlite:{}", folder.path().join("nta.db").display());
    let unusable = format!("sqlite:{}", garbage.display());
    for (listen, database, said) in
        [("127.0.0.1:6000", &database, "127.0.0.1:6000"), ("127.0.0.1:6001", &unusable, "garbage.db")]
    {
        let arguments = ["run", "--interface", "v0", "--attach", "tc", "--listen", listen, "--database", database];
        let answer = output(&mut command(&pair.inside, &arguments));
        let log = String::from_utf8_lossy(&answer.stderr);
        assert_eq!(answer.status.code(), Some(1), "{log}");
        assert!(log.lines().last().is_some_and(|line| line.contains(said)), "{log}");
    }
    let touched = || pair.inside.run("tc qdisc show dev v0").contains("clsact");
    assert!(!touched(), "something was attached");
    assert!(run(&pair.inside, "v0", "tc").status.success());
    assert!(touched(), "the control: an attachment shows");
}

/// As a user with the right to capture and with none in the folder.
#[test]
fn a_folder_without_permission_is_named_with_the_user_and_what_to_do() {
    const TEST: &str = "a_folder_without_permission_is_named_with_the_user_and_what_to_do";
    if !can_run(TEST, &["setpriv", "tc"]) {
        return;
    }
    let _alone = alone();
    let pair = Pair::new();
    let folder = tempfile::Builder::new().permissions(readable()).tempdir().expect("a folder");
    let daemon = copy(folder.path());
    let capture = folder.path().join("input.pcap");
    std::fs::copy(nta_tests::cases().join("port-scan/input.pcap"), &capture).expect("a copy");
    let [closed, file] = ["closed/nta.db", "nta.db"].map(|name| folder.path().join(name));
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::create_dir(folder.path().join("closed")).expect("a folder");
    std::fs::set_permissions(folder.path().join("closed"), mode(0o700)).expect("closed");
    std::fs::write(&file, "").expect("a file");
    let capabilities = "-all,+bpf,+net_admin,+perfmon";
    for database in [&closed, &file] {
        let url = format!("sqlite:{}", database.display());
        let run = ["run", "--interface", "v0", "--attach", "tc", "--database", &url];
        let replay = ["replay", capture.to_str().expect("a path"), "--database", &url];
        for arguments in [&run[..], &replay] {
            let mut command = pair.inside.command("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", capabilities]);
            command.args(["--ambient-caps", capabilities, "--bounding-set", capabilities]).arg(&daemon);
            let (code, line) = refused(&output(command.args(arguments)));
            assert_eq!(code, Some(1), "{line}");
            for said in [database.to_str().expect("a path"), "Permission denied", "user 65534", "--database"] {
                assert!(line.contains(said), "{said}: {line}");
            }
        }
    }
    assert!(!pair.inside.run("tc qdisc show dev v0").contains("clsact"), "something was attached");
}

fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

#[test]
fn doctor_without_rights_predicts_the_hooks_that_root_sees() {
    if !can_run("doctor_without_rights_predicts_the_hooks_that_root_sees", &["setpriv"]) {
        return;
    }
    let _alone = alone();
    let pair = Pair::new();
    let folder = tempfile::Builder::new().permissions(readable()).tempdir().expect("a folder");
    let daemon = copy(folder.path());
    let hooks = |command: &mut Command| {
        let answer = output(command.arg(&daemon).args(["doctor", "--format", "json"])).stdout;
        let report: Value = serde_json::from_slice(&answer).expect("JSON");
        let hook = |interface: &Value| ["name", "ingress", "egress"].map(|field| interface[field].clone());
        report["interfaces"].as_array().expect("interfaces").iter().map(hook).collect::<Vec<_>>()
    };
    let root = hooks(&mut pair.inside.command("env"));
    let mut nobody = pair.inside.command("setpriv");
    let nobody = hooks(nobody.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]));
    assert!(root.iter().any(|interface| interface[0] == "v0"), "{root:?}");
    assert_eq!(root, nobody);
}

#[test]
fn too_few_descriptors_are_said_with_the_number_that_is_enough() {
    if !can_run("too_few_descriptors_are_said_with_the_number_that_is_enough", &["prlimit"]) {
        return;
    }
    let _alone = alone();
    let pair = Pair::silent();
    let with = |descriptors: usize| {
        let mut few = pair.inside.command("prlimit");
        few.arg(format!("--nofile={}", descriptors + handed_down())).arg(nta_tests::daemon::daemon());
        output(few.args(["run", "--dry-run", "--interface", "v0"]))
    };
    let (code, line) = refused(&with(159));
    assert!(code == Some(1) && line.contains("159 open files") && line.contains("at least 160"), "{line}");
    let enough = with(160);
    assert!(enough.status.success(), "{enough:?}");
}

/// Open files that this test hands down to what it starts, beside the first three: those of whoever started it.
fn handed_down() -> usize {
    let answer = Command::new("ls").arg("/proc/self/fd").output().expect("the open files");
    // The folder itself is open too.
    String::from_utf8_lossy(&answer.stdout).lines().count() - 4
}

/// With so few descriptors as it asks for, connections in plenty take nothing from capture and database; nor do open files that
/// the daemon was started with count as its own.
#[test]
fn clients_leave_descriptors_for_everything_else() {
    if !can_run("clients_leave_descriptors_for_everything_else", &["prlimit", "ping", "python3"]) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::silent();
    let database = format!("sqlite:{}", folder.path().join("nta.db").display());
    let mut few = pair.inside.command("bash");
    few.args(["-c", "for file in {10..39}; do eval \"exec $file</dev/null\"; done; exec prlimit \"$@\"", "bash"]);
    few.arg(format!("--nofile={}", 160 + 30 + handed_down())).arg(nta_tests::daemon::daemon());
    few.args(["run", "--interface", "v*", "--window", "1", "--database", &database]);
    let mut daemon = Daemon::start_command(&pair.inside, folder.path(), &mut few);
    let mut clients = pair.inside.command("python3");
    clients.args(["-c", CLIENTS]);
    let mut clients = Process::start(&mut clients, folder.path(), "clients.log");
    wait_for("clients", Duration::from_secs(20), || clients.log().contains("connected").then_some(()));
    // Something new needs descriptors: programs for an interface, windows for the database.
    pair.inside.ip("link add v5 type veth peer name y5");
    pair.inside.ip("link set v5 up");
    pair.inside.ip("link set y5 up");
    // Each of its windows needs the database, and one that is held up asks in vain.
    wait_for("the change of programs", Duration::from_secs(30), || {
        daemon.process.log().contains("the interfaces have changed").then_some(())
    });
    traffic::pings(&pair.peer, "10.77.1.1", "fd77:1::1");
    clients.stop("KILL", Duration::from_secs(5));
    wait_for("windows, and the new interface", Duration::from_secs(30), || {
        let status = daemon.try_get("/api/status")?;
        let is_attached = status["interfaces"].as_array()?.len() == 2;
        (is_attached && number(&status["store"]["windows"]) >= 3).then_some(())
    });
    let log = daemon.process.log();
    assert!(!["cannot attach", "store failed", "unable to open"].iter().any(|trouble| log.contains(trouble)), "{log}");
    assert!(daemon.stop().success());
}

/// As many connections as are let in, each with an answered request, so that none is closed as idle.
const CLIENTS: &str = r#"
import socket, time
held = []
for _ in range(200):
    try:
        s = socket.create_connection(("127.0.0.1", 5000), 2)
        s.sendall(b"GET /api/flows HTTP/1.1\r\nHost: 127.0.0.1:5000\r\n\r\n")
        held.append(s)
    except OSError:
        pass
print("connected", len(held), flush=True)
time.sleep(60)
"#;

#[test]
fn threads_that_cannot_be_had_are_said() {
    if !can_run("threads_that_cannot_be_had_are_said", &["setpriv", "prlimit"]) {
        return;
    }
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let folder = tempfile::Builder::new().permissions(everyone).tempdir().expect("a folder");
    let (program, capture) = (copy(folder.path()), folder.path().join("input.pcap"));
    std::fs::copy(nta_tests::root().join("tests/cases/port_scan-hit/input.pcap"), &capture).expect("a capture");
    std::fs::set_permissions(&capture, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("readable");
    // A user who has no other processes: root is not bound by the number.
    let mut few = Command::new("setpriv");
    few.args(["--reuid", "61234", "--regid", "61234", "--clear-groups", "prlimit", "--nproc=3"]).arg(&program);
    let (code, line) = refused(&output(few.args(["replay", "--serve", "--listen", "127.0.0.1:0"]).arg(&capture)));
    assert!(code == Some(1) && line.contains("cannot start threads") && line.contains("ulimit -u"), "{line}");
}

#[test]
fn what_a_dry_run_does_not_try_is_said() {
    if !can_run("what_a_dry_run_does_not_try_is_said", &[]) {
        return;
    }
    let _alone = alone();
    let pair = Pair::new();
    let arguments = ["run", "--dry-run", "--interface", "v0", "--listen", "127.0.0.1:1", "--database", "sqlite:/no/db"];
    let answer = output(&mut command(&pair.inside, &arguments));
    let log = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success() && log.contains("--listen and --database"), "{log}");
}

#[test]
fn an_interface_that_does_not_exist_or_is_named_twice_is_told() {
    if !can_run("an_interface_that_does_not_exist_or_is_named_twice_is_told", &[]) {
        return;
    }
    let _alone = alone();
    let pair = Pair::new();
    let (code, line) = refused(&run(&pair.inside, "nowhere9", "auto"));
    assert_eq!(code, Some(2), "{line}");
    assert!(line.contains("nowhere9"), "{line}");
    let (code, line) = refused(&run(&pair.inside, "v0,v0", "auto"));
    assert!(code == Some(2) && line.contains("v0") && line.contains("once"), "{line}");
}
