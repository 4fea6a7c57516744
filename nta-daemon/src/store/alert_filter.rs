//! Which alerts a list has, and by which indexes they are read.

use std::collections::BTreeSet;

use super::alerts::AlertSort;
use super::concerned::Side;
use super::db;
use super::list::{Branch, Condition, MOST_READ, SOON, Way, when};
use super::parties::PartyFilter;
use super::sensor::{self, Whose, sensor_number};
use super::to_sql;
use nta_core::domain::{Severity, Timestamp};

/// Its parties as texts.
const PARTIES: [&str; 2] = ["coalesce(source, '')", "coalesce(destination, '')"];

/// Which alerts.
#[derive(Clone, Debug, Default)]
pub struct AlertFilter {
    /// Of this kind.
    pub kind: Option<&'static str>,
    /// Of one of these kinds; of all where there is none.
    pub kinds: Vec<&'static str>,
    /// Of this severity.
    pub severity: Option<Severity>,
    /// Of one of these severities; of all where there is none.
    pub severities: Vec<Severity>,
    /// With one of these statuses; with all where there is none.
    pub statuses: Vec<&'static str>,
    /// With this status: open, acknowledged, resolved.
    pub status: Option<&'static str>,
    /// With this verdict: `true_positive`, benign, `false_positive`; `none` where nobody gave one.
    pub verdict: Option<&'static str>,
    /// In this state: raised, cleared.
    pub state: Option<&'static str>,
    /// From these sources.
    pub source: PartyFilter,
    /// About these destinations.
    pub destination: PartyFilter,
    /// That concern these: as source or destination, or beside them.
    pub host: PartyFilter,
    /// With a finding that ends behind this time.
    pub from: Option<Timestamp>,
    /// With a finding that starts before this time.
    pub to: Option<Timestamp>,
    /// Of these sensors.
    pub whose: Whose,
    /// Without those that are a part of an alert of several gateways.
    pub hides_parts: bool,
}

impl AlertFilter {
    /// The indexes of the filter that leaves the fewest, each in the order in which alerts were raised: of a host there are
    /// two. How many filters they stand for.
    fn branches(&self) -> Option<Vec<Branch>> {
        let of = |index| Branch { index: vec![index], ..Branch::default() };
        if let Some(hosts) = self.host.few() {
            let not_in = |at: usize| hosts.not_in(PARTIES[at]);
            let other = |index| Branch { edge: vec![not_in(0)], ..of(index) };
            let beside = |index| Branch { edge: vec![not_in(0), not_in(1)], ..of(index) };
            let parties = hosts.each("source").map(of).chain(hosts.each("destination").map(other));
            return Some(parties.chain(self.host.beside(None).map(beside)).collect());
        }
        let sides = [("source", &self.source, Side::Source), ("destination", &self.destination, Side::Destination)];
        for (at, (column, parties, side)) in sides.into_iter().enumerate() {
            let Some(few) = parties.few() else { continue };
            let beside = |index| Branch { edge: vec![few.not_in(PARTIES[at])], ..of(index) };
            return Some(few.each(column).map(of).chain(parties.beside(Some(side)).map(beside)).collect());
        }
        let words = [("kind = ?", self.kind), ("status = ?", self.status)];
        if let Some((column, word)) = words.into_iter().find_map(|(column, word)| Some((column, word?))) {
            return Some(vec![of(when(column, word))]);
        }
        // One for each word: together they hold all, and none twice.
        let several = [("kind = ?", &self.kinds), ("status = ?", &self.statuses)];
        let (column, words) = several.into_iter().find(|(_, words)| !words.is_empty())?;
        let words: BTreeSet<&str> = words.iter().copied().collect();
        Some(words.into_iter().map(|word| of(when(column, word))).collect())
    }

