//! An alert as one page: static SVG, no script, one style whose hash the page's policy names. All that it shows comes from the
//! document of `/api/alerts/{id}/evidence`, and is escaped: names and sentences may hold what an attacker sent.

use std::fmt::{self, Display, Formatter, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733;\
background:#fff}h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:2rem}table{border-collapse:collapse;width:100%}td,th{\
text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #dde3ea;vertical-align:top;overflow-wrap:anywhere}\
.severity{padding:.1rem .5rem;border-radius:.25rem;color:#fff;background:#5b6b7b}.high,.critical{background:#b3261e}\
.medium{background:#a15c00}svg{width:100%;height:auto}.note{color:#5b6b7b}";

/// Rows of a table of the page; the document has more.
const MOST_ROWS: usize = 50;
/// Bars of a chart.
const MOST_BARS: usize = 200;

/// What a browser may do with the page.
pub(super) fn policy() -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

/// The page of this evidence.
pub(super) fn page(evidence: &Value) -> String {
    let alert = &evidence["alert"];
    let why = &alert["why"];
    let title = format!("{} {}", text(&alert["type"]), text(&alert["id"]));
    let mut page = String::new();
    // A String takes whatever is written.
    let mut out = |args: fmt::Arguments<'_>| {
        let _infallible = page.write_fmt(args);
    };
    out(format_args!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" \
         content=\"{}\"><meta name=\"viewport\" content=\"width=device-width\"><title>{}</title><style>{STYLE}</style></head><body>",
        Escaped(&policy()),
        Escaped(&title)
    ));
    let severity = text(&alert["severity"]);
    out(format_args!(
        "<h1><span class=\"severity {0}\">{0}</span> {1}</h1><p>{2}</p>",
        Escaped(&severity),
        Escaped(&title),
        Escaped(&text(&why["summary"]))
    ));
    out(format_args!("<table>"));
    for (name, value) in [
        ("Source", &alert["source"]),
        ("Destination", &alert["destination"]),
        ("Port", &alert["port"]),
        ("First packet", &alert["first_seen"]),
        ("Last packet", &alert["last_seen"]),
        ("State", &alert["state"]),
        ("Status", &alert["status"]),
        ("Verdict", &alert["verdict"]),
        ("Status by", &alert["status_by"]),
        ("Sensor", &alert["sensor"]),
        ("Detector", &alert["detector"]),
        ("Technique", &why["technique"]["name"]),
        ("What to do", &why["recommendation"]),
    ] {
        if !value.is_null() {
            out(format_args!("<tr><th>{name}</th><td>{}</td></tr>", Escaped(&text(value))));
        }
    }
    out(format_args!("</table><h2>Measured and threshold</h2>{}", Gauge(why)));
    out(format_args!("{}", Rows { title: "Facts", rows: facts(&why["facts"]), cut: false }));
    let contributors = rows(&why["contributors"], &["what", "amount"]);
    out(format_args!("{}", Rows { title: "Largest contributors", rows: contributors, cut: false }));
    out(format_args!("<h2>Bandwidth of the windows, in bit/s</h2>{}", Bars(&evidence["windows"])));
    let findings = rows(&evidence["anomalies"], &["window_start", "detector", "severity", "score"]);
    out(format_args!("{}", Rows { title: "Findings", rows: findings, cut: false }));
    let is_cut = evidence["flows_cut"] == true;
    let fields = ["first_time", "source", "source_port", "destination", "destination_port", "protocol", "conn_state"];
    out(format_args!("{}", Rows { title: "Flows", rows: rows(&evidence["flows"], &fields), cut: is_cut }));
    if let Some(missing) = evidence["flows_missing"].as_str() {
        out(format_args!("<p class=\"note\">No flows: {}.</p>", Escaped(missing)));
    }
    out(format_args!("{}", Rows { title: "Notes", rows: rows(&alert["notes"], &["at", "by", "note"]), cut: false }));
    out(format_args!("</body></html>\n"));
    page
}

/// A value as a reader sees it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn facts(facts: &Value) -> Vec<Vec<String>> {
    facts.as_object().into_iter().flatten().map(|(name, value)| vec![name.clone(), text(value)]).collect()
}

fn rows(list: &Value, fields: &[&str]) -> Vec<Vec<String>> {
    let row = |item: &Value| fields.iter().map(|field| text(&item[*field])).collect();
    list.as_array().into_iter().flatten().map(row).collect()
}

/// Text that is no markup.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            // What turns the direction of the text, or is not seen, is shown as what it is.
            c if c.is_control() || ('\u{200b}'..='\u{202e}').contains(&c) || ('\u{2060}'..='\u{2069}').contains(&c) => {
                write!(f, "{}", c.escape_unicode())
            }
            c => f.write_char(c),
        })
    }
}

