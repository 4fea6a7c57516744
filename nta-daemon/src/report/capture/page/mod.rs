//! A report as one page: no script, static charts, and one style that the page's policy names by its hash.

mod chart;
mod tables;

use std::fmt::Write as _;

use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use super::CaptureReport;

/// The page, and the policy that it is served under.
pub(crate) struct Page {
    pub(crate) html: String,
    /// `Content-Security-Policy`: nothing but its own style.
    pub(crate) policy: String,
}

/// The page of a report.
pub(crate) fn page(report: &CaptureReport) -> Page {
    let title = if report.name.is_empty() { &report.file_id } else { &report.name };
    let mut html = String::with_capacity(64 << 10);
    let _fits = write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} · report</title><style>{STYLE}</style></head><body><header><h1>{title}</h1>\
         <p>SHA-256 <code>{}</code> · {} · <a href=\"/api/captures/{}\">capture</a></p></header><main>",
        escaped(&report.sha256),
        bytes(report.file_bytes),
        report.file_id,
        title = escaped(title),
    );
    tables::all(report, &mut html);
    html.push_str("</main></body></html>\n");
    Page { html, policy: policy() }
}

fn policy() -> String {
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// Text that stands for itself: captures name things as they like.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// A number of bytes to read.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Colours are told apart also by who sees few of them; both schemes.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--paper:#fff;--bad:#b3261e;--warn:#9a6700}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--line:#3d444d;--paper:#0d1117;--bad:#ff8a80;--warn:#d9a441}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 auto;max-width:70rem;padding:1rem}\
h1{font-size:1.4rem;margin:.5rem 0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2rem 0 .5rem}\
p{margin:.3rem 0}code{overflow-wrap:anywhere}a{color:inherit}\
section{overflow-x:auto}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}\
th{color:var(--soft);font-weight:600}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
.critical,.high{color:var(--bad);font-weight:600}.medium{color:var(--warn);font-weight:600}\
.sums{display:flex;flex-wrap:wrap;gap:1.5rem;padding:0;list-style:none}.sums b{display:block;font-size:1.3rem}\
svg{width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}svg .axis{stroke:var(--line)}\
.s0{fill:#0072b2}.s1{fill:#e69f00}.s2{fill:#009e73}.s3{fill:#cc79a7}.s4{fill:#56b4e9}.s5{fill:#d55e00}.s6{fill:#b8a800}.s7{fill:#7f3c8d}.s8{fill:#888}\
@media print{a{text-decoration:none}}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_capture_names_stays_text() {
        assert_eq!(escaped("<b a='1' c=\"2\">&\u{7}"), "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;\u{fffd}");
        assert!(!STYLE.contains('<'), "it stands in an element");
    }

    #[test]
    fn bytes_are_short() {
        for (count, text) in [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (254_000_000, "254.0 MB")] {
            assert_eq!(bytes(count), text);
        }
    }
}
