//! The text format of Prometheus, version 0.0.4, from that of OpenMetrics: counters are called by the name of their sample, and there are
//! no units and no end.

use std::collections::HashSet;

/// The same exposition in the older format.
pub(super) fn plain(open_metrics: &str) -> String {
    let counters: HashSet<&str> =
        open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let about = ["# HELP ", "# TYPE "].iter().find_map(|start| Some((*start, line.strip_prefix(start)?)));
        match about.and_then(|(start, rest)| Some((start, rest.split_once(' ')?))) {
            Some((start, (name, rest))) if counters.contains(name) => {
                text.extend([start, name, "_total ", rest]);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_called_by_their_sample_and_nothing_else_changes() {
        let open = "# HELP a_seconds Times.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1.0\n# HELP b Bs.\n\
                    # TYPE b gauge\nb{x=\"# TYPE b counter\"} 2.0\n# EOF\n";
        let expected = "# HELP a_seconds_total Times.\n# TYPE a_seconds_total counter\na_seconds_total 1.0\n# HELP b Bs.\n# TYPE b gauge\n\
                        b{x=\"# TYPE b counter\"} 2.0\n";
        assert_eq!(plain(open), expected);
    }
}
