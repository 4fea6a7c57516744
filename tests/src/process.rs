//! A child process that never outlives its test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::netns::{run, wait_for};

/// A running program; killed when it goes out of scope.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it writes goes to a file of that name in the folder.
    pub fn start(command: &mut Command, folder: &Path, log: &str) -> Self {
        let log = folder.join(log);
        let file = File::create(&log).expect("a log file");
        let both = file.try_clone().expect("a second handle of it");
        let child = command.stdin(Stdio::null()).stdout(both).stderr(file).spawn();
        Self { child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")), log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child's status")
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        run(Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]));
    }

    /// Sends a signal and waits for the end.
    pub fn stop(&mut self, signal: &str, deadline: Duration) -> ExitStatus {
        self.signal(signal);
        wait_for(&format!("end after SIG{signal}"), deadline, || self.ended())
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        wait_for("the end of a program", deadline, || self.ended())
    }

    /// Waits until it listens on a TCP port of its network namespace.
    pub fn wait_listening(&mut self, port: u16) {
        let wanted = format!(":{port:04X}");
        wait_for(&format!("a listener on port {port}"), Duration::from_secs(10), || {
            assert!(self.ended().is_none(), "ended early: {}", self.log());
            let listens = |line: &str| {
                let mut fields = line.split_whitespace().skip(1);
                fields.next().is_some_and(|local| local.ends_with(&wanted)) && fields.nth(1) == Some("0A")
            };
            let tables =
                ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/{}/net/{table}", self.id())));
            tables.iter().flatten().any(|table| table.lines().any(listens)).then_some(())
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}
