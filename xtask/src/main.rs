//! `cargo xtask`: every chore of this repository as one word.
//!
//! One file per command, each with a `HELP` text and one `run`; [`COMMANDS`] is the list. This crate depends on none
//! of the others and on little else, so that the first `cargo xtask` starts within seconds.
#![expect(clippy::print_stdout, reason = "a command line tool answers on stdout")]

mod bench;
mod build;
mod build_ebpf;
mod ci;
mod coverage;
mod dashboard;
mod demo;
mod fuzz;
mod lab;
mod lint;
mod package;
mod replay;
mod run;
mod screenshots;
mod setup;
mod soak;
mod test;
mod tidy;

mod daemon;
mod ebpf;
mod host;
mod process;
mod report;
mod step;
mod trim;
mod upkeep;
mod vm;

use std::process::ExitCode;

use anyhow::Result;

/// One word of `cargo xtask`.
struct Command {
    name: &'static str,
    about: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Result<ExitCode>,
}

/// Every command, in the order in which a newcomer meets them.
const COMMANDS: &[Command] = &[
    Command { name: "setup", about: "install, or name, what this machine lacks", help: setup::HELP, run: setup::run },
    Command { name: "build", about: "release build with every feature", help: build::HELP, run: build::run },
    Command { name: "run", about: "build and start the daemon", help: run::HELP, run: run::run },
    Command { name: "replay", about: "build and analyse capture files", help: replay::HELP, run: replay::run },
    Command {
        name: "demo",
        about: "the main workflows as curl commands with their answers",
        help: demo::HELP,
        run: demo::run,
    },
    Command { name: "test", about: "build and run every test", help: test::HELP, run: test::run },
    Command {
        name: "build-ebpf",
        about: "build the eBPF object from source, or check the committed one",
        help: build_ebpf::HELP,
        run: build_ebpf::run,
    },
    Command {
        name: "dashboard",
        about: "build the dashboard from source, or check the committed one",
        help: dashboard::HELP,
        run: dashboard::run,
    },
    Command {
        name: "screenshots",
        about: "pictures of the dashboard for the documents",
        help: screenshots::HELP,
        run: screenshots::run,
    },
    Command { name: "coverage", about: "which lines the tests run", help: coverage::HELP, run: coverage::run },
    Command { name: "fuzz", about: "feed arbitrary bytes to the readers", help: fuzz::HELP, run: fuzz::run },
    Command { name: "bench", about: "measure, as ratios in one run", help: bench::HELP, run: bench::run },
    Command {
        name: "package",
        about: "the Debian package, the tarball, the bill of materials",
        help: package::HELP,
        run: package::run,
    },
    Command {
        name: "lab",
        about: "make labelled captures of attacks and of benign traffic",
        help: lab::HELP,
        run: lab::run,
    },
    Command {
        name: "soak",
        about: "a daemon for minutes or hours, with all that happens to one",
        help: soak::HELP,
        run: soak::run,
    },
    Command {
        name: "lint",
        about: "formatting, clippy, rustdoc, licences, unused dependencies",
        help: lint::HELP,
        run: lint::run,
    },
    Command {
        name: "tidy",
        about: "the house's own checks: layers, sizes, heads, documents",
        help: tidy::HELP,
        run: tidy::run,
    },
    Command {
        name: "ci",
        about: "everything a full CI does: lint, tidy, test, features",
        help: ci::HELP,
        run: ci::run,
    },
];

fn main() -> ExitCode {
    if let Some(status) = ebpf::wrapper::intercept() {
        return status;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<ExitCode> {
    let is_help = |arg: &String| matches!(arg.as_str(), "help" | "--help" | "-h");
    let Some(word) = args.first() else {
        print!("{}", overview());
        return Ok(ExitCode::from(2));
    };
    let (word, wants_help) = match args.get(1) {
        Some(second) if is_help(word) => (second, true),
        _ if is_help(word) => {
            print!("{}", overview());
            return Ok(ExitCode::SUCCESS);
        }
        second => (word, second.is_some_and(|arg| arg == "--help" || arg == "-h")),
    };
    let Some(command) = COMMANDS.iter().find(|command| command.name == word) else {
        eprint!("xtask: no command `{word}`\n\n{}", overview());
        return Ok(ExitCode::from(2));
    };
    if wants_help {
        println!("cargo xtask {}: {}\n\n{}", command.name, command.about, command.help.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    (command.run)(&args[1..])
}

/// The name of every command, with its help.
fn helps() -> Vec<(&'static str, &'static str)> {
    COMMANDS.iter().map(|command| (command.name, command.help)).collect()
}

fn overview() -> String {
    let mut text = String::from("Usage: cargo xtask COMMAND [OPTIONS]\n\nCommands:\n");
    for command in COMMANDS {
        text += &format!("  {:<13}{}\n", command.name, command.about);
    }
    text + "\n`cargo xtask COMMAND --help` has the options and an example.\n"
}

#[cfg(test)]
mod tests {
    use super::COMMANDS;

    #[test]
    fn every_command_has_an_example() {
        for command in COMMANDS {
            let example = format!("cargo xtask {}", command.name);
            assert!(command.help.contains("Example"), "{} has no example", command.name);
            assert!(command.help.contains(&example), "{}'s example does not call it", command.name);
        }
    }
}
