//! Every detector is documented, and has a case that shows it and one that it must not be moved by.

use super::Finding;

/// The list of detectors.
pub(super) const REGISTRY: &str = "nta-core/src/detect/registry.rs";
/// Where they are documented.
pub(super) const DOCUMENT: &str = "docs/DETECTORS.md";

/// The rule about detectors; `registry` and `document` are the texts of these files.
pub(super) fn check(registry: &str, document: &str, files: &[String]) -> Vec<Finding> {
    let sections = sections(registry);
    if sections.is_empty() {
        return vec![Finding::error(REGISTRY, 1, "no `registry! { section: file::Type(Config), … }` is found")];
    }
    let mut findings = Vec::new();
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
        assert_eq!(check(REGISTRY, document, &files), []);
        assert_eq!(check(REGISTRY, &document.replace("flood", "floods"), &files).len(), 1);
        files.pop();
        let findings = check(REGISTRY, document, &files);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].to_string().contains(":6: flood has no tests/cases/flood-quiet"), "{}", findings[0]);
        assert_eq!(check("registry! {\n}\n", document, &files).len(), 1);
    }
}
