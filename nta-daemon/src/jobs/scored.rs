//! A scored file: a row for each host that did enough in a window, with what speaks against it and what a classifier is asked.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;

use crate::pipeline::{PipelineEvent, Sink};
use nta_core::domain::{Alert, AlertChange, AlertId, Basis, Opinion, Severity, Timestamp};
use nta_core::features::{Extent, extract};
use nta_core::model::{INPUTS, Input, MIN_PACKETS, Models, forest, input_names, is_active};
use nta_core::window::{HostStats, Snapshot, Span};

/// Columns before the inputs of a classifier.
pub(super) const COLUMNS: [&str; 14] = [
    "window_start",
    "window_end",
    "window_s",
    "host",
    "packets",
    "bytes",
    "flows",
    "severity",
    "alerts_as_source",
    "alerts_as_destination",
    "rule_score",
    "classifier_probability",
    "forest_score",
    "forest_threshold",
];
/// What stands between several types of alerts.
const BETWEEN: &str = ";";
/// The detector that is the classifier; the isolation forest has columns of its own.
const CLASSIFIER: &str = "xgboost";
/// Alerts that a window is compared with; the alerting layer keeps fewer open.
const MOST_ALERTS: usize = 20_000;

/// All columns.
pub(super) fn header() -> impl Iterator<Item = &'static str> {
    COLUMNS.into_iter().chain(input_names())
}

/// An alert as far as rows need it.
#[derive(Debug)]
struct Seen {
    kind: &'static str,
    severity: Severity,
    /// Of the surest rule, and of the classifier.
    scores: [Option<f64>; 2],
    ends: [Option<IpAddr>; 2],
    /// Start of its first window, end of its last.
    times: [Timestamp; 2],
}

fn is_rule(opinion: &Opinion) -> bool {
    opinion.basis == Basis::Rule
}

fn is_classifier(opinion: &Opinion) -> bool {
    opinion.detector == CLASSIFIER
}

/// Writes the rows of windows.
#[derive(Debug)]
pub(super) struct ScoredTable<W: Write> {
    to: csv::Writer<W>,
    models: Models,
    min_packets: u64,
    alerts: BTreeMap<AlertId, Seen>,
    raised: u64,
    rows: u64,
    failed: Option<io::Error>,
}

impl<W: Write> ScoredTable<W> {
    /// Begins with the line of names. `min_packets` is from where on a forest judges.
    pub(super) fn begin(to: W, models: Models, min_packets: u64) -> io::Result<Self> {
        let mut to = csv::Writer::from_writer(to);
        to.write_record(header())?;
        Ok(Self { to, models, min_packets, alerts: BTreeMap::new(), raised: 0, rows: 0, failed: None })
    }

