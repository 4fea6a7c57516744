//! Beaconing: a host that calls the same service outside at regular intervals, as implants ask for orders.
//!
//! After RITA (`pkg/beacon`): intervals between calls are regular when their median absolute deviation is small and
//! their quartiles lie evenly around the median (Bowley's skewness); the calls' sizes likewise. Both are robust: a host
//! that sleeps for a night spoils one interval of many. A random jitter of j % around the interval has a median
//! deviation of j/2 %: Cobalt Strike's `sleep 60 20` has 5 %, its 50 % has 12 to 13 %.
//!
//! Not reported: services that call by design (`allowed_ports`: DNS, DHCP, NTP, NetBIOS, SNMP, syslog, mDNS, SSDP and so
//! on), keep-alives of a UDP session (the same ports again), calls within the local networks, multicast, and calls more often than every `min_interval_s`,
//! or for less than `min_span_s` without a longer pause; nor the rounds of a monitor, which calls ten hosts and more at one port in one
//! beat: malware has a handful of servers and calls them in turn (MITRE T1008). Known false
//! alarms: updates, mail and telemetry ask regularly too, and so do health checks of a few; so the severity is medium at most.

mod rounds;

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use nta_common::packet::proto;

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::networks::{Networks, is_outside};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Contributor, Finding, FlowObservation, Measure, Party, Timestamp};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span, address_number};
use rounds::Rounds;

/// Services whose calls are remembered: 25 MiB, if each is called again and again. When it is full, once a window, the quarter goes that was
/// called longest ago.
const MAX_SERVICES: usize = 65_536;
const EVICT_SHARE: usize = 4;
/// Intervals that are remembered of each.
const RING: usize = 32;
const NANOS: f64 = 1e9;
/// So many times the interval before, an interval is a pause: what was before does not count for the span.
const PAUSE: f64 = 10.0;
/// Deviations of intervals and sizes up to which half of the intervals are enough.
const EXACT: f64 = 0.02;

tunables! {
    /// Regular calls to the outside.
    BeaconingConfig in "detect.beaconing" {
        /// Intervals that must be known (RITA asks for 20 connections); half as many where times and sizes differ by a fiftieth at most.
        min_intervals: usize = 20 => Bounds::new(4.0, RING as f64),
        /// Seconds between two calls, at least (median); what comes within half of it is one call. Implants that are worked with
        /// call every second to every five.
        min_interval_s: f64 = 1.0 => Bounds::SECONDS,
        /// Seconds for which it must have gone on, without a pause of more than ten intervals: a page that asks again and again is
        /// closed before.
        min_span_s: f64 = 300.0 => Bounds::SECONDS,
        /// Median absolute deviation of the intervals as a share of their median, at most: jitter of 50 % is within it.
        max_deviation: f64 = 0.15 => Bounds::SHARE,
        /// Bowley's skewness of the intervals, at most; 0 is even, 1 all on one side.
        max_skew: f64 = 0.5 => Bounds::SHARE,
        /// Median absolute deviation of the bytes sent as a share of their median, at most.
        max_size_deviation: f64 = 0.25 => Bounds::SHARE,
        /// Destinations that are called regularly with good reason: networks.
        allowed_destinations: Networks = Networks::none(),
        /// Ports of services that are called regularly by design: DNS, DHCP, NTP, NetBIOS, SNMP, syslog, DHCPv6, mail
        /// (IMAP), SSDP, STUN, WS-Discovery, mDNS, LLMNR, Zabbix.
        allowed_ports: Vec<u16> = vec![
            53, 67, 68, 123, 137, 138, 143, 161, 162, 514, 546, 547, 993, 1900, 3478, 3702, 5353, 5355, 10_050, 10_051,
        ],
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "beaconing",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Apart,
    cost: Cost::Short,
    rates: Rates::Unused,
};

type Service = (IpAddr, IpAddr, u16, u8);

#[derive(Clone, Debug)]
struct Calls {
    last: Timestamp,
    /// Port of the caller.
    port: u16,
    /// The intervals between its calls; most services are called once.
    intervals: Option<Box<Intervals>>,
}

#[derive(Clone, Debug)]
struct Intervals {
    seconds: [f32; RING],
    bytes: [u32; RING],
    /// How many so far.
    count: usize,
    /// Since when without a pause.
    since: Timestamp,
}

/// Finds regular calls in the flows of base windows.
#[derive(Debug)]
pub(super) struct Beaconing {
    config: BeaconingConfig,
    local: Networks,
    /// By the service's keyed hash: 64 bits of it are as good as the whole of so few.
    services: HashMap<u64, Calls, RandomState>,
    hasher: RandomState,
    /// Whether room was made in this window: a flood of services makes it once, and most of the others are kept.
    made_room: bool,
    /// Services with a new interval, and their keys: to be judged with the window.
    due: Vec<(Service, u64)>,
    rounds: Rounds,
    evicted: u64,
}

/// Median, deviation from it as a share, and Bowley's skewness.
#[derive(Clone, Copy, Debug)]
struct Regularity {
    median: f64,
    deviation: f64,
    skew: f64,
}

impl Regularity {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let quartile = |i: usize| values[i * (values.len() - 1) / 4];
        let [low, median, high] = [1, 2, 3].map(quartile);
        let mut away: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
        away.sort_unstable_by(f64::total_cmp);
        let deviation = if median > 0.0 { away[away.len() / 2] / median } else { 0.0 };
        let skew = if high > low { (low + high - 2.0 * median) / (high - low) } else { 0.0 };
        // Quartiles a hundredth apart are rounding, not skewed.
        let skew = if high - low < median / 100.0 { 0.0 } else { skew };
        Self { median, deviation, skew }
    }
}

