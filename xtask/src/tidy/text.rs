//! Rules about single words: heads, sizes, `unsafe`, printing, clocks, channels, silenced lints.

use super::Finding;
use super::paths;
use super::source::Source;

const WARN_LINES: usize = 300;
const MAX_LINES: usize = 400;

/// Where `unsafe` may stand: the packet pointer, plain data shared with the kernel, the loader, declarations of C libraries.
const UNSAFE_PLACES: &[&str] = &[
    "nta-ebpf/",
    "nta-common/",
    "nta-daemon/src/source/kernel/",
    "nta-loader/src/",
    "nta-daemon/src/source/replay/filter.rs",
    "xgboost-sys/src/lib.rs",
];

/// Where standard output belongs to us.
const PRINTING_PLACES: &[&str] = &[
    "nta-daemon/src/cli",
    "nta-daemon/src/main.rs",
    "nta-daemon/build.rs",
    "nta-lab/",
    "xgboost-sys/build.rs",
    "nta-daemon/benches/",
    "nta-core/benches/",
    "xtask/",
    "tests/",
];

/// Where a clock is read; elsewhere time is an argument, so that a replay equals a live run.
const CLOCK_PLACES: &[&str] = &[
    "nta-daemon/src/source/",
    "nta-daemon/src/source.rs",
    "nta-daemon/src/app",
    "nta-daemon/src/pipeline",
    "nta-daemon/src/capture",
    "nta-daemon/src/replay",            // its pace
    "nta-daemon/src/store/spool",       // when to try again
    "nta-daemon/src/store/task",        // its own cost
    "nta-daemon/src/sink/store",        // when baselines are saved
    "nta-daemon/src/sink/stream",       // heartbeats
    "nta-daemon/src/sink/webhook",      // when to try again
    "nta-daemon/src/sink/ship",         // when to try again
    "nta-daemon/src/sink/ipfix",        // when to try again
    "nta-daemon/src/api/routes/stream", // when a token is looked at again
    "nta-daemon/src/recording/mod",     // how long it lasts
    "nta-daemon/src/api/requests",      // how long each took
    "nta-daemon/src/api/state",
    "nta-daemon/src/telemetry",
    "nta-daemon/src/service", // the watchdog
    "nta-daemon/src/uploads", // how long a client takes
    "nta-daemon/benches/",
    "nta-core/benches/",
    "nta-daemon/src/cli",
    "nta-daemon/src/model_loader/classifier.rs",
    "nta-lab/",
    "nta-loader/src/",
    "xtask/",
    "tests/",
];

/// All rules about words for one file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut error = |line: usize, message: &str| findings.push(Finding::error(&source.path, line, message));
    let is_in = |places: &[&str]| places.iter().any(|place| source.path.starts_with(place));

    if !source.has_head {
        error(1, "the file does not open with `//!`: say what it is for");
    }
    for (index, line) in source.lines.iter().enumerate() {
        let words = Words::of(&line.code);
        if words.has("unsafe") && !is_in(UNSAFE_PLACES) {
            error(index + 1, "`unsafe` is only for nta-ebpf, nta-common, nta-loader and source/kernel");
        }
        if words.has("unbounded_channel") {
            error(index + 1, "an unbounded channel; give it a size and count what does not fit");
        }
    }
    for (line, code) in source.product() {
        if (code.contains("println!") || code.contains("print!")) && !is_in(PRINTING_PLACES) && !only_stderr(code) {
            error(line, "printing outside of cli; use tracing");
        }
    }
    for path in paths::paths(source) {
        let reads_clock = path.ends_with(&["SystemTime", "now"]) || path.ends_with(&["Instant", "now"]);
        if reads_clock && !is_in(CLOCK_PLACES) {
            error(path.line, "a clock is read here; take the time as an argument");
        }
        if path.ends_with(&["mpsc", "channel"]) && path.starts_with(&["std"]) {
            error(path.line, "std's mpsc::channel has no bound; use sync_channel");
        }
    }
    silenced_lints(source, &mut findings);
    findings.extend(length(source));
    findings
}

fn length(source: &Source) -> Option<Finding> {
    let is_generated = source.path.contains("/generated/");
    let lines = source.product().count();
    if is_generated || source.path.starts_with("tests/") || lines <= WARN_LINES {
        return None;
    }
    let message = format!("{lines} lines without tests; split it by what it does (at most {MAX_LINES})");
    let finding = if lines > MAX_LINES { Finding::error } else { Finding::warning };
    Some(finding(&source.path, 1, message))
}

