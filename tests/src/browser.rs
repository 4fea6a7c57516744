//! Scripts that drive Debian's Chromium against a daemon that serves.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use crate::{installed, not_run, root};

/// Whether there is a browser and what drives it; else it says that the test is not run.
pub fn can_run(test: &str) -> bool {
    if !installed("chromium") || !installed("node") {
        not_run(test, "chromium or node is missing: cargo xtask setup");
        return false;
    }
    if !root().join("dashboard/node_modules/playwright-core").is_dir() {
        not_run(test, "playwright-core is missing: cargo xtask setup");
        return false;
    }
    true
}

/// Where a script of this name is.
pub fn script(name: &str) -> PathBuf {
    root().join("tests/browser").join(name)
}

/// A script that is spoken to, line by line; it ends with its test.
pub struct Spoken {
    child: Child,
    out: BufReader<ChildStdout>,
    input: ChildStdin,
}

impl Spoken {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node starts");
        let (out, input) = (child.stdout.take().expect("piped"), child.stdin.take().expect("piped"));
        Self { child, out: BufReader::new(out), input }
    }

    /// Waits for a line that begins with this word, and gives the rest of it.
    ///
    /// # Panics
    /// When another line comes, or the end.
    pub fn wait_for(&mut self, word: &str) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("its output");
        let rest = line.trim().strip_prefix(word);
        rest.unwrap_or_else(|| panic!("`{word}` was to come, not `{}`", line.trim())).trim().to_owned()
    }

    /// Writes a line.
    ///
    /// # Panics
    /// When it reads no more.
    pub fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it listens");
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When that cannot be waited for.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("its end")
    }
}

impl Drop for Spoken {
    fn drop(&mut self) {
        // Both fail only for a script that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
