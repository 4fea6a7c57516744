//! Data exfiltration: a local host sends to one outside destination far more than it receives from there, and than is
//! usual for it.
//!
//! The sum over the last minutes counts, in connections that the host itself began: who answers (a web server) sends
//! much by design. A call with video goes both ways, so the ratio leaves it out. How bad it is follows from how rare it is: what goes to a network
//! that nobody here talked to before, from a host whose habits are known, may be of high severity; any other is at most
//! medium, and low where the host has sent as much there before. Known false alarms: back-ups and
//! uploads by people; name their destinations in `allowed_destinations`.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::contacts::Contacts;
use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::networks::{Networks, is_outside};
use super::recent::{Recent, Weigh, first_of};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Contributor, Finding, FlowObservation, Measure, Party, Timestamp};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

/// Pairs of host and destination in a generation: 12 MiB in both. When it is full, the tenth goes that was sent least.
const MAX_PAIRS: usize = 65_536;
const EVICT_SHARE: usize = 10;
/// A new pair that sends less than this share of what, sent evenly, would make a finding is not remembered: what counts
/// may be too low by this share of the threshold.
const NEGLIGIBLE_SHARE: f64 = 0.04;
/// 30 s windows of a host before its baseline says anything: ten minutes, as the network's.
const WARM_UP: u32 = 20;
/// Pairs of which an earlier upload is remembered, for so long: a weekly back-up, and a day.
const MAX_UPLOADS: usize = 4_096;
const REMEMBERED_S: u64 = 8 * 86_400;
/// An upload so long after the last is another one.
const PAUSE_NS: u64 = 600 * 1_000_000_000;
/// How sure it is, at least, that the destination is new to a host whose habits are known; that it is not usual; that it is an upload as
/// before. Severity follows.
const NEW: f64 = 0.5;
const UNUSUAL: f64 = 0.4;
const AS_BEFORE: f64 = 0.2;

tunables! {
    /// Much more sent to the outside than usual.
    DataExfiltrationConfig in "detect.data_exfiltration" {
        /// Seconds whose bytes are summed up, at most; at least half of it.
        memory_s: f64 = 180.0 => Bounds::MEMORY_S,
        /// Bytes to one destination that are reported at least: more than mail and pictures, less than a small database.
        min_bytes: u64 = 20_000_000 => Bounds::BYTES,
        /// Times as many bytes as came back: a download's acknowledgments are a fiftieth, a call's ways are equal.
        min_ratio: f64 = 5.0 => Bounds::new(0.0, 1e6),
        /// Deviations above the host's usual level from which on a host with a baseline is reported.
        deviations: f64 = 6.0 => Bounds::SIGMAS,
        /// Back-up servers and the like: networks.
        allowed_destinations: Networks = Networks::none(),
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "data_exfiltration",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Apart,
    cost: Cost::Short,
    rates: Rates::Measured,
};

/// Frame bytes sent and received.
type Volume = [u64; 2];
type Pair = (IpAddr, IpAddr);
type Generation = HashMap<Pair, Sum, RandomState>;

/// What a pair sent, and whether somebody had talked to the destination's network before.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    volume: Volume,
    is_known: bool,
    /// When the upload began, no earlier than the first window that counts.
    first: Option<Timestamp>,
}

/// When a pair's upload was reported last, and whether it was another one before.
#[derive(Debug, Default)]
struct Upload {
    last: Timestamp,
    again: bool,
}

impl Weigh for Upload {
    fn weight(&self) -> u64 {
        u64::from(self.again)
    }
}

/// Finds uploads in the flows of base windows.
#[derive(Debug)]
pub(super) struct DataExfiltration {
    config: DataExfiltrationConfig,
    local: Networks,
    began: Timestamp,
    /// Start of the generation before.
    before_began: Timestamp,
    now: Generation,
    before: Generation,
    contacts: Contacts,
    uploads: Recent<Pair, Upload>,
    /// Pairs to be judged with the window.
    due: Vec<Pair>,
    evicted: u64,
}