impl Beaconing {
    pub(super) fn new(config: BeaconingConfig, local: Networks) -> Self {
        Self {
            config,
            local,
            services: HashMap::default(),
            hasher: RandomState::default(),
            made_room: false,
            due: Vec::new(),
            rounds: Rounds::default(),
            evicted: 0,
        }
    }

    fn concerns(&self, (_, to, port, _): &Service) -> bool {
        !self.config.allowed_ports.contains(port)
            && is_outside(&self.local, to)
            && !self.config.allowed_destinations.contains(to)
    }

    /// Takes a call; whether it began a new interval.
    fn add(&mut self, service: u64, seen: &FlowObservation) -> bool {
        let flow = &seen.flow;
        let port = flow.originator.port;
        let Some(calls) = self.services.get_mut(&service) else {
            if self.has_room() {
                self.services.insert(service, Calls { last: flow.first, port, intervals: None });
            } else {
                self.evicted += 1;
            }
            return false;
        };
        // The same ports over UDP are one session that was silent for longer than a flow lives.
        if flow.proto == proto::UDP && std::mem::replace(&mut calls.port, port) == port {
            calls.last = flow.first;
            return false;
        }
        let interval_s = flow.first.since(calls.last) as f64 / NANOS;
        if interval_s < self.config.min_interval_s / 2.0 {
            return false;
        }
        let none = || Box::new(Intervals { seconds: [0.0; RING], bytes: [0; RING], count: 0, since: calls.last });
        let intervals = calls.intervals.get_or_insert_with(none);
        let before = intervals.count.checked_sub(1).map(|last| f64::from(intervals.seconds[last % RING]));
        if before.is_some_and(|before| interval_s > before * PAUSE) {
            intervals.since = flow.first;
        }
        let at = intervals.count % RING;
        intervals.seconds[at] = interval_s as f32;
        intervals.bytes[at] = u32::try_from(seen.sent[0].bytes).unwrap_or(u32::MAX);
        intervals.count += 1;
        calls.last = flow.first;
        true
    }

    /// Whether there is room for another service, made if need be.
    fn has_room(&mut self) -> bool {
        if self.services.len() >= MAX_SERVICES && !std::mem::replace(&mut self.made_room, true) {
            let mut times: Vec<Timestamp> = self.services.values().map(|calls| calls.last).collect();
            let (_, limit, _) = times.select_nth_unstable(MAX_SERVICES / EVICT_SHARE);
            let limit = *limit;
            self.services.retain(|_, calls| calls.last > limit);
            self.evicted += (MAX_SERVICES - self.services.len()) as u64;
        }
        self.services.len() < MAX_SERVICES
    }

