//! Charts as static SVG, coloured by classes of the page's style.

use std::fmt::Write as _;

use super::{bytes, escaped};
use crate::report::capture::SeriesPart;

/// Size of a chart, and of what stands around its columns.
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;
const RIGHT: f64 = 150.0;
/// Classes of series.
const CLASSES: usize = 9;

/// Bytes over time: a column a step, the series one on the other.
pub(super) fn stacked(about: &str, (start, step_s): (&str, f64), series: &[SeriesPart], html: &mut String) {
    let steps = series.iter().map(|series| series.bytes.len()).max().unwrap_or_default();
    let at = |step: usize| series.iter().filter_map(|series| series.bytes.get(step)).sum::<u64>();
    let most = (0..steps).map(at).max().unwrap_or_default().max(1);
    let (room, height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let column = room / steps.max(1) as f64;
    let _fits = write!(
        html,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\"><title>{}</title>",
        escaped(about),
        escaped(about)
    );
    let foot = TOP + height;
    let _fits = write!(
        html,
        "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{foot}\" x2=\"{}\" y2=\"{foot}\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><text x=\"{}\" y=\"{foot}\" text-anchor=\"end\">0</text>\
         <text x=\"{LEFT}\" y=\"{}\">{}</text><text x=\"{}\" y=\"{}\" text-anchor=\"end\">+{}</text>",
        LEFT + room,
        LEFT - 6.0,
        TOP + 8.0,
        bytes(most),
        LEFT - 6.0,
        HEIGHT - 8.0,
        escaped(start),
        LEFT + room,
        HEIGHT - 8.0,
        seconds(step_s * steps as f64),
    );
    for step in 0..steps {
        let mut top = foot;
        for (index, series) in series.iter().enumerate() {
            let count = series.bytes.get(step).copied().unwrap_or_default();
            let tall = count as f64 / most as f64 * height;
            if tall < 0.05 {
                continue;
            }
            top -= tall;
            let _fits = write!(
                html,
                "<rect class=\"s{}\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"/>",
                index.min(CLASSES - 1),
                LEFT + step as f64 * column,
                (column - 0.5).max(0.5),
            );
        }
    }
    for (index, series) in series.iter().enumerate() {
        let (x, y) = (WIDTH - RIGHT + 12.0, TOP + 4.0 + index as f64 * 19.0);
        let _fits = write!(
            html,
            "<rect class=\"s{}\" x=\"{x}\" y=\"{y}\" width=\"10\" height=\"10\"/><text x=\"{}\" y=\"{}\">{}</text>",
            index.min(CLASSES - 1),
            x + 15.0,
            y + 9.0,
            escaped(&series.name),
        );
    }
    html.push_str("</svg>");
}

/// Bars of shares, the longest first.
pub(super) fn bars(about: &str, rows: &[(String, u64)], html: &mut String) {
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or_default().max(1);
    let height = rows.len() as f64 * 22.0 + 6.0;
    let _fits = write!(
        html,
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{0}\"><title>{0}</title>",
        escaped(about)
    );
    for (index, (name, count)) in rows.iter().enumerate() {
        let y = index as f64 * 22.0 + 3.0;
        let long = (*count as f64 / most as f64 * 480.0).max(1.0);
        let _fits = write!(
            html,
            "<text x=\"280\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect class=\"s0\" x=\"290\" y=\"{y:.1}\" width=\"{long:.1}\" height=\"16\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            y + 12.0,
            escaped(name),
            296.0 + long,
            y + 12.0,
            bytes(*count),
        );
    }
    html.push_str("</svg>");
}

/// A time to read.
pub(super) fn seconds(s: f64) -> String {
    if s < 120.0 {
        format!("{s:.1} s")
    } else if s < 7200.0 {
        format!("{:.1} min", s / 60.0)
    } else if s < 172_800.0 {
        format!("{:.1} h", s / 3600.0)
    } else {
        format!("{:.1} d", s / 86_400.0)
    }
}
