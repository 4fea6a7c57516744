//! What a client takes, by the header `Accept` (RFC 9110, 12.5.1): of several ranges that fit, the most specific one counts, and
//! `q=0` means that it does not take it.

use axum::http::{HeaderMap, header};

/// Whether a client names `special`, takes it, and likes nothing of `usual` better.
pub(super) fn prefers(headers: &HeaderMap, special: &str, usual: &str) -> bool {
    let is_named = |found: (u8, u16)| found.0 == EXACT && found.1 > 0 && found.1 >= quality_named(headers, usual);
    named(headers, special).is_some_and(is_named)
}

/// Whether a page is liked at least as much as JSON, as browsers like it.
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(','));
    let (mut html, mut json) = (0.0_f64, 0.0_f64);
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
        match name.as_str() {
            "text/html" | "application/xhtml+xml" => html = html.max(quality),
            "application/json" => json = json.max(quality),
            _ => {}
        }
    }
    html > 0.0 && html >= json
}

/// The quality of what is liked best.
const FULL: u16 = 1000;
/// How specific a range is that names the media type.
const EXACT: u8 = 2;

/// The quality of a type that the client names; 0 where it takes it by a wildcard alone.
fn quality_named(headers: &HeaderMap, media_type: &str) -> u16 {
    named(headers, media_type).filter(|(specific, _)| *specific == EXACT).map_or(0, |(_, q)| q)
}

/// The most specific range that holds a media type: how specific it is, and its quality.
fn named(headers: &HeaderMap, media_type: &str) -> Option<(u8, u16)> {
    let (kind, _) = media_type.split_once('/')?;
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next()?;
        let specific = if name.eq_ignore_ascii_case(media_type) {
            EXACT
        } else if name.split_once('/').is_some_and(|(own, rest)| rest == "*" && own.eq_ignore_ascii_case(kind)) {
            1
        } else if name == "*/*" {
            0
        } else {
            return None;
        };
        let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        // What is no number is none.
        let q = q.map_or(Some(1.0), |q| q.trim().parse::<f32>().ok()).filter(|q| (0.0..=1.0).contains(q));
        Some((specific, (q.unwrap_or_default() * f32::from(FULL)).round() as u16))
    });
    ranges.max_by_key(|(specific, q)| (*specific, *q))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_range_counts_and_zero_means_no() {
        let [special, usual] = ["application/x-ndjson", "application/json"];
        for (accept, preferred) in [
            (None, false),
            (Some("*/*"), false),
            (Some("application/x-ndjson"), true),
            (Some("text/html;q=0.1, Application/X-NDJSON"), true),
            (Some("application/x-ndjson;q=0"), false),
            (Some("*/*, application/x-ndjson;q=0"), false),
            (Some("application/x-ndjson; q=0.2, */*"), true),
            (Some("application/x-ndjson;q=0.2, application/json"), false),
            (Some("application/*;q=0.5"), false),
            (Some("application/x-ndjson;q=none"), false),
            (Some("text/html"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().expect("a value"));
            }
            assert_eq!(prefers(&headers, special, usual), preferred, "{accept:?}");
        }
    }
}