    /// Whether its indexes give alerts in the order in which they were raised: hosts beside the parties of an alert have none of it.
    fn is_in_order(&self) -> bool {
        let parties = if self.host.few().is_some() { vec![&self.host] } else { vec![&self.source, &self.destination] };
        !parties.into_iter().any(|parties| parties.few().is_some() && parties.beside(None).is_some())
    }

    /// All filters, written so that they use no index.
    pub(super) fn rest(&self, with_from: bool, with_sensor: bool) -> Vec<Condition> {
        let text = |sql, value: Option<String>| value.map(|value| when(sql, value));
        let severity = self.severity.map(|severity| when("severity + 0 = ?", severity as i64));
        let [from, to] = [self.from, self.to].map(|time| time.map(|time| to_sql(time.as_nanos())));
        let one_of =
            |expression, values: Vec<db::Value>| (!values.is_empty()).then(|| Condition::one_of(expression, values));
        let words = |words: &[&'static str]| words.iter().map(|word| (*word).into()).collect();
        let severities = self.severities.iter().map(|severity| (*severity as i64).into()).collect();
        let all = [
            one_of("coalesce(kind, '')", words(&self.kinds)),
            one_of("coalesce(status, '')", words(&self.statuses)),
            one_of("severity + 0", severities),
            self.host.condition(&PARTIES, None),
            self.source.condition(&PARTIES[..1], Some(Side::Source)),
            self.destination.condition(&PARTIES[1..], Some(Side::Destination)),
            text("coalesce(kind, '') = ?", self.kind.map(str::to_owned)),
            text("coalesce(status, '') = ?", self.status.map(str::to_owned)),
            text("coalesce(state, '') = ?", self.state.map(str::to_owned)),
            text("coalesce(verdict, 'none') = ?", self.verdict.map(str::to_owned)),
            severity,
            from.filter(|from| with_from && *from > 0).map(|from| when("last_ns + 0 > ?", from)),
            to.map(|to| when("first_ns + 0 < ?", to)),
            self.whose.only().filter(|_| with_sensor),
            self.hides_parts.then(|| Condition::new("joint IS NULL", Vec::new())),
        ];
        all.into_iter().flatten().collect()
    }

    /// By the column's index, if the rows of a page come soon; by the filter or the time; by the column's index.
    pub(super) fn ways(&self, sort: AlertSort) -> Vec<Way> {
        let by_last = sort == AlertSort::LastTime;
        let from = self.from.map_or(-1, |from| to_sql(from.as_nanos()));
        let in_order = |most| {
            let low = by_last.then_some(from.saturating_add(1));
            let by_time = by_last || sort == AlertSort::Time;
            let led = if by_time { self.whose.led() } else { &[] };
            let rest = self.rest(!by_last, led.is_empty());
            Way { low, ..Way::in_order(Branch::default(), rest, most).led_by(led, |sensor| vec![sensor::lead(sensor)]) }
        };
        let of_sensor = |sensor: &String| {
            [(OF_SENSOR_FROM, from), (OF_SENSOR_TO, i64::MAX)]
                .map(|(sql, last_ns)| Condition::new(sql, vec![sensor.as_str().into(), last_ns.into()]))
        };
        let rest = self.rest(false, self.whose.led().is_empty());
        let by_time = Way::sorted(Branch { index: vec![when("last_ns > ?", from)], ..Branch::default() }, rest)
            .found_by(self.whose.led(), of_sensor);
        let by_filter = self.branches().map(|branches| {
            let way = Way::sorted(Branch::default(), self.rest(true, true));
            Way { branches, in_order: sort == AlertSort::Time && self.is_in_order(), ..way }
        });
        [Some(in_order(SOON)), by_filter, Some(by_time), Some(in_order(MOST_READ))].into_iter().flatten().collect()
    }
}

/// A sensor's alerts, by the index that holds them.
const OF_SENSOR_FROM: &str = concat!("(sensor_id, last_ns) > (", sensor_number!(), ", ?)");
const OF_SENSOR_TO: &str = concat!("(sensor_id, last_ns) <= (", sensor_number!(), ", ?)");
