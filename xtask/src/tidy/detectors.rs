//! Every detector is documented, is named in the README, and has a case that shows it and one that it must not be moved by.

use super::Finding;

/// The list of detectors.
pub(super) const REGISTRY: &str = "nta-core/src/detect/registry.rs";
/// Where they are documented.
pub(super) const DOCUMENT: &str = "docs/DETECTORS.md";
/// Where they are named, all of them.
pub(super) const README: &str = "README.md";

/// What the README's list begins with; it ends with the paragraph.
const LIST: &str = "Detectors: ";
/// Detectors that the registry has without a line: they ask a model.
const LEARNED: [&str; 2] = ["isolation_forest", "xgboost"];

/// The rule about detectors; `registry`, `document` and `readme` are the texts of these files.
pub(super) fn check(registry: &str, [document, readme]: [&str; 2], files: &[String]) -> Vec<Finding> {
    let sections = sections(registry);
    if sections.is_empty() {
        return vec![Finding::error(REGISTRY, 1, "no `registry! { section: file::Type(Config), … }` is found")];
    }
    let mut findings = named(readme, &sections);
    for (line, section) in sections {
        if !is_documented(document, section) {
            findings.push(Finding::error(REGISTRY, line, format!("{section} has no heading or row in {DOCUMENT}")));
        }
        for kind in ["hit", "quiet"] {
            let alerts = format!("tests/cases/{section}-{kind}/alerts.json");
            if !files.contains(&alerts) {
                findings.push(Finding::error(REGISTRY, line, format!("{section} has no {alerts}")));
            }
        }
    }
    findings
}

/// Where the README's list and the registry do not agree.
fn named(readme: &str, sections: &[(usize, &str)]) -> Vec<Finding> {
    let Some((at, first)) = readme.lines().enumerate().find(|(_, line)| line.starts_with(LIST)) else {
        return vec![Finding::error(README, 1, format!("no paragraph begins with `{LIST}`"))];
    };
    let rest = readme.lines().skip(at + 1).take_while(|line| !line.is_empty());
    let list: String = std::iter::once(first).chain(rest).collect::<Vec<_>>().join(" ");
    let names: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    let all: Vec<&str> = sections.iter().map(|(_, section)| *section).chain(LEARNED).collect();
    let missing = all.iter().filter(|name| !names.contains(name)).map(|name| format!("{name} is not in the list"));
    let unknown = names.iter().filter(|name| !all.contains(name)).map(|name| format!("{name} is no detector"));
    missing.chain(unknown).map(|text| Finding::error(README, at + 1, text)).collect()
}

/// The sections that the registry's lines begin with, each with the number of its line.
fn sections(registry: &str) -> Vec<(usize, &str)> {
    let lines = registry.lines().enumerate().skip_while(|(_, line)| !line.starts_with("registry! {"));
    let list = lines.skip(1).take_while(|(_, line)| !line.starts_with('}'));
    let entries = list.filter(|(_, line)| !line.trim_start().starts_with("//"));
    entries.filter_map(|(index, line)| Some((index + 1, line.trim().split_once(": ")?.0))).collect()
}

fn is_documented(document: &str, section: &str) -> bool {
    let quoted = format!("`{section}`");
    document.lines().any(|line| {
        let heading = line.starts_with('#') && line.trim_start_matches('#').trim().trim_matches('`') == section;
        heading || line.starts_with('|') && line.split('|').nth(1).is_some_and(|cell| cell.trim() == quoted)
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    const REGISTRY: &str = "macro_rules! registry {}\n\nregistry! {\n    /// Scans: all.\n    scan: scan::Scan(ScanConfig),\n\
                            \x20   flood: flood::Flood(FloodConfig, networks),\n}\n";

    #[test]
    fn a_detector_has_a_document_and_two_cases() {
        let files = ["scan-hit", "scan-quiet", "flood-hit", "flood-quiet"];
        let mut files: Vec<String> = files.iter().map(|name| format!("tests/cases/{name}/alerts.json")).collect();
        let document = "# Detectors\n\n| `scan` | finds |\n\n### `flood`\n";
        let readme = "# nta\n\nDetectors: `scan`,\n`flood`, `isolation_forest` and `xgboost`.\n\nAnd `more`.\n";
        let texts = [document, readme];
        assert_eq!(check(REGISTRY, texts, &files), []);
        assert_eq!(check(REGISTRY, [&document.replace("flood", "floods"), readme], &files).len(), 1);
        assert_eq!(check(REGISTRY, [document, &readme.replace("`flood`", "flood")], &files).len(), 1);
        assert_eq!(check(REGISTRY, [document, &readme.replace("`flood`", "`flood`, `sweep`")], &files).len(), 1);
        assert_eq!(check(REGISTRY, [document, "# nta\n"], &files).len(), 1);
        files.pop();
        let findings = check(REGISTRY, texts, &files);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].to_string().contains(":6: flood has no tests/cases/flood-quiet"), "{}", findings[0]);
        assert_eq!(check("registry! {\n}\n", texts, &files).len(), 1);
    }
}