    /// Whether something could not be written.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Where it was written, its rows, and the alerts that were raised.
    pub(super) fn end(self) -> io::Result<(W, u64, u64)> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let to = self.to.into_inner().map_err(csv::IntoInnerError::into_error)?;
        Ok((to, self.rows, self.raised))
    }

    fn alert(&mut self, change: AlertChange, alert: &Alert) {
        self.raised += u64::from(change == AlertChange::Raised);
        if self.alerts.len() >= MOST_ALERTS && !self.alerts.contains_key(&alert.id) {
            self.alerts.pop_first();
        }
        let seen = Seen {
            kind: alert.key.kind.word(),
            severity: alert.severity,
            scores: [is_rule, is_classifier].map(|is_asked| {
                let asked = alert.opinions.iter().filter(|opinion| is_asked(opinion)).map(|opinion| opinion.score);
                asked.reduce(f64::max)
            }),
            ends: [alert.key.source.host(), alert.key.destination.host()],
            times: [alert.first, alert.last],
        };
        self.alerts.insert(alert.id, seen);
    }

    fn window(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        let mut hosts: Vec<&HostStats> = snapshot.hosts.iter().filter(|host| is_active(host, MIN_PACKETS)).collect();
        hosts.sort_unstable_by_key(|host| host.address);
        hosts.into_iter().try_for_each(|host| self.host(snapshot, host))?;
        // Windows of the longest span reach back so far.
        let window = &snapshot.window;
        if snapshot.span == Span::Base {
            let reach = window.end.since(window.start).saturating_mul(Span::Long.factor() + 1);
            let oldest = Timestamp::from_nanos(window.end.as_nanos().saturating_sub(reach));
            self.alerts.retain(|_, seen| seen.times[1] >= oldest);
        }
        Ok(())
    }

    fn host(&mut self, snapshot: &Snapshot, host: &HostStats) -> io::Result<()> {
        let window = &snapshot.window;
        let extent = Extent { seconds: snapshot.seconds(), base_windows: snapshot.span.factor() as f64 };
        let ([rule, classifier], severity, [as_source, as_destination]) =
            self.against(host.address, [window.start, window.end]);
        let or_empty = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
        let forest = self
            .models
            .forest
            .as_ref()
            .filter(|_| snapshot.span == forest::SPAN && forest::is_judged(host, self.min_packets));
        let forest_score = forest.and_then(|forest| forest.score(&forest::row(&extract(host, extent))).ok());
        let own = [
            window.start.to_string(),
            window.end.to_string(),
            extent.seconds.to_string(),
            host.address.to_string(),
            host.packets().to_string(),
            host.bytes().to_string(),
            host.flows().to_string(),
            severity.map(Severity::word).unwrap_or_default().to_owned(),
            as_source,
            as_destination,
            or_empty(rule),
            or_empty(classifier),
            or_empty(forest_score),
            or_empty(forest.map(|forest| forest.threshold())),
        ];
        let inputs: Input = nta_core::model::input(host, extent);
        self.to.write_record(own.into_iter().chain(inputs.iter().map(ToString::to_string)))?;
        self.rows += 1;
        Ok(())
    }

    /// Of the alerts about a host in this time the largest score of a rule and of the classifier, the largest severity, and the types.
    fn against(&self, host: IpAddr, [start, end]: [Timestamp; 2]) -> ([Option<f64>; 2], Option<Severity>, [String; 2]) {
        let now = self.alerts.values().filter(|seen| seen.times[0] < end && seen.times[1] > start);
        let about: Vec<&Seen> = now.filter(|seen| seen.ends.contains(&Some(host))).collect();
        let types = |place: usize| {
            let mut types: Vec<&str> =
                about.iter().filter(|seen| seen.ends[place] == Some(host)).map(|seen| seen.kind).collect();
            types.sort_unstable();
            types.dedup();
            types.join(BETWEEN)
        };
        let scores = [0, 1].map(|judge| about.iter().filter_map(|seen| seen.scores[judge]).reduce(f64::max));
        (scores, about.iter().map(|seen| seen.severity).max(), [types(0), types(1)])
    }
}

impl<W: Write> Sink for ScoredTable<W> {
    fn take(&mut self, _number: u64, event: &PipelineEvent<'_>) {
        let written = match *event {
            PipelineEvent::Alert(change, alert) => {
                self.alert(change, alert);
                Ok(())
            }
            PipelineEvent::Judged(snapshot) if self.failed.is_none() => self.window(snapshot),
            _ => Ok(()),
        };
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }
}

/// A row of a scored file, as far as a classifier needs it.
#[derive(Debug)]
pub(super) struct ScoredRow {
    /// Start, end and length of the window, and the host.
    pub(super) about: [String; 4],
    pub(super) input: Input,
}

/// Where the columns are that a classifier needs.
#[derive(Debug)]
pub(super) struct Places {
    about: [usize; 4],
    inputs: [usize; INPUTS],
}

impl Places {
    /// In a file with these names; else the first that is missing.
    pub(super) fn of(names: &csv::StringRecord) -> Result<Self, String> {
        let place = |wanted: &str| names.iter().position(|name| name == wanted);
        let (mut about, mut inputs) = ([0; 4], [0; INPUTS]);
        let wanted = COLUMNS[..4].iter().copied().zip(about.iter_mut()).chain(input_names().zip(inputs.iter_mut()));
        for (name, to) in wanted {
            *to = place(name).ok_or_else(|| name.to_owned())?;
        }
        Ok(Self { about, inputs })
    }

    /// A row; else the column that holds no number.
    pub(super) fn row(&self, record: &csv::StringRecord) -> Result<ScoredRow, &'static str> {
        let cell = |place: usize| record.get(place).unwrap_or_default();
        let mut input = [0.0; INPUTS];
        for ((value, place), name) in input.iter_mut().zip(self.inputs).zip(input_names()) {
            *value = cell(place).parse().ok().filter(|value: &f32| value.is_finite()).ok_or(name)?;
        }
        Ok(ScoredRow { about: self.about.map(|place| cell(place).to_owned()), input })
    }
}
