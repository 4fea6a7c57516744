//! The alert rules for Prometheus and the dashboard for Grafana under `docs/`: what they ask for is exposed by the daemon, the rules fire where
//! they should, and the dashboard can be drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nta_tests::daemon::collect;
use nta_tests::served::Served;
use nta_tests::{cases, installed, not_run, root};
use serde_json::{Value, json};

/// Labels that Prometheus adds, and those of its own `up` and of alerts.
const ADDED: [&str; 2] = ["instance", "job"];

/// What has no series in a replay, and its labels: the daemon's API tests have them.
const ELSEWHERE: [(&str, &[&str]); 9] = [
    ("nta_interface_dropped_packets_total", &["interface"]),
    ("nta_webhook_failing", &["webhook"]),
    ("nta_webhook_dead_letters_total", &["webhook"]),
    ("nta_webhook_attempts_total", &["webhook", "outcome"]),
    ("nta_sensor_lag_seconds", &["sensor"]),
    ("nta_sensor_silent_seconds", &["sensor"]),
    ("nta_sensor_missing_batches", &["sensor"]),
    ("nta_sensor_lost_batches", &["sensor"]),
    ("nta_collector_failing", &[]),
];

/// Values of labels that a replay does not have.
const LIVE: [(&str, &str); 1] = [("mode", "live")];

#[test]
fn rules_and_dashboard_ask_for_what_is_exposed() {
    let exposed = Exposed::of_a_replay();
    for text in [read(&rules())].iter().chain(&texts(&dashboard())) {
        exposed.check(text);
    }
    assert!(names("rate(nta_x_total{a=\"b\"}[5m])").any(|(name, _)| name == "nta_x_total"));
}

#[test]
fn promtool_accepts_the_rules_and_each_fires() {
    if !installed("promtool") {
        return not_run("promtool_accepts_the_rules_and_each_fires", "promtool is missing: cargo xtask setup");
    }
    promtool(&["check", "rules"], &rules());
    promtool(&["test", "rules"], &rules_test());
    let (rules, tests) = (read(&rules()), read(&rules_test()));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        let fires = tests
            .split("- alertname: ")
            .any(|test| test.starts_with(&format!("{alert}\n")) && test.contains("exp_labels"));
        assert!(fires, "no test has {alert} fire");
        assert!(tests.contains(&format!("{{ alertname: {alert}, ")), "no test has {alert} not fire where all is well");
    }
}

#[test]
fn promtool_accepts_what_the_dashboard_asks() {
    if !installed("promtool") {
        return not_run("promtool_accepts_what_the_dashboard_asks", "promtool is missing: cargo xtask setup");
    }
    let expressions = panels(&dashboard()).into_iter().flat_map(|panel| list(&panel["targets"])).map(|target| {
        let text = target["expr"].as_str().expect("an expression").replace("$__rate_interval", "5m");
        json!({ "record": "asked", "labels": { "of": target["refId"], "number": text.len().to_string() }, "expr": text })
    });
    // JSON is YAML.
    let file = json!({ "groups": [{ "name": "dashboard", "rules": expressions.collect::<Vec<_>>() }] });
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("dashboard.rules.yml");
    fs::write(&path, file.to_string()).expect("written");
    promtool(&["check", "rules", "--lint=none"], &path);
}

#[test]
fn the_dashboard_for_grafana_can_be_drawn() {
    let dashboard = dashboard();
    assert!(
        dashboard["schemaVersion"].as_u64() >= Some(36) && dashboard["uid"].is_string() && dashboard["id"].is_null()
    );
    let variables: Vec<Value> = list(&dashboard["templating"]["list"]);
    let named: Vec<&str> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
    assert_eq!(named, ["datasource", "instance", "interface"]);
    let panels = list(&dashboard["panels"]);
    let mut ids = BTreeSet::new();
    let mut taken = BTreeMap::new();
    for panel in &panels {
        let title = panel["title"].as_str().filter(|title| !title.is_empty()).expect("a title");
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: its id is another's");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().expect("a place"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title} is outside of the 24 columns");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert_eq!(taken.insert(cell, title), None, "{title} lies over another panel at {cell:?}");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{title} is not described");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        let targets = list(&panel["targets"]);
        let letters: BTreeSet<&str> = targets.iter().filter_map(|target| target["refId"].as_str()).collect();
        assert!(!targets.is_empty() && letters.len() == targets.len(), "{title}: {letters:?}");
        for source in targets.iter().map(|target| &target["datasource"]).chain([&panel["datasource"]]) {
            assert_eq!(source["uid"], "${datasource}", "{title} has a source of its own");
        }
    }
}

/// What a scrape has: of each series' name its labels, and their values.
struct Exposed {
    series: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// Names of families with and without series.
    families: BTreeSet<String>,
}

