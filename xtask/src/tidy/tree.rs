//! Rules about files as a whole: what every test case holds, and that no file names somebody's home.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::Finding;
use crate::process;

/// Every file of the checkout that git tracks or would track, relative to its root; of an unpacked archive, every file.
pub(super) fn files(root: &Path) -> Result<Vec<String>> {
    if !root.join(".git").exists() {
        let mut files = Vec::new();
        walk(root, root, &mut files)?;
        return Ok(files);
    }
    let mut git = Command::new("git");
    // In a container the checkout often belongs to another user, which git would refuse to look at.
    git.args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root);
    let list = process::output(&mut git)?;
    let mut files: Vec<String> = list.split('\0').filter(|file| !file.is_empty()).map(str::to_owned).collect();
    files.sort();
    files.dedup();
    Ok(files)
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                walk(root, &path, files)?;
            }
        } else if let Ok(inside) = path.strip_prefix(root) {
            files.push(inside.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// Every folder of tests/cases says where its capture comes from, and has one.
pub(super) fn check_cases(files: &[String]) -> Vec<Finding> {
    let mut cases: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    for file in files {
        let Some((case, inside)) = file.strip_prefix("tests/cases/").and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        let (has_readme, has_capture) = cases.entry(case).or_default();
        *has_readme |= inside == "README.md";
        *has_capture |= is_capture(inside);
    }
    let mut findings = Vec::new();
    for (case, (has_readme, has_capture)) in cases {
        let path = format!("tests/cases/{case}");
        if !has_readme {
            findings.push(Finding::error(
                &path,
                1,
                "the case has no README.md: say what it shows and where it is from",
            ));
        }
        if !has_capture {
            findings.push(Finding::error(&path, 1, "the case has no capture"));
        }
    }
    findings
}

fn is_capture(name: &str) -> bool {
    [".pcap", ".cap"].iter().any(|extension| name.contains(extension))
}

/// No file names the machine it was written on; the built object is a file like any other here.
pub(super) fn check_homes(path: &str, bytes: &[u8]) -> Vec<Finding> {
    if is_capture(path) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        if HOMES.iter().any(|home| names(line, home.as_bytes())) {
            findings.push(Finding::error(path, index + 1, "an absolute path of somebody's machine"));
        }
    }
    findings
}

/// Whether the line has `home` at the start of a path that goes on below it.
fn names(line: &[u8], home: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let mut places = line.windows(home.len()).enumerate().filter(|(_, window)| *window == home);
    places.any(|(at, _)| {
        let before = at.checked_sub(1).and_then(|before| line.get(before));
        let starts_path = !before.is_some_and(|byte| is_name(byte) || matches!(byte, b'/' | b'$' | b'}'));
        starts_path && line.get(at + home.len()).is_some_and(is_name)
    })
}

/// Written in two halves, so that this file does not name them.
const HOMES: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/tm", "p/wt/")];

#[cfg(test)]
mod tests {
    use super::{HOMES, check_cases, check_homes};

    #[test]
    fn a_case_has_a_readme_and_a_capture() {
        let files = |names: &[&str]| names.iter().map(|name| format!("tests/cases/{name}")).collect::<Vec<_>>();
        assert!(check_cases(&files(&["a/README.md", "a/input.pcap", "b/README.md", "b/input.pcapng.zst"])).is_empty());
        assert_eq!(check_cases(&files(&["a/README.md"])).len(), 1);
        assert_eq!(check_cases(&files(&["a/input.pcap"])).len(), 1);
        assert_eq!(check_cases(&files(&["a/case.toml"])).len(), 2);
    }

    #[test]
    fn homes_are_found_and_words_that_look_alike_are_not() {
        for home in HOMES {
            assert_eq!(check_homes("a.md", format!("see\n{home}jo/nta").as_bytes()).len(), 1, "{home}");
            assert!(check_homes("a.md", format!("https://example.net{home}jo").as_bytes()).is_empty(), "{home}");
            assert!(check_homes("a.pcap", format!("{home}jo").as_bytes()).is_empty());
            assert!(check_homes("a.md", format!("`{home}`").as_bytes()).is_empty());
        }
    }
}