impl DataExfiltration {
    pub(super) fn new(config: DataExfiltrationConfig, local: Networks) -> Self {
        let (now, before) = (Generation::default(), Generation::default());
        Self {
            config,
            local,
            began: Timestamp::default(),
            before_began: Timestamp::default(),
            now,
            before,
            contacts: Contacts::new(),
            uploads: Recent::new(MAX_UPLOADS, REMEMBERED_S),
            due: Vec::new(),
            evicted: 0,
        }
    }

    /// Two generations of half the memory take turns; time may also have been set back.
    fn turn(&mut self, time: Timestamp) {
        let half_ns = (self.config.memory_s * 1e9 / 2.0) as u64;
        let age_ns = time.since(self.began);
        if time < self.began || age_ns >= 2 * half_ns {
            self.before.clear();
            self.now.clear();
            (self.began, self.before_began) = (time, time);
        } else if age_ns >= half_ns {
            self.before = std::mem::take(&mut self.now);
            (self.began, self.before_began) = (time, self.began);
        }
    }

    /// Whether the pair is remembered.
    fn knows(&self, pair: &Pair) -> bool {
        self.now.contains_key(pair) || self.before.contains_key(pair)
    }

    /// Takes a pair's volume; whether what it sent may be enough for a finding, which of most pairs it is not.
    fn add(&mut self, run: &Run<'_>, pair: Pair, [sent, received]: Volume, first: Timestamp) -> bool {
        if self.now.len() >= MAX_PAIRS && !self.now.contains_key(&pair) {
            let mut sizes: Vec<u64> = self.now.values().map(|sum| sum.volume[0]).collect();
            let (_, limit, _) = sizes.select_nth_unstable(MAX_PAIRS / EVICT_SHARE);
            let limit = *limit;
            self.now.retain(|_, sum| sum.volume[0] > limit);
            self.evicted += (MAX_PAIRS - self.now.len()) as u64;
        }
        let (before, contacts) = (self.before.get(&pair), &self.contacts);
        let sum = self.now.entry(pair).or_insert_with(|| Sum {
            volume: [0; 2],
            first: None,
            is_known: before.map_or_else(|| contacts.knows(run, pair.1), |before| before.is_known),
        });
        sum.first.get_or_insert(first);
        sum.volume[0] += sent;
        sum.volume[1] += received;
        sum.volume[0] + before.map_or(0, |before| before.volume[0]) >= self.config.min_bytes
    }

    fn judge(&self, view: &View<'_>, pair: Pair) -> Option<Finding> {
        let config = &self.config;
        let of = |generation: &Generation| generation.get(&pair).copied().unwrap_or_default();
        let (now, before) = (of(&self.now), of(&self.before));
        let [sent, received] = [0, 1].map(|side| now.volume[side] + before.volume[side]);
        let ratio = sent as f64 / received.max(1) as f64;
        let usual = view.baselines.host(&pair.0).filter(|host| host.samples >= WARM_UP).map(|host| host.bytes_sent);
        // Windows that were closed late, or a silence, make generations longer than half of the memory.
        let covered_s = (view.end().since(self.before_began) as f64 / 1e9).max(config.memory_s);
        let least = config.min_bytes as f64 * covered_s / config.memory_s;
        let threshold =
            usual.map_or(least, |level| least.max((level.level + config.deviations * level.deviation) * covered_s));
        view.state(&DECLARATION, pair.0, ("bytes_sent", "B"), [sent as f64, threshold]);
        if (sent as f64) < threshold || ratio < config.min_ratio {
            return None;
        }
        let (source, destination) = pair;
        let (score, rarity) = match usual {
            Some(_) if !now.is_known => ((sent as f64 / threshold / 10.0).clamp(NEW, 1.0), "new"),
            Some(_) => (UNUSUAL, "known"),
            None => (UNUSUAL, "unknown"),
        };
        let expected = usual.map(|level| level.level * covered_s);
        let compared =
            expected.map_or_else(String::new, |bytes| format!("; usual for all it sends are {:.1} MB", bytes / 1e6));
        Some(Finding {
            detector: DECLARATION.name,
            basis: DECLARATION.basis,
            kind: AlertKind::DataExfiltration,
            source: Party::Host(source),
            destination: Party::Host(destination),
            port: None,
            start: view.start(),
            end: view.end(),
            seen: before.first.or(now.first).map(|first| [first, view.end()]),
            measure: Measure { name: "bytes_sent", unit: "B", observed: sent as f64, expected, threshold },
            score,
            summary: format!(
                "{source} sent {:.1} MB to {destination} in the last {:.0} s at most, {ratio:.0} times what came back\
                 {compared}",
                sent as f64 / 1e6,
                covered_s
            ),
            facts: vec![
                ("bytes_received", received.to_string()),
                ("ratio", format!("{ratio:.1}")),
                ("destination", rarity.to_owned()),
                ("baseline_windows", view.baselines.host(&source).map_or(0, |host| host.samples).to_string()),
            ],
            contributors: vec![Contributor { what: destination.to_string(), amount: sent as f64 }],
            crowd: None,
        })
    }
}

