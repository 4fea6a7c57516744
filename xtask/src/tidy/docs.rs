//! What the documents name exists: paths of the checkout, links between documents, words of `cargo xtask`.

use super::Finding;

/// The documents for users and contributors; notes of how a figure was reached may name what is gone.
pub(super) fn is_document(path: &str) -> bool {
    let is_listed = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "systemd/README.md"].contains(&path);
    is_listed || path.strip_prefix("docs/").is_some_and(|name| name.ends_with(".md") && !name.contains('/'))
}

/// What is named like a path of the checkout and is none: a socket's name, and a folder that a tool makes.
const OTHERS: &[&str] = &["nta-daemon/watches/INTERFACE", "tests/fuzz/artifacts"];

/// The rule for one document; `files` is the checkout, `commands` are those of `cargo xtask`, each
/// with its help.
pub(super) fn check(path: &str, text: &str, files: &[String], commands: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut error = |message: String| findings.push(Finding::error(path, index + 1, message));
        for quoted in line.split('`').skip(1).step_by(2) {
            if let Some(named) = named_path(quoted, files)
                && !exists(named, files)
                && !OTHERS.contains(&named)
            {
                error(format!("`{named}` does not exist"));
            }
        }
        for rest in line.split("cargo xtask ").skip(1) {
            let Some(word) = word(rest) else { continue };
            match commands.iter().find(|(name, _)| *name == word) {
                None => error(format!("`cargo xtask {word}` does not exist")),
                Some((_, help)) => {
                    if let Some(unknown) = unknown(&rest[word.len()..], line, help) {
                        error(format!("`cargo xtask {word} --help` does not name `{unknown}`"));
                    }
                }
            }
        }
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !exists(&resolve(path, target), files) {
                error(format!("the link {target} leads nowhere"));
            }
        }
    }
    findings
}

/// The path that a quotation names: it begins with a folder at the top of the checkout and has no placeholder.
fn named_path<'a>(quoted: &'a str, files: &[String]) -> Option<&'a str> {
    let (top, _) = quoted.split_once('/')?;
    let is_ours = files.iter().any(|file| file.strip_prefix(top).is_some_and(|rest| rest.starts_with('/')));
    let is_plain = quoted.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    (is_ours && is_plain).then(|| quoted.trim_end_matches('/'))
}

fn exists(path: &str, files: &[String]) -> bool {
    let path = path.trim_end_matches('/');
    files.iter().any(|file| file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// The word after `cargo xtask`; none before an option, a placeholder or the end of a sentence.
fn word(rest: &str) -> Option<&str> {
    let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(rest.len());
    let word = &rest[..end];
    let is_word = !word.is_empty() && !word.starts_with('-') && !rest[end..].starts_with(|c: char| c.is_alphanumeric());
    is_word.then_some(word)
}

/// What code gives a command of `cargo xtask` and its help does not name: flags, and words in lower case. Other values and placeholders
/// end it.
fn unknown<'a>(rest: &'a str, line: &str, help: &str) -> Option<&'a str> {
    // Prose goes on behind a command that no quotation ends.
    let is_block = line.starts_with("    ") || line.starts_with("cargo xtask ");
    let code = match rest.find(['`', '#']) {
        Some(end) => &rest[..end],
        None if is_block => rest,
        None => "",
    };
    let mut arguments = code.split_whitespace().filter(|argument| *argument != "--help");
    while let Some(argument) = arguments.next() {
        let is_argument = argument.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        if !is_argument {
            return None;
        }
        let mut places = help.match_indices(argument).map(|(at, found)| (&help[..at], &help[at + found.len()..]));
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let Some((_, behind)) =
            places.find(|(before, behind)| !before.ends_with(is_part) && !behind.starts_with(is_part))
        else {
            return Some(argument);
        };
        // The flag's own value.
        if argument.starts_with('-') && behind.trim_start().starts_with(|c: char| c.is_ascii_uppercase()) {
            arguments.next();
        }
    }
    None
}

/// A link's target, seen from the root of the checkout.
fn resolve(document: &str, target: &str) -> String {
    let mut folders: Vec<&str> = document.split('/').collect();
    folders.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(folders.pop()),
            "." | "" => {}
            part => folders.push(part),
        }
    }
    folders.join("/")
}

#[cfg(test)]
mod tests {
    use super::{check, is_document};

    #[test]
    fn what_does_not_exist_is_found() {
        let files: Vec<String> = ["docs/API.md", "docs/notes/API.md", "xtask/src/main.rs"].map(str::to_owned).into();
        let messages =
            |text: &str| check("docs/API.md", text, &files, &[("run", ""), ("test", "[fast] --long N")]).len();
        for fine in [
            "see `xtask/src/main.rs`, `xtask/src/`, `eth0/1` and `xtask/<name>.rs`",
            "`cargo xtask run`, `cargo xtask COMMAND` and cargo xtask test.",
            "`cargo xtask test fast --long 3`, `cargo xtask test` slow",
            "    cargo xtask test --long 3 fast   # slow",
            "[notes](notes/API.md#x), [up](../xtask), [web](https://example.net/a), [here](#there)",
        ] {
            assert_eq!(messages(fine), 0, "{fine}");
        }
        for wrong in [
            "`xtask/src/gone.rs`",
            "cargo xtask demolish",
            "`cargo xtask test slow`",
            "    cargo xtask run --long",
            "[notes](notes/GONE.md)",
            "![a page](images/gone.webp)",
        ] {
            assert_eq!(messages(wrong), 1, "{wrong}");
        }
    }

    #[test]
    fn notes_may_name_what_is_gone() {
        assert!(is_document("docs/API.md") && is_document("CONTRIBUTING.md"));
        assert!(!is_document("docs/notes/API.md") && !is_document("tests/cases/demo/README.md"));
    }
}