fn silenced_lints(source: &Source, findings: &mut Vec<Finding>) {
    for (index, line) in source.lines.iter().enumerate() {
        let code = line.code.trim_start();
        let attribute = code.strip_prefix("#![").or_else(|| code.strip_prefix("#["));
        if !attribute.is_some_and(|rest| rest.starts_with("allow(") || rest.starts_with("expect(")) {
            continue;
        }
        // An attribute over several lines ends with the first line that closes it.
        let rest = source.lines[index..].iter().map(|line| line.code.as_str());
        let mut attribute = String::new();
        for line in rest {
            attribute += line;
            if line.trim_end().ends_with(']') {
                break;
            }
        }
        if !Words::of(&attribute).has("reason") {
            findings.push(Finding::error(&source.path, index + 1, "a lint is silenced without `reason = \"…\"`"));
        }
    }
}

/// Whether every print on this line goes to standard error.
fn only_stderr(code: &str) -> bool {
    code.matches("print").count() == code.matches("eprint").count()
}

/// The words of a line.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn of(code: &'a str) -> Self {
        Self(code.split(|c: char| !c.is_alphanumeric() && c != '_').collect())
    }

    fn has(&self, word: &str) -> bool {
        self.0.contains(&word)
    }
}

#[cfg(test)]
mod tests {
    use super::super::check_source;

    /// The messages about one file of the daemon's `api`, where every rule holds.
    fn messages(text: &str) -> Vec<String> {
        check_source("nta-daemon/src/api/mod.rs", text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_has_a_head() {
        assert!(messages("fn a() {}\n")[0].contains(":1: the file does not open"));
        assert!(messages("//! An API.\nfn a() {}\n").is_empty());
    }

    #[test]
    fn long_files_are_warned_of_and_then_refused() {
        let file = |lines: usize| format!("//! x\n{}", "fn a() {}\n".repeat(lines - 1));
        assert!(messages(&file(300)).is_empty());
        assert!(messages(&file(301))[0].contains("warning: 301 lines"));
        let refused = check_source("nta-daemon/src/api/mod.rs", &file(401));
        assert!(!refused[0].is_warning);
        let tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", file(300), "    fn b() {}\n".repeat(500));
        assert!(messages(&tests).is_empty());
        assert!(check_source("tests/replay/main.rs", &file(900)).is_empty());
    }

    #[test]
    fn unsafe_stays_where_it_is_needed() {
        let text = "//! x\nfn a() { unsafe { b() } }\n// unsafe in a comment, \"unsafe\" in a string\n";
        assert_eq!(messages(text).len(), 1);
        for place in ["nta-ebpf/src/reader.rs", "nta-common/src/flow.rs", "nta-daemon/src/source/kernel/maps.rs"] {
            assert!(check_source(place, text).is_empty(), "{place}");
        }
    }

    #[test]
    fn only_the_command_line_prints() {
        assert_eq!(messages("//! x\nfn a() { println!(\"a\"); }\n").len(), 1);
        assert!(messages("//! x\nfn a() { eprintln!(\"a\"); }\n").is_empty());
        assert!(check_source("nta-daemon/src/cli/doctor.rs", "//! x\nfn a() { println!(); }\n").is_empty());
    }

    #[test]
    fn time_is_an_argument() {
        assert_eq!(messages("//! x\nfn a() { let _ = std::time::Instant::now(); }\n").len(), 1);
        assert_eq!(messages("//! x\nfn a() { b(SystemTime::now()) }\n").len(), 1);
        assert!(check_source("nta-daemon/src/app.rs", "//! x\nfn a() { Instant::now(); }\n").is_empty());
        assert!(check_source("nta-daemon/src/source/mod.rs", "//! x\nfn a() { Instant::now(); }\n").is_empty());
    }

    #[test]
    fn channels_have_a_bound() {
        assert_eq!(messages("//! x\nfn a() { tokio::sync::mpsc::unbounded_channel(); }\n").len(), 1);
        assert_eq!(messages("//! x\nuse std::sync::mpsc::channel;\n").len(), 1);
        assert!(messages("//! x\nfn a() { tokio::sync::mpsc::channel(8); }\n").is_empty());
    }

    #[test]
    fn silenced_lints_have_a_reason() {
        assert_eq!(messages("//! x\n#[allow(dead_code)]\nfn a() {}\n").len(), 1);
        assert_eq!(messages("//! x\n#![expect(\n    dead_code\n)]\nfn a() {}\n").len(), 1);
        assert!(messages("//! x\n#[expect(dead_code, reason = \"a stub\")]\nfn a() {}\n").is_empty());
    }
}