impl Detector for DataExfiltration {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        self.turn(run.start);
        self.contacts.advance(run);
        // Most pairs never send as much in all.
        let evenly = self.config.min_bytes as f64 * run.seconds() / self.config.memory_s;
        let negligible = evenly * NEGLIGIBLE_SHARE;
        let ends = |seen: &FlowObservation| (seen.flow.originator.address, seen.flow.responder.address);
        for flows in run.flows.chunk_by(|a, b| ends(a) == ends(b)) {
            let pair = ends(&flows[0]);
            let [sent, received] = [0, 1].map(|side| flows.iter().map(|seen| seen.sent[side].bytes).sum());
            let is_much = sent as f64 >= negligible || self.knows(&pair);
            let is_new = flows.iter().any(|seen| seen.is_new);
            let leaves = |own: &Self| own.local.contains(&pair.0) && is_outside(&own.local, &pair.1);
            if !(is_much || is_new) || !leaves(self) {
                continue;
            }
            let concerns = is_much && !self.config.allowed_destinations.contains(&pair.1);
            if concerns && self.add(run, pair, [sent, received], first_of(flows, run.start)) {
                self.due.push(pair);
            }
            self.contacts.note(run, pair.1);
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        self.uploads.advance(view.end());
        for pair in std::mem::take(&mut self.due) {
            let Some(mut finding) = self.judge(view, pair) else { continue };
            let upload = self.uploads.meet(pair);
            upload.again |= upload.last != Timestamp::default() && view.start().since(upload.last) > PAUSE_NS;
            upload.last = view.end();
            if upload.again {
                finding.score = AS_BEFORE;
                finding.summary.push_str(", as it did before");
            }
            out.push(finding);
        }
    }

    fn evicted(&self) -> u64 {
        self.evicted + self.uploads.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::fixture;

    /// How often uploads of these bytes, one every 5 s, are reported.
    fn reported(from: &str, to: &str, volumes: &[Volume]) -> usize {
        let mut detector = DataExfiltration::new(DataExfiltrationConfig::default(), Networks::default());
        let windows = volumes.iter().enumerate().map(|(i, volume)| {
            let flow = fixture::flow(from, to, 443, i as f64 * 5.0, *volume);
            fixture::full(flow.flow.first, &[], vec![flow])
        });
        fixture::inspect(&mut detector, windows).len()
    }

    #[test]
    fn twenty_megabytes_within_the_memory_are_reported_and_slower_ones_not() {
        assert_eq!(reported("10.0.0.5", "203.0.113.9", &[[5_000_000, 100_000]; 3]), 0);
        assert_eq!(reported("10.0.0.5", "203.0.113.9", &[[5_000_000, 100_000]; 4]), 1);
        assert_eq!(reported("10.0.0.5", "203.0.113.9", &[[500_000, 10_000]; 200]), 0);
    }

    #[test]
    fn downloads_calls_neighbours_and_servers_are_quiet() {
        assert_eq!(reported("10.0.0.5", "203.0.113.9", &[[1_000_000, 50_000_000]; 30]), 0);
        assert_eq!(reported("10.0.0.5", "203.0.113.9", &[[5_000_000, 5_000_000]; 30]), 0);
        assert_eq!(reported("10.0.0.5", "192.168.7.7", &[[50_000_000, 100_000]; 30]), 0);
        assert_eq!(reported("203.0.113.9", "10.0.0.5", &[[100_000, 50_000_000]; 30]), 0);
    }
}