    fn judge(&mut self, view: &View<'_>, service: &Service, key: u64) -> Option<Finding> {
        let Self { config, services, rounds, .. } = self;
        let calls = services.get(&key)?.intervals.as_deref()?;
        let known = calls.count.min(RING);
        let least = config.min_intervals.clamp(4, RING);
        if known < (least / 4).max(4) {
            return None;
        }
        let times = Regularity::of(calls.seconds[..known].iter().map(|s| f64::from(*s)).collect());
        // A quarter of what an alert takes makes one of a round, so that a round is known before its first hosts are reported.
        let is_round = times.deviation <= config.max_deviation && rounds.is_round(service, times.median, view.end());
        if known < (least / 2).max(4) {
            return None;
        }
        let sizes = Regularity::of(calls.bytes[..known].iter().map(|bytes| f64::from(*bytes)).collect());
        let is_exact = times.deviation <= EXACT && sizes.deviation <= EXACT;
        let least = if is_exact { (least / 2).max(4) } else { least };
        let span_s = (times.median * known as f64).max(view.end().since(calls.since) as f64 / NANOS);
        let is_regular = known >= least
            && span_s >= config.min_span_s
            && times.median >= config.min_interval_s
            && times.deviation <= config.max_deviation
            && times.skew.abs() <= config.max_skew
            && sizes.deviation <= config.max_size_deviation;
        if times.deviation <= config.max_deviation {
            view.state(&DECLARATION, service.0, ("regular_intervals", "intervals"), [known as f64, least as f64]);
        }
        if !is_regular || is_round {
            return None;
        }
        let (source, destination, port, protocol) = *service;
        let score = 1.0 - (times.deviation + times.skew.abs() + sizes.deviation) / 3.0;
        Some(Finding {
            detector: DECLARATION.name,
            basis: DECLARATION.basis,
            kind: AlertKind::Beaconing,
            source: Party::Host(source),
            destination: Party::Host(destination),
            port: Some(port),
            start: view.start(),
            end: view.end(),
            seen: Some([calls.since, view.end()]),
            measure: Measure {
                name: "regular_intervals",
                unit: "intervals",
                observed: known as f64,
                expected: None,
                threshold: least as f64,
            },
            score: score.clamp(0.0, 1.0),
            summary: format!(
                "{source} called {destination} port {port} every {:.1} s, {known} times in a row, give or take {:.1} %, \
                 with {:.0} bytes each time",
                times.median,
                times.deviation * 100.0,
                sizes.median
            ),
            facts: vec![
                ("interval_s", format!("{:.3}", times.median)),
                ("interval_deviation", format!("{:.4}", times.deviation)),
                ("interval_skew", format!("{:.4}", times.skew)),
                ("bytes_median", format!("{:.0}", sizes.median)),
                ("bytes_deviation", format!("{:.4}", sizes.deviation)),
                ("protocol", protocol.to_string()),
            ],
            contributors: vec![Contributor { what: format!("{destination} port {port}"), amount: known as f64 }],
            crowd: None,
        })
    }
}

/// Flows come by service, and then in the order of their first packets.
const fn service(seen: &FlowObservation) -> Service {
    let flow = &seen.flow;
    (flow.originator.address, flow.responder.address, flow.responder.port, flow.proto)
}

impl Detector for Beaconing {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        let is_call = |seen: &&FlowObservation| seen.is_new && matches!(seen.flow.proto, proto::TCP | proto::UDP);
        let mut concern = Vec::new();
        for flows in run.flows.chunk_by(|a, b| service(a) == service(b)) {
            let service = service(&flows[0]);
            if flows.iter().any(|seen| is_call(&seen)) && self.concerns(&service) {
                let (from, to, port, protocol) = service;
                let key = self.hasher.hash_one((address_number(from), address_number(to), port, protocol));
                concern.push((key, service, flows));
            }
        }
        // All keys first: while one is looked up, memory brings the next.
        for (key, service, flows) in concern {
            // All of them are taken, whatever the first begins.
            if flows.iter().filter(is_call).filter(|seen| self.add(key, seen)).count() > 0 {
                self.due.push((service, key));
            }
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let due = std::mem::take(&mut self.due);
        for (service, key) in due {
            out.extend(self.judge(view, &service, key));
        }
        self.made_room = false;
    }