impl Exposed {
    fn of_a_replay() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let database = format!("sqlite:{}", folder.path().join("nta.db").display());
        let served = Served::start(&cases().join("port_scan-hit/input.pcap"), &database, true);
        // Requests are counted when they were answered.
        drop(served.get("/health"));
        let (status, text) = served.bytes("/metrics");
        assert_eq!(status, 200);
        let text = String::from_utf8(text).expect("UTF-8");
        let mut exposed = Self { series: BTreeMap::new(), families: BTreeSet::new() };
        for line in text.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                exposed.families.extend(family.split(' ').next().map(str::to_owned));
            } else if let Some((name, labels)) = names(line).next() {
                let of = exposed.series.entry(name.to_owned()).or_default();
                for (label, _, value) in matchers(labels) {
                    of.entry(label.to_owned()).or_default().insert(value.to_owned());
                }
            }
        }
        exposed
    }

    /// Every series that a text names exists, with the labels that it is asked for by, and these have the values that are asked for.
    fn check(&self, text: &str) {
        for (name, labels) in names(text) {
            let elsewhere = ELSEWHERE.iter().find(|(of, _)| *of == name);
            let of = self.series.get(name);
            assert!(
                of.is_some() || (elsewhere.is_some() && self.families.contains(name)),
                "{name} is not exposed: {text}"
            );
            for (label, operator, value) in matchers(labels) {
                let values = of.and_then(|of| of.get(label));
                let is_known = values.is_some() || elsewhere.is_some_and(|(_, labels)| labels.contains(&label));
                assert!(is_known || ADDED.contains(&label), "{name} has no label {label}: {text}");
                if let (Some(values), "=" | "!=") = (values, operator) {
                    let is_live = LIVE.contains(&(label, value));
                    assert!(is_live || values.contains(value), "{name} has no {label} {value:?}: {text}");
                }
            }
        }
        for label in grouped(text) {
            let is_elsewhere = ELSEWHERE.iter().any(|(_, labels)| labels.contains(&label));
            let is_known =
                ADDED.contains(&label) || is_elsewhere || self.series.values().any(|of| of.contains_key(label));
            assert!(is_known, "no series has the label {label}: {text}");
        }
    }
}

/// Names of series in a text, each with what stands in braces behind it.
fn names(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let starts = text.char_indices().filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        let is_start = ["nta_", "process_"].iter().any(|start| text[*at..].starts_with(start));
        is_start && !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
    });
    starts.map(|(at, _)| {
        let end =
            text[at..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(text.len(), |length| at + length);
        let labels = text[end..].strip_prefix('{').and_then(|rest| rest.split('}').next());
        (&text[at..end], labels.unwrap_or_default())
    })
}

/// Label, operator and value of what stands in braces.
fn matchers(labels: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let mut rest = labels;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([',', ' ']);
        let (label, quoted) = rest.split_once('"')?;
        let (value, after) = quoted.split_once('"')?;
        rest = after;
        let name = label.trim_end_matches(['=', '!', '~']);
        Some((name, &label[name.len()..], value))
    })
}

/// Labels that a text sums by, joins on, or writes.
fn grouped(text: &str) -> Vec<&str> {
    let lists =
        ["by (", "on ("].iter().flat_map(|open| text.split(open).skip(1)).filter_map(|rest| rest.split(')').next());
    let written = text.split("$labels.").skip(1).chain(text.split("{{").skip(1).filter(|rest| !rest.starts_with(' ')));
    let end = |rest: &'_ str| rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    lists.flat_map(|list| list.split(", ")).chain(written.map(|rest| &rest[..end(rest)])).collect()
}

/// What a dashboard asks for and writes: expressions, legends, and the queries of its variables.
fn texts(of: &Value) -> Vec<String> {
    match of {
        Value::Array(all) => all.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        Value::String(text) => vec![text.clone()],
        _ => Vec::new(),
    }
}

fn panels(dashboard: &Value) -> Vec<Value> {
    list(&dashboard["panels"]).into_iter().filter(|panel| panel["type"] != "row").collect()
}

fn list(of: &Value) -> Vec<Value> {
    of.as_array().expect("a list").clone()
}

fn dashboard() -> Value {
    serde_json::from_str(&read(&root().join("docs/grafana/nta.json"))).expect("JSON")
}

fn rules() -> PathBuf {
    root().join("docs/prometheus/nta.rules.yml")
}

fn rules_test() -> PathBuf {
    root().join("docs/prometheus/nta.rules.test.yml")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn promtool(args: &[&str], file: &Path) {
    let mut command = Command::new("promtool");
    command.args(args).arg(file);
    let run = collect(command, &[]);
    assert_eq!(run.status, Some(0), "{args:?}: {}{}", String::from_utf8_lossy(&run.stdout), run.stderr);
}
