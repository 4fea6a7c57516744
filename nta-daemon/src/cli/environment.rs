//! `NTA_*` variables that nothing reads: a typing error in a unit file or a shell is said, with the nearest known name.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, Error};

use crate::config::nearest;

const PREFIX: &str = "NTA_";

/// What this repository's tests, benches and tools read; the daemon has no use for them, and says nothing.
const OTHERS: &[&str] = &["NTA_CAPTURES", "NTA_DAEMON", "NTA_MIXED"];
/// As above, by their beginning.
const OTHER_PREFIXES: &[&str] = &["NTA_BENCH_", "NTA_TEST_"];

/// A message for each variable of this environment that no command knows.
pub(super) fn unknown(command: &Command, variables: impl Iterator<Item = String>) -> Vec<String> {
    let known = known(command);
    let mut names: Vec<String> = variables.filter(|name| name.starts_with(PREFIX)).collect();
    names.retain(|name| !known.contains(name) && !OTHERS.contains(&name.as_str()));
    names.retain(|name| !OTHER_PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    names.sort();
    names.iter().map(|name| message(name, &known)).collect()
}

/// A refused value that came by a variable, and not by the flag that the refusal names: with the variable's name.
pub(super) fn with_variable(command: &Command, mut error: Error, mut given: impl Iterator<Item = OsString>) -> Error {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return error };
    let long = flag.split_whitespace().next().and_then(|flag| flag.strip_prefix("--"));
    let arg = long.and_then(|long| by_long(command, long));
    let Some((variable, short)) = arg.and_then(|arg| Some((arg.get_env()?, arg.get_short()))) else { return error };
    let is_flag = |word: &OsString| {
        let word = word.to_string_lossy();
        let is_long = long.is_some_and(|long| {
            word.strip_prefix("--")
                .and_then(|rest| rest.strip_prefix(long))
                .is_some_and(|rest| matches!(rest.chars().next(), None | Some('=')))
        });
        let mut letters = word.chars();
        is_long || letters.next() == Some('-') && short.is_some() && letters.next() == short
    };
    if std::env::var_os(variable).is_some() && !given.any(|word| is_flag(&word)) {
        let said = format!("the value is that of the variable {}", variable.to_string_lossy());
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![said.into()]));
    }
    error
}

/// The flag of any command that a variable can give.
fn by_long<'a>(command: &'a Command, long: &str) -> Option<&'a Arg> {
    let own = command.get_arguments().find(|arg| arg.get_long() == Some(long) && arg.get_env().is_some());
    own.or_else(|| command.get_subcommands().find_map(|command| by_long(command, long)))
}

/// The variables of every flag of every command.
fn known(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(Arg::get_env).map(|name| name.to_string_lossy().into_owned());
    let mut names: Vec<String> = own.chain(command.get_subcommands().flat_map(known)).collect();
    names.sort();
    names.dedup();
    names
}

fn message(name: &str, known: &[String]) -> String {
    // The letters that all have in common make none near.
    let own = |name: &'_ str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    let names: Vec<String> = known.iter().map(|name| own(name)).collect();
    match nearest(&own(name), names.iter().map(String::as_str)) {
        Some(known) => format!("{name} is ignored: there is no such variable; did you mean {PREFIX}{known}?"),
        None => format!("{name} is ignored: there is no such variable; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn said(names: &[&str]) -> Vec<String> {
        unknown(&Cli::command(), names.iter().map(|name| (*name).to_owned()))
    }

    #[test]
    fn a_typing_error_is_said_with_the_nearest_name() {
        for (wrong, right) in [
            ("NTA_INTERFACES", "NTA_INTERFACE"),
            ("NTA_LISTN", "NTA_LISTEN"),
            ("NTA_DATABSE", "NTA_DATABASE"),
            ("NTA_LOGFORMAT", "NTA_LOG_FORMAT"),
        ] {
            let said = said(&[wrong]);
            assert_eq!(said.len(), 1, "{wrong}");
            assert!(said[0].contains(wrong) && said[0].contains(&format!("did you mean {right}?")), "{said:?}");
        }
        for far in ["NTA_QQQQQQQQQQ", "NTA_FOO", "NTA_DB", "NTA_PORT"] {
            assert!(said(&[far])[0].contains("there are NTA_ATTACH, NTA_"), "{:?}", said(&[far]));
        }
    }

    #[test]
    fn what_is_known_is_not_said() {
        assert_eq!(said(&["NTA_CONFIG", "NTA_LOG", "NTA_DAEMON", "NTA_BENCH_ROWS", "PATH"]), Vec::<String>::new());
    }
}
