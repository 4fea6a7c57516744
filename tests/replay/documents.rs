//! What README.md and `docs/` show on the command line can be done: each command of the two programs is one that they take, each request
//! is one of the API, and what needs neither rights nor another machine is run as it stands. What is not run is on a list, with the reason.
//! Words and flags of `cargo xtask` are held against their help by `cargo xtask tidy`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nta_tests::daemon::daemon;
use nta_tests::root;
use nta_tests::served::{Served, scan};
use serde_json::Value;

/// A command that a document shows.
struct Shown {
    /// File and line.
    place: String,
    /// As it stands there, on one line.
    text: String,
    /// Whether it stands in a block, to be copied, and not within a sentence.
    is_block: bool,
}

impl Shown {
    /// Its programs with what each is given: a line may have several, by a pipe or one after the other.
    fn programs(&self) -> Vec<Vec<String>> {
        let words = shlex::split(&self.text).unwrap_or_else(|| panic!("{}: a quotation without end", self.place));
        let parts = words.split(|word| ["|", "&&", ";"].contains(&word.as_str()));
        let program = |words: &[String]| {
            let is_before = |word: &&String| *word == "sudo" || *word == "-u" || *word == "nta" || is_variable(word);
            let words = words.iter().skip_while(is_before).take_while(|word| *word != ">");
            words.cloned().collect::<Vec<_>>()
        };
        parts.map(program).filter(|words| !words.is_empty()).collect()
    }
}

fn is_variable(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
}

/// Everything that the documents show: lines of code, and commands within sentences.
fn shown() -> Vec<Shown> {
    let mut all = Vec::new();
    for path in documents() {
        let name = path.strip_prefix(root()).expect("below it").display().to_string();
        let text = fs::read_to_string(&path).expect("a document");
        let mut lines = text.lines().enumerate();
        let mut fence: Option<&str> = None;
        while let Some((index, line)) = lines.next() {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                fence = if fence.is_some() { None } else { Some(language.trim()) };
                continue;
            }
            let place = format!("{name}:{}", index + 1);
            let line = match fence {
                Some("sh" | "bash" | "console") => line,
                Some(_) => continue,
                None if line.starts_with("    ") => line,
                None => {
                    let quoted = line.split('`').skip(1).step_by(2).filter(|quoted| is_command(quoted));
                    all.extend(quoted.map(|text| Shown {
                        place: place.clone(),
                        text: text.to_owned(),
                        is_block: false,
                    }));
                    continue;
                }
            };
            let mut text = line.trim().trim_start_matches("$ ").to_owned();
            if text.is_empty() || (fence.is_none() && !is_command(&text)) {
                continue;
            }
            while text.ends_with('\\') || shlex::split(&text).is_none() {
                let (_, more) = lines.next().unwrap_or_else(|| panic!("{place}: it does not end"));
                text = format!("{} {}", text.trim_end_matches('\\'), more.trim());
            }
            all.push(Shown { place, text, is_block: true });
        }
    }
    assert!(all.len() > 150, "{} commands: the documents are not read as they are written", all.len());
    all
}

fn documents() -> Vec<PathBuf> {
    let files = fs::read_dir(root().join("docs")).expect("the documents").map(|entry| entry.expect("one").path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    files.push(root().join("README.md"));
    files.sort();
    files
}

/// Whether a text begins with a program that the documents use, and more.
fn is_command(text: &str) -> bool {
    let first = text.split(' ').find(|word| !is_variable(word)).unwrap_or_default();
    let is_known = NOT_RUN.iter().any(|(beginning, _)| beginning.split(' ').next() == Some(first));
    let is_message = text.starts_with("nta-loader at ");
    text.contains(' ') && !is_message && (is_known || ["nta-daemon", "nta-loader", "curl", "gzip"].contains(&first))
}

/// A program without the variables that would configure it.
fn plain(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("NTA_")) {
        command.env_remove(name);
    }
    command
}

#[test]
fn the_programs_take_every_command_that_is_shown() {
    let mut tried = 0;
    for shown in shown() {
        for words in shown.programs() {
            let program = match words[0].as_str() {
                "nta-daemon" => daemon().to_owned(),
                "nta-loader" => daemon().with_file_name("nta-loader"),
                _ => continue,
            };
            // Values are checked before help is printed; what is missing is not.
            let given = words[1..].iter().map(|word| filled(word));
            let run = plain(&program).args(given).arg("--help").output().expect("it is built");
            let said = String::from_utf8_lossy(&run.stderr);
            assert!(run.status.success(), "{}: {}\n{said}", shown.place, shown.text);
            tried += 1;
        }
    }
    assert!(tried > 80, "{tried} commands");
}

