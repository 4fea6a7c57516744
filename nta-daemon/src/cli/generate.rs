//! `generate`: what a package brings beside the program: man pages, completions for shells, a configuration to edit.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, EXIT_USAGE, fail};
use crate::config::Config;

/// Flags of `generate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  nta-daemon generate /tmp/nta && man /tmp/nta/nta-daemon.1")]
pub(super) struct Args {
    /// Folder to write to; it is made.
    folder: PathBuf,
    /// Database that the configuration names, as it is no setting of the user's where a service keeps it.
    #[arg(long, value_name = "URL", default_value = "sqlite:/var/lib/nta/nta.db")]
    database: String,
}

pub(super) fn execute(args: &Args) -> ExitCode {
    let written = configuration(&args.database).map_err(io::Error::other).and_then(|text| {
        std::fs::create_dir_all(&args.folder)?;
        std::fs::write(args.folder.join("nta-daemon.toml"), text)?;
        pages(&args.folder)?;
        completions(&args.folder)
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(EXIT_USAGE, &format!("{}: {error}", args.folder.display())),
    }
}

/// Both programs, each with the section of its pages. The loader does not write its own: what it does not carry nobody can use.
fn programs() -> [(clap::Command, &'static str); 2] {
    [(Cli::described(), "1"), (nta_loader::command_line::Args::command(), "8")]
}

/// A page for each program and for each of its commands.
fn pages(folder: &Path) -> io::Result<()> {
    for (mut program, section) in programs() {
        program.build(); // gives each command the name of its page
        // Commands that are hidden have no page, as the program's own does not list them.
        let commands =
            program.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
        for command in commands.chain([&program]) {
            let page = Man::new(command.clone()).section(section).manual("nta");
            page.source(concat!("nta ", env!("CARGO_PKG_VERSION"))).generate_to(folder)?;
        }
    }
    Ok(())
}

fn completions(folder: &Path) -> io::Result<()> {
    for (mut program, _) in programs() {
        let name = program.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut program, &name, folder)?;
        }
    }
    Ok(())
}

/// Every setting with its meaning, as a comment with its default; only the database is set.
fn configuration(database: &str) -> Result<String, String> {
    let defaults = Config::default().to_toml().map_err(|error| error.to_string())?;
    let mut text = String::from(HEAD);
    for line in defaults.lines() {
        let key = line.split(" = ").next().unwrap_or_default();
        if key == "database" {
            writeln!(text, "database = {}", toml::Value::from(database)).map_err(|error| error.to_string())?;
        } else if line.is_empty() || line.starts_with(['#', '[']) {
            writeln!(text, "{line}").map_err(|error| error.to_string())?;
        } else {
            writeln!(text, "#{line}").map_err(|error| error.to_string())?;
        }
    }
    Ok(text)
}

const HEAD: &str = "\
# Configuration of nta-daemon. A setting that is a comment shows its default: take the # away to change it.
# `nta-daemon check-config --config /etc/nta/nta-daemon.toml` says whether a change can be used, and where it cannot.

";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_programs_have_a_page_for_each_command_and_completions() {
        let folder = tempfile::tempdir().expect("a folder");
        pages(folder.path()).and_then(|()| completions(folder.path())).expect("they are written");
        let read = |name: &str| {
            std::fs::read_to_string(folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        let loader = read("nta-loader.8");
        assert!(loader.contains("nta\\-loader 8") || loader.contains("nta-loader 8"), "{loader}");
        assert!(loader.contains("nta\\-loader\\-detach(8)") && loader.contains("/run/nta"), "{loader}");
        assert!(read("nta-loader-prepare.8").contains("user") && read("nta-daemon-print-config.1").contains("SETTING"));
        for name in
            ["nta-daemon.bash", "_nta-daemon", "nta-daemon.fish", "nta-loader.bash", "_nta-loader", "nta-loader.fish"]
        {
            assert!(read(name).contains("check-config"), "{name}");
        }
        assert!(!folder.path().join("nta-daemon-generate.1").exists(), "it is hidden");
    }

    #[test]
    fn the_configuration_sets_the_database_and_nothing_else_and_can_be_edited() {
        let text = configuration("sqlite:/var/lib/nta/nta.db").expect("a configuration");
        let set: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])).collect();
        assert_eq!(set, ["database = \"sqlite:/var/lib/nta/nta.db\""]);
        // With every default in force the file means the same as without them.
        let folder = tempfile::tempdir().expect("a folder");
        let all: String = text.lines().map(|line| uncommented(line) + "\n").collect();
        let load = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).expect("it is written");
            Config::load(Some(&file)).expect("a configuration that can be used").to_toml().expect("text")
        };
        assert_eq!(load("as-installed", &text), load("all", &all));
        assert!(text.contains("\n#listen = \"127.0.0.1:5000\"\n"), "{text}");
    }

    /// A default that is a comment is `#key = `, an explanation `# Words`.
    fn uncommented(line: &str) -> String {
        match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest.to_owned(),
            _ => line.to_owned(),
        }
    }

    #[test]
    fn each_command_has_a_page_and_each_shell_its_completions() {
        let folder = tempfile::tempdir().expect("a folder");
        pages(folder.path()).expect("pages");
        completions(folder.path()).expect("completions");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
        let run = read("nta-daemon-run.1");
        assert!(run.contains(".TH nta-daemon-run 1") && run.contains("\\-\\-interface"), "{run}");
        assert!(read("nta-daemon.1").contains("doctor"));
        for shell in ["nta-daemon.bash", "_nta-daemon", "nta-daemon.fish"] {
            assert!(read(shell).contains("check-config"), "{shell}");
        }
        assert!(!folder.path().join("nta-daemon-generate.1").exists());
    }
}
