//! `[remote_write]`: Prometheus, which others wrote, holds what `/metrics` says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use nta_tests::netns::{alone, output, wait_for};
use nta_tests::process::Process;
use serde_json::Value;

use super::daemon::Daemon;
use super::{Pair, can_run};

const SOON: Duration = Duration::from_secs(60);
const PROMETHEUS: &str = "http://127.0.0.1:9090";

/// Name and labels of a series, without those that only a store has.
type Series = BTreeSet<(String, String)>;

/// What `/metrics` says in the text format.
fn exposed(pair: &Pair) -> BTreeMap<Series, f64> {
    let text = output(pair.inside.command("curl").args(["-s", "http://127.0.0.1:5000/metrics"])).stdout;
    let text = String::from_utf8(text).expect("text");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').expect("a sample");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
        let label = |label: &str| {
            let (name, value) = label.split_once("=\"").expect("a label");
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        };
        let name = ("__name__".to_owned(), name.to_owned());
        (labels.map(label).chain([name]).collect(), value.parse().expect("a number"))
    };
    lines.map(sample).collect()
}

/// The answer of Prometheus to a query: each series with its value.
fn asked(pair: &Pair, query: &str) -> Vec<(BTreeMap<String, String>, f64)> {
    let url = format!("{PROMETHEUS}/api/v1/query");
    let query = format!("query={query}");
    let answer = output(pair.inside.command("curl").args(["-s", "-G", "--data-urlencode", &query, &url])).stdout;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let result = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    let series = result.into_iter().map(|series| {
        let value = series["value"][1].as_str().expect("a value").parse().expect("a number");
        (serde_json::from_value(series["metric"].clone()).expect("labels"), value)
    });
    series.collect()
}

#[test]
fn prometheus_holds_what_metrics_says_and_knows_when_it_ends() {
    if !can_run("prometheus_holds_what_metrics_says_and_knows_when_it_ends", &["prometheus", "ping"]) {
        return;
    }
    let (_alone, pair, folder) = (alone(), Pair::silent(), tempfile::tempdir().expect("a folder"));
    let [config, token, scrapes, store] =
        ["nta.toml", "token", "prometheus.yml", "prometheus"].map(|name| folder.path().join(name));
    std::fs::write(&token, "of-the-store\n").expect("written");
    let token = token.display();
    let text =
        format!("[remote_write]\nto = \"{PROMETHEUS}/api/v1/write\"\ninterval_s = 1\ntoken_file = \"{token}\"\n");
    std::fs::write(&config, text).expect("written");
    std::fs::write(&scrapes, "scrape_configs: []\n").expect("written");
    let mut daemon = Daemon::start_with(&pair.inside, folder.path(), "v0", "tcx", &config);
    pair.peer.run("ping -q -c 20 -i 0.01 -W 2 10.77.1.1");
    daemon.wait_for_window();

    // It comes when some pushes have failed already.
    let mut command = pair.inside.command("prometheus");
    command.args(["--web.enable-remote-write-receiver", "--web.listen-address=127.0.0.1:9090", "--log.level=warn"]);
    command.arg(format!("--config.file={}", scrapes.display())).arg(format!("--storage.tsdb.path={}", store.display()));
    let mut prometheus = Process::start(&mut command, folder.path(), "prometheus.log");
    let pushed_at = || asked(&pair, "timestamp(nta_windows_closed_total)").first().map(|(_, at)| *at);
    wait_for("a push", SOON, pushed_at);

    let before = exposed(&pair);
    let asked_at = Timestamp::now().as_millisecond() as f64 / 1000.0;
    wait_for("the next push", SOON, || pushed_at().filter(|at| *at > asked_at));
    let held = asked(&pair, "{job=\"nta\"}");
    let after = exposed(&pair);
    assert!(prometheus.ended().is_none(), "{}", prometheus.log());

    let sensor = daemon.windows()[0]["sensor"].as_str().expect("a name").to_owned();
    let mut values = BTreeMap::new();
    for (labels, value) in held {
        assert_eq!((labels["instance"].as_str(), labels["job"].as_str()), (sensor.as_str(), "nta"), "{labels:?}");
        let own = labels
            .into_iter()
            .filter(|(name, value)| !matches!(name.as_str(), "instance" | "job") && !value.is_empty());
        values.insert(own.collect::<Series>(), value);
    }
    let mut compared = 0;
    for (series, value) in &before {
        let known: Series = series.iter().filter(|(_, value)| !value.is_empty()).cloned().collect();
        let held = values.get(&known).unwrap_or_else(|| panic!("no {series:?}"));
        // What only grows, and stood still, was the same in between.
        let is_growing = |(name, value): &(String, String)| {
            name == "__name__" && ["_total", "_bucket", "_count", "_sum"].iter().any(|end| value.ends_with(end))
        };
        if after.get(series) == Some(value) && series.iter().any(is_growing) {
            assert_eq!(held.to_bits(), value.to_bits(), "{series:?}");
            compared += 1;
        }
    }
    println!("{compared} of {} series only grow and stood still: they are the same in Prometheus", before.len());
    assert!(compared > 200, "{compared} of {}", before.len());
    let status = daemon.status();
    let outputs = status["outputs"].as_array().expect("outputs");
    let pushes = outputs.iter().find(|output| output["name"] == "remote_write").expect("what is pushed");
    assert_eq!((&pushes["dropped"], &pushes["failing"]), (&0.into(), &false.into()), "{pushes}");
    assert!(pushes["last_error"].as_str().is_some_and(|error| error.contains("refused")), "{pushes}");

    assert!(daemon.stop().success());
    wait_for("the end of all series", SOON, || asked(&pair, "{job=\"nta\"}").is_empty().then_some(()));
    prometheus.stop("TERM", SOON);
}