/// A word of a command, with a value where it stands for one.
fn filled(word: &str) -> &str {
    match word {
        "TIME" => "2026-01-31T12:00:00Z",
        "URL" => "sqlite:nta.db",
        "HOST" => "192.0.2.7",
        word if word.contains('…') => "x",
        word => word,
    }
}

#[test]
fn the_api_has_every_request_that_is_shown() {
    let text = fs::read(root().join("nta-daemon/tests/api/openapi.json")).expect("the document of the API");
    let document: Value = serde_json::from_slice(&text).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let mut tried = 0;
    for shown in shown() {
        for words in shown.programs().iter().filter(|words| words[0] == "curl") {
            let Some(url) = words.iter().find(|word| word.contains(":5000/") || word.starts_with("…/")) else {
                continue;
            };
            let (_, path) =
                url.trim_start_matches("http://").trim_start_matches("https://").split_once('/').expect("one");
            let path = format!("/{}", path.split('?').next().unwrap_or_default());
            let is_body = |word: &String| ["-d", "-F", "--data-binary"].contains(&word.as_str());
            let method = match words.iter().position(|word| word == "-X") {
                Some(at) => words[at + 1].to_lowercase(),
                None if words.iter().any(is_body) => "post".to_owned(),
                None => "get".to_owned(),
            };
            let is_it = |template: &str| {
                let (here, there) = (path.split('/'), template.split('/'));
                here.clone().count() == there.clone().count()
                    && here.zip(there).all(|(here, there)| here == there || there.starts_with('{'))
            };
            let found = paths.iter().any(|(template, methods)| is_it(template) && methods.get(&method).is_some());
            assert!(found, "{}: the API has no {method} {path}", shown.place);
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried} requests");
}

#[test]
fn what_is_shown_does_what_it_is_shown_for() {
    const NAME: &str = "what_is_shown_does_what_it_is_shown_for";
    let is_missing = |program: &&&str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_err();
    if let Some(missing) = ["bash", "curl", "jq"].iter().find(is_missing) {
        println!("not run: {NAME}: there is no {missing}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (found, served) = prepare(folder.path());
    let mut used = vec![false; NOT_RUN.len()];
    let mut failed = Vec::new();
    for shown in shown().into_iter().filter(|shown| shown.is_block) {
        if let Some(at) = NOT_RUN.iter().position(|(beginning, _)| shown.text.starts_with(beginning)) {
            used[at] = true;
            continue;
        }
        // What one document's commands make, another's do not find.
        let document = shown.place.split(':').next().unwrap_or_default();
        let at = folder.path().join(document.replace('/', "-"));
        if !at.exists() {
            assert!(Command::new("cp").arg("-a").args([&found, &at]).status().expect("cp").success());
        }
        let path = format!("{}:{}", at.join("bin").display(), std::env::var("PATH").unwrap_or_default());
        let run = Command::new("bash")
            .args(["-eo", "pipefail", "-c", &here(&shown.text, &at, &served.address)])
            .current_dir(&at)
            .env("HOME", &at)
            .env("PATH", path)
            .env_remove("NTA_DATABASE")
            .env_remove("NTA_CONFIG")
            .stdin(Stdio::null())
            .output()
            .expect("bash");
        if !run.status.success() {
            let said = String::from_utf8_lossy(&run.stderr).into_owned();
            failed.push(format!("{}: {}: {}\n{said}", shown.place, shown.text, run.status));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let stale: Vec<&str> = NOT_RUN.iter().zip(used).filter(|(_, used)| !used).map(|((text, _), _)| *text).collect();
    assert!(stale.is_empty(), "no document shows what is listed as not run: {stale:?}");
}

/// A folder as the documents' commands find it, and a daemon that answers their requests.
fn prepare(above: &Path) -> (PathBuf, Served) {
    let folder = &above.join("found");
    fs::create_dir(folder).expect("a folder");
    let capture = folder.join("capture.pcap");
    scan(&capture);
    for name in ["bin", "etc", "var", "srv", "captures"] {
        fs::create_dir(folder.join(name)).expect("a folder");
    }
    symlink(daemon(), folder.join("bin/nta-daemon")).expect("a link");
    for name in ["FILE", "CAPTURE", "capture.pcapng", "capture.pcapng.gz", "captures/scan.pcap"] {
        fs::copy(&capture, folder.join(name)).expect("a copy"); // what a file is, its content says
    }
    let labels = "file\ttype\tattacker\tvictim\tattack_start\tattack_end\ttool\nscan.pcap\tbenign\t-\t-\t-\t-\t-\n";
    fs::write(folder.join("labels.tsv"), labels).expect("labels");
    fs::write(folder.join(".curlrc"), "fail\nsilent\nshow-error\n").expect("curl's settings");
    fs::write(folder.join("etc/nta-daemon.toml"), "[api]\ngraphql = true\n").expect("a configuration");
    for database in ["nta.db", "var/nta.db"] {
        let mut replay = plain(daemon());
        replay.args(["replay", "--database", &format!("sqlite:{database}"), "capture.pcap"]).current_dir(folder);
        assert!(replay.stdout(Stdio::null()).status().expect("it runs").success());
    }
    let database = format!("sqlite:{}", above.join("served.db").display());
    let served = Served::configured(&capture, &database, &folder.join("etc/nta-daemon.toml"));
    (folder.clone(), served)
}

/// A line with the places of this test in the place of a machine's.
fn here(text: &str, folder: &Path, address: &str) -> String {
    let folder = folder.display();
    text.replace("127.0.0.1:5000", address)
        .replace("/var/lib/nta/", &format!("{folder}/var/"))
        .replace("/var/backups/", &format!("{folder}/srv/"))
        .replace("/etc/nta/", &format!("{folder}/etc/"))
}

const CONTAINER: &str = "INSTALL.md's commands: `cargo xtask test package` gives them in a Debian of its own";
const LIVE: &str = "captures live: kernel_live does it";
const OWN_NAMES: &str = "names what a client got before: the API's tests do it";
const LEARNS: &str = "learns for minutes: tests/model and the API's tests do it";
const ELSEWHERE: &str = "needs other machines";

/// Lines of code that are not run: how each begins, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("cargo xtask ", "builds or measures; `cargo xtask tidy` holds words and flags against the help"),
    ("cd ", "containers: tests/config/containers.rs checks their files"),
    ("docker ", "containers: tests/config/containers.rs checks their files"),
    ("podman ", "containers: tests/config/containers.rs checks their files"),
    ("kubectl ", ELSEWHERE),
    ("apt ", CONTAINER),
    ("cp -a usr/", CONTAINER),
    ("install ", CONTAINER),
    ("mv ", CONTAINER),
    ("rm ", CONTAINER),
    ("systemctl ", CONTAINER),
    ("systemd-sysusers ", CONTAINER),
    ("ssh ", ELSEWHERE),
    ("sudo ", "becomes another user"),
    ("tail ", "a part of a longer command, which learns"),
    ("(head ", "a part of a longer command, which learns"),
    ("tcpdump ", LIVE),
    ("duckdb ", "replay/hourly asks DuckDB"),
    ("python3 ", OWN_NAMES),
    ("promtool ", "replay/monitoring asks promtool"),
    ("cp docs/prometheus/", "replay/monitoring asks promtool of these rules"),
    ("curl -X POST http://127.0.0.1:9090/", "Prometheus' own"),
    ("nta-daemon run ", LIVE),
    ("nta-daemon collect ", ELSEWHERE),
    ("nta-daemon migrate ", "needs PostgreSQL: the store's tests do it"),
    ("nta-daemon doctor", "its status says whether this machine can capture"),
    ("nta-daemon train ", LEARNS),
    ("nta-daemon model check", LEARNS),
    ("nta-daemon evaluate --labels all/", LEARNS),
    ("nta-daemon evaluate --labels labels.tsv DIR", LEARNS),
    (
        "nta-daemon evaluate --labels tests/detection/labels.tsv",
        "needs the collection of captures: `detection` does it",
    ),
    ("nta-daemon replay --engine kernel", "loads into the kernel: `kernel` does it"),
    ("nta-daemon replay --serve", "serves until it is stopped: the requests are made to one"),
    ("nta-daemon replay --format zeek capture.pcap | zeek-cut", "needs Zeek's tools"),
    ("nta-daemon tokens revoke", OWN_NAMES),
    ("nta-daemon shipping", ELSEWHERE),
    ("curl -s -X POST -H 'Content-Type: application/json' -d '{\"interface\"", LIVE),
    ("curl -s -X POST 127.0.0.1:5000/api/control/capture/stop", LIVE),
    ("curl -X POST -H \"Authorization: Bearer $TOKEN\"", LIVE),
    ("curl -H 'Content-Type: application/json' -d '{\"interface\"", LIVE),
    ("curl -X POST http://127.0.0.1:5000/api/analysis/stop-tcpdump", LIVE),
    ("curl -H 'Content-Type: application/json' -d '{\"capture\"", OWN_NAMES),
    ("curl -H 'Content-Type: application/json' -d '{\"scored\"", OWN_NAMES),
    ("curl -OJ http://127.0.0.1:5000/api/analysis/download/", OWN_NAMES),
    ("curl -X POST http://127.0.0.1:5000/api/models/", OWN_NAMES),
    ("curl -H 'Content-Type: application/json' -d '{\"algorithm\"", LEARNS),
    ("jq -n --rawfile labels", LEARNS),
    ("curl -N ", "follows until it is stopped: replay/events does it"),
    ("curl -H 'Authorization: Bearer nta_…'", ELSEWHERE),
    ("curl -H \"Authorization: Bearer $(cat ship.token)\"", ELSEWHERE),
];
