//! An alert of several gateways: what it says follows from its parts alone, in whatever order they come.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::body::AlertBody;
use super::rows::{AlertRow, encode};
use super::unreadable::Unreadable;
use super::{Row, StoreError};
use nta_core::alerting::{Common, common};
use nta_core::detect::{Networks, network};
use nta_core::domain::{AlertKey, AlertKind, ClearReason, Party};

/// Gateways that it names; how many more there are stands in its facts.
const MOST_NAMED: usize = 64;
/// Hosts of its parts' other sides by which it is found.
const MOST_HOSTS: usize = 1024;

/// How alerts of several gateways become one.
#[derive(Clone, Debug)]
pub struct Correlation {
    /// How far apart they may be, in nanoseconds; 0 where each stays by itself.
    pub apart_ns: u64,
    /// Private networks that are the same behind every gateway.
    pub shared: Networks,
    /// How often one had as many parts as it may have.
    pub left_out: Arc<AtomicU64>,
}

impl Default for Correlation {
    fn default() -> Self {
        Self { apart_ns: 300_000_000_000, shared: Networks::from(Vec::new()), left_out: Arc::default() }
    }
}

/// An alert of one gateway.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) number: i64,
    pub(super) run: i64,
    pub(super) sensor: String,
    /// The alert that it is a part of.
    pub(super) joint: Option<String>,
    pub(super) end_reason: Option<String>,
    pub(super) row: AlertRow,
}

pub(super) const PART: &str = "number, run_id, (SELECT r.sensor FROM runs r WHERE r.id = run_id) AS sensor, joint, end_reason, id, kind, \
     severity, source, destination, score_ppm, state, first_ns, last_ns, raised_ns, cleared_ns, body";

impl Part {
    pub(super) fn read(row: &Row) -> Result<Self, Unreadable> {
        Ok(Self {
            number: row.int("number")?,
            run: row.int("run_id")?,
            sensor: row.text("sensor")?,
            joint: row.opt_text("joint")?,
            end_reason: row.opt_text("end_reason")?,
            row: AlertRow {
                id: row.text("id")?,
                kind: row.text("kind")?,
                severity: row.int("severity")?,
                source: row.opt_text("source")?,
                destination: row.opt_text("destination")?,
                score_ppm: row.int("score_ppm")?,
                state: row.text("state")?,
                first_ns: row.natural("first_ns")?,
                last_ns: row.natural("last_ns")?,
                raised_ns: row.natural("raised_ns")?,
                cleared_ns: row.opt_natural("cleared_ns")?,
                body: row.text("body")?,
                hosts: Vec::new(),
            },
        })
    }

    pub(super) fn is_raised(&self) -> bool {
        self.row.state == "raised"
    }
}

/// What a stored alert has in common with those of other gateways.
pub(super) fn common_of(row: &AlertRow, shared: &Networks) -> Option<(AlertKind, Common)> {
    let kind = AlertKind::named(&row.kind)?;
    let key = AlertKey { kind, source: party(row.source.as_deref()), destination: party(row.destination.as_deref()) };
    Some((kind, common(&key, shared)?))
}

/// A party as a row has it; a station of a link is nobody elsewhere.
fn party(text: Option<&str>) -> Party {
    match text {
        None => Party::Nobody,
        Some("*") => Party::Many,
        Some(text) => match (text.parse::<IpAddr>(), network(text)) {
            (Ok(address), _) => Party::Host(address),
            (_, Ok(network)) => Party::Network(network.addr(), network.prefix_len()),
            _ => Party::Nobody,
        },
    }
}