    fn evicted(&self) -> u64 {
        self.evicted + self.rounds.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::{Alerter, AlertingConfig};
    use crate::detect::fixture;
    use crate::domain::Severity;

    /// How often calls at these times, with these sizes, are reported.
    fn reported(to: &str, port: u16, calls: &[(f64, u64)]) -> usize {
        let mut detector = Beaconing::new(BeaconingConfig::default(), Networks::default());
        let windows = calls.iter().map(|(time_s, bytes)| {
            let flow = fixture::flow("10.0.0.5", to, port, *time_s, [*bytes, 500]);
            fixture::full(flow.flow.first, &[], vec![flow])
        });
        fixture::inspect(&mut detector, windows).len()
    }

    /// How often calls of so many hosts, one after the other every `every_s`, are reported.
    fn reported_of_round(hosts: u32, every_s: impl Fn(u32) -> f64) -> usize {
        let mut detector = Beaconing::new(BeaconingConfig::default(), Networks::default());
        let mut calls: Vec<(f64, u32)> = (0..hosts)
            .flat_map(|host| {
                let every_s = every_s(host);
                (0..30).map(move |n| (f64::from(n) * every_s + f64::from(host) * 0.5, host))
            })
            .collect();
        calls.sort_by(|a, b| a.0.total_cmp(&b.0));
        let windows = calls.into_iter().map(|(time_s, host)| {
            let flow = fixture::flow("10.0.0.5", &format!("203.0.113.{host}"), 443, time_s, [900, 500]);
            fixture::full(flow.flow.first, &[], vec![flow])
        });
        fixture::inspect(&mut detector, windows).len()
    }

    #[test]
    fn ten_hosts_in_one_beat_are_a_monitors_round() {
        assert_eq!(reported_of_round(10, |_| 30.0), 0);
        assert!(reported_of_round(9, |_| 30.0) > 0);
        assert!(reported_of_round(12, |host| 15.0 + 7.0 * f64::from(host)) > 0, "each has a beat of its own");
    }

    /// Calls every minute, moved by up to `jitter_s` either way.
    fn every_minute(count: u32, jitter_s: f64) -> Vec<(f64, u64)> {
        let moved = |i: u32| jitter_s * (f64::from(i * 37 % 41) / 20.5 - 1.0);
        let mut at = 0.0;
        let mut next = |i| {
            at += 60.0 + moved(i);
            (at, 300)
        };
        (0..count).map(&mut next).collect()
    }

    #[test]
    fn regular_calls_are_reported_from_the_twentieth_interval_with_jitter_or_without() {
        assert_eq!(reported("203.0.113.9", 443, &every_minute(10, 0.0)), 0);
        assert_eq!(reported("203.0.113.9", 443, &every_minute(11, 0.0)), 1, "exactly");
        assert_eq!(reported("203.0.113.9", 443, &every_minute(20, 12.0)), 0);
        assert_eq!(reported("203.0.113.9", 443, &every_minute(40, 12.0)), 20);
    }

    #[test]
    fn calls_every_five_seconds_with_gaps_are_reported_after_five_minutes() {
        // One in twenty is missing.
        let calls = |from: u64, count: u64| {
            (from..from + count).filter(|i| i % 20 != 7).map(|i| (i as f64 * 5.0, 300)).collect::<Vec<_>>()
        };
        assert_eq!(reported("203.0.113.9", 443, &calls(0, 58)), 0);
        assert!(reported("203.0.113.9", 443, &calls(0, 62)) > 0);
        // Four minutes twice, an hour apart.
        assert_eq!(reported("203.0.113.9", 443, &[calls(0, 48), calls(800, 48)].concat()), 0);
    }

    #[test]
    fn people_time_keepers_and_neighbours_are_quiet() {
        let person: Vec<_> = (0..60_u64).map(|i| ((i * 97 + i * i * 13 % 400) as f64, 200 + i * 7919 % 4000)).collect();
        assert_eq!(reported("203.0.113.9", 443, &person), 0);
        assert_eq!(reported("203.0.113.9", 123, &every_minute(40, 0.0)), 0);
        assert_eq!(reported("10.0.0.9", 443, &every_minute(40, 0.0)), 0);
        let mut detector = Beaconing::new(BeaconingConfig::default(), Networks::default());
        let keep_alives = every_minute(40, 0.0).into_iter().map(|(time_s, bytes)| {
            let mut flow = fixture::flow("10.0.0.5", "203.0.113.9", 50_004, time_s, [bytes, 0]);
            flow.flow.proto = proto::UDP;
            fixture::full(flow.flow.first, &[], vec![flow])
        });
        assert!(fixture::inspect(&mut detector, keep_alives).is_empty());
        let often: Vec<_> = (0..900).map(|i| (f64::from(i) * 0.6, 300)).collect();
        assert_eq!(reported("203.0.113.9", 443, &often), 0);
    }

    #[test]
    fn sizes_must_be_regular_too_and_a_night_is_one_interval() {
        let mut calls = every_minute(40, 0.0);
        for (i, call) in calls.iter_mut().enumerate() {
            call.1 = 200 + (i as u64 * 1237) % 4001;
        }
        assert_eq!(reported("203.0.113.9", 443, &calls), 0);
        let mut calls = every_minute(40, 0.0);
        calls.iter_mut().skip(25).for_each(|call| call.0 += 28_800.0);
        assert_eq!(reported("203.0.113.9", 443, &calls), 30);
    }

    #[test]
    fn an_alert_stays_medium_however_long_it_goes_on() {
        let mut detector = Beaconing::new(BeaconingConfig::default(), Networks::default());
        let windows = every_minute(60, 0.0).into_iter().map(|(time_s, bytes)| {
            let flow = fixture::flow("10.0.0.5", "203.0.113.9", 443, time_s, [bytes, 500]);
            fixture::full(flow.flow.first, &[], vec![flow])
        });
        let findings = fixture::inspect(&mut detector, windows);
        let mut alerter =
            Alerter::new(AlertingConfig { clear_after_s: 120, ..AlertingConfig::default() }, Default::default());
        let mut last = None;
        for finding in findings {
            let now = finding.end;
            alerter.judge(vec![finding], now, &mut |_, alert| last = Some((alert.windows, alert.severity)));
        }
        assert_eq!(last, Some((50, Severity::Medium)));
    }
}