/// A table with its heading; nothing where there are no rows.
struct Rows {
    title: &'static str,
    rows: Vec<Vec<String>>,
    cut: bool,
}

impl Display for Rows {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        write!(f, "<h2>{}</h2><table>", self.title)?;
        for row in self.rows.iter().take(MOST_ROWS) {
            f.write_str("<tr>")?;
            row.iter().try_for_each(|cell| write!(f, "<td>{}</td>", Escaped(cell)))?;
            f.write_str("</tr>")?;
        }
        f.write_str("</table>")?;
        let more = self.rows.len().saturating_sub(MOST_ROWS);
        if more > 0 || self.cut {
            let at_least = if self.cut { "at least " } else { "" };
            write!(f, "<p class=\"note\">{at_least}{} more in the JSON document.</p>", more.max(1))?;
        }
        Ok(())
    }
}

/// What was measured, as a bar beside the threshold.
struct Gauge<'a>(&'a Value);

impl Display for Gauge<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [observed, threshold] =
            ["observed", "threshold"].map(|name| self.0[name].as_f64().filter(|v| v.is_finite()).unwrap_or_default());
        let most = observed.max(threshold).max(f64::MIN_POSITIVE);
        let [bar, line] = [observed, threshold].map(|value| (value / most * 560.0).clamp(0.0, 560.0));
        write!(
            f,
            "<svg viewBox=\"0 0 600 70\" role=\"img\"><rect x=\"20\" y=\"10\" width=\"{bar:.1}\" height=\"24\" fill=\"#2b6cb0\"/>\
             <line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"4\" y2=\"40\" stroke=\"#b3261e\" stroke-width=\"2\"/><text x=\"20\" y=\"60\" \
             font-size=\"14\">{1}: {observed} {2}, threshold {threshold}</text></svg>",
            line + 20.0,
            Escaped(&text(&self.0["measure"])),
            Escaped(&text(&self.0["unit"]))
        )
    }
}

/// The bandwidth of windows.
struct Bars<'a>(&'a Value);

impl Display for Bars<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let windows: Vec<&Value> = self.0.as_array().into_iter().flatten().take(MOST_BARS).collect();
        if windows.is_empty() {
            return f.write_str("<p class=\"note\">No window of that time is stored.</p>");
        }
        let bps = |window: &Value| window["bandwidth_bps"].as_f64().unwrap_or_default();
        let most = windows.iter().map(|window| bps(window)).fold(1.0, f64::max);
        let step = 560.0 / windows.len() as f64;
        write!(f, "<svg viewBox=\"0 0 600 140\" role=\"img\">")?;
        for (place, window) in windows.iter().enumerate() {
            let height = (bps(window) / most * 100.0).clamp(0.0, 100.0);
            write!(
                f,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"#2b6cb0\"><title>{}: {:.0}</title></rect>",
                20.0 + place as f64 * step,
                110.0 - height,
                (step * 0.8).max(0.5),
                Escaped(&text(&window["start"])),
                bps(window)
            )?;
        }
        let ends =
            [windows.first(), windows.last()].map(|window| window.map_or_else(String::new, |w| text(&w["start"])));
        write!(
            f,
            "<text x=\"20\" y=\"132\" font-size=\"12\">{} to {}, at most {most:.0} bit/s</text></svg>",
            Escaped(&ends[0]),
            Escaped(&ends[1])
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_an_attacker_sent_is_no_markup() {
        let evil = "<script>alert(1)</script>\"'&\u{202e}";
        let page = page(&json!({
            "alert": {"type": evil, "id": "1", "severity": evil, "source": evil, "notes": [{"note": evil}],
                "why": {"summary": evil, "measure": evil, "unit": evil, "observed": 40.0, "threshold": 0.0,
                    "facts": {evil: evil}, "contributors": [{"what": evil, "amount": 1}]}},
            "windows": [{"start": evil, "bandwidth_bps": 0.0}], "flows": [{"source": evil}], "flows_missing": evil,
        }));
        assert!(!page.contains("<script") && !page.contains('\u{202e}') && !page.contains("alert(1)</"), "{page}");
        assert!(page.matches("&lt;script&gt;").count() > 8, "{page}");
        assert!(!page.contains(" style=") && !page.contains("NaN") && !page.contains("src="), "{page}");
    }

    #[test]
    fn the_policy_names_the_style_that_the_page_has() {
        let page = page(&json!({}));
        let style = page.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).expect("one style");
        let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
        assert!(policy().contains(&hash));
        assert!(page.contains(&Escaped(&policy()).to_string()), "{page}");
    }
}