/// Parts that follow each other without a pause of more than `apart_ns`, each such group by itself.
pub(super) fn groups(mut parts: Vec<Part>, apart_ns: i64) -> Vec<Vec<Part>> {
    parts.sort_by(|a, b| (a.row.first_ns, &a.row.id).cmp(&(b.row.first_ns, &b.row.id)));
    let mut groups: Vec<(i64, Vec<Part>)> = Vec::new();
    for part in parts {
        let end = part.row.last_ns;
        match groups.last_mut().filter(|(until, _)| part.row.first_ns <= until.saturating_add(apart_ns)) {
            Some((until, group)) => {
                *until = end.max(*until);
                group.push(part);
            }
            None => groups.push((end, vec![part])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The names of the gateways that saw it.
pub(super) fn gateways(parts: &[Part]) -> BTreeSet<&str> {
    parts.iter().map(|part| part.sensor.as_str()).collect()
}

/// The alert of these parts, of which there is at least one. Numbers are those of the gateway that saw it worst: the same packets may have
/// passed several, so that nothing is added up.
pub(super) fn joined(id: String, parts: &[Part]) -> Result<Option<AlertRow>, StoreError> {
    let worst = |a: &&Part, b: &&Part| {
        (a.row.severity, a.row.score_ppm).cmp(&(b.row.severity, b.row.score_ppm)).then_with(|| b.row.id.cmp(&a.row.id))
    };
    let Some(strongest) = parts.iter().max_by(worst) else { return Ok(None) };
    let bodies: BTreeMap<&str, AlertBody> = parts
        .iter()
        .filter_map(|part| Some((part.row.id.as_str(), AlertBody::read(part.number, &part.row.body).ok()?)))
        .collect();
    let mut body = bodies.get(strongest.row.id.as_str()).cloned().unwrap_or_default();
    let names = gateways(parts);
    let listed: Vec<String> = names.iter().take(MOST_NAMED).map(|name| (*name).to_owned()).collect();
    let more = names.len() - listed.len();
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let said = std::mem::take(&mut body.finding.summary);
    let by = format!("seen by {} gateways: {}{and_more}", names.len(), listed.join(", "));
    body.finding.summary = if said.is_empty() { by } else { format!("{by}. At {}: {said}", strongest.sensor) };
    body.finding.facts.push(("gateways".to_owned(), names.len().to_string()));
    body.gateways = listed;
    body.windows = bodies.values().map(|part| part.windows).max().unwrap_or_default();
    let findings = bodies.values().map(|part| u64::from(part.merged) + 1).sum::<u64>();
    body.merged = u32::try_from(findings.saturating_sub(1)).unwrap_or(u32::MAX);
    let seen = |end: usize| bodies.values().filter_map(move |part| Some(part.seen_ns?[end]));
    body.seen_ns = seen(0).min().zip(seen(1).max()).map(|(first, last)| [first, last]);
    let ports: BTreeSet<_> = bodies.values().map(|part| part.port).collect();
    body.port = if ports.len() == 1 { body.port } else { None };
    body.detectors =
        in_order(parts.iter().filter_map(|part| bodies.get(part.row.id.as_str())).flat_map(|part| &part.detectors));
    let goes_on = parts.iter().any(Part::is_raised);
    let cleared = |part: &&Part| (part.row.cleared_ns.unwrap_or(part.row.last_ns), part.row.id.clone());
    let last_over = parts.iter().max_by_key(cleared).filter(|_| !goes_on);
    body.clear_reason = last_over.map(|part| {
        let own = || bodies.get(part.row.id.as_str()).and_then(|body| body.clear_reason.clone());
        part.end_reason.clone().or_else(own).unwrap_or_else(|| ClearReason::Quiet.word().to_owned())
    });
    let [source, destination] =
        [|row: &AlertRow| row.source.clone(), |row: &AlertRow| row.destination.clone()].map(|of| {
            let all: BTreeSet<_> = parts.iter().map(|part| of(&part.row)).collect();
            if all.len() == 1 { all.into_iter().next().flatten() } else { Some(Party::Many.to_string()) }
        });
    let time = |of: fn(&AlertRow) -> i64| parts.iter().map(move |part| of(&part.row));
    Ok(Some(AlertRow {
        kind: strongest.row.kind.clone(),
        severity: strongest.row.severity,
        score_ppm: strongest.row.score_ppm,
        hosts: hosts(parts, [&source, &destination]),
        source,
        destination,
        state: if goes_on { "raised" } else { "cleared" }.to_owned(),
        first_ns: time(|row| row.first_ns).min().unwrap_or_default(),
        last_ns: time(|row| row.last_ns).max().unwrap_or_default(),
        raised_ns: second_raised(parts),
        cleared_ns: last_over.map(|part| part.row.cleared_ns.unwrap_or(part.row.last_ns)),
        body: encode("detected_alerts", 0, &body)?,
        id,
    }))
}

/// When a second gateway had raised it: before, it was one gateway's alone.
fn second_raised(parts: &[Part]) -> i64 {
    let mut first: BTreeMap<&str, i64> = BTreeMap::new();
    for part in parts {
        let raised = first.entry(&part.sensor).or_insert(part.row.raised_ns);
        *raised = part.row.raised_ns.min(*raised);
    }
    let mut raised: Vec<i64> = first.into_values().collect();
    raised.sort_unstable();
    raised.get(1).or(raised.first()).copied().unwrap_or_default()
}

/// The hosts that `*` stands for on a side of it.
fn hosts(parts: &[Part], joint: [&Option<String>; 2]) -> Vec<([u8; 16], u8)> {
    let side = |row: &AlertRow, side: usize| if side == 0 { row.source.clone() } else { row.destination.clone() };
    let of = |at: usize| {
        parts.iter().filter_map(move |part| {
            let host: IpAddr = side(&part.row, at).filter(|own| joint[at].as_ref() != Some(own))?.parse().ok()?;
            Some((super::rows::address(host), at as u8 + 1))
        })
    };
    let all: BTreeSet<_> = of(0).chain(of(1)).collect();
    all.into_iter().take(MOST_HOSTS).collect()
}

fn in_order<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut known = BTreeSet::new();
    names.filter(|name| known.insert(name.as_str())).cloned().collect()
}
