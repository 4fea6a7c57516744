//! SSH brute force: one source opens connection after connection at an SSH server, and none of them goes anywhere; or many
//! sources do, a few times each.
//!
//! A server closes the connection after a few failed passwords (OpenSSH: `MaxAuthTries` 6), so that guessing shows as
//! many connections that carry the key exchange, a few hundred bytes of guesses, and end: 5 to 9 kB with OpenSSH and
//! libssh. Zeek's `detect-bruteforcing.zeek` counts failed logins by their size likewise (30 in 30 minutes). A person
//! logs in a few times and then stays; scp, rsync and git carry data. Beginnings that were not captured do not matter.
//!
//! A short command over a connection of its own is as small as a guess (7 to 23 kB with OpenSSH 9.2 and a key), but it is over
//! within half a second, and its client ends it. A failed password has to wait: PAM answers after two seconds, give or take
//! (`pam_fail_delay`); or the server ends the connection. Where the server answers failures at once, a guess is no more than
//! the key exchange: 3 to 4 kB of payload, less than any log-in that opens a channel.
//!
//! Known false alarms: scripts that run commands of more than a second over a new connection each, ten in five minutes.
//! Evasion: fewer connections than that, also where the server allows more tries on each (`MaxAuthTries`): a connection with ten guesses has the packets and
//! bytes of a short session in which somebody types.

use nta_common::packet::proto;

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::guessing::{Guesses, Limits, LogIn, server_ended};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Finding, FlowRecord, Service};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// SSH brute force.
    SshBruteForceConfig in "detect.ssh_brute_force" {
        /// Connections of one source to one server within 300 s. A person logs in a few times; sshguard blocks after 3,
        /// fail2ban after 5 failed passwords in 10 minutes, and a connection takes up to 6 of them.
        min_connections: u64 = 10 => Bounds::COUNT,
        /// Sources that together open at least five times as many connections to one server within 300 s, none of them enough by
        /// itself.
        min_sources: u64 = 10 => Bounds::COUNT,
        /// Bytes both ways up to which a connection did no more than key exchange and guesses: those take 5 to 9 kB, an
        /// interactive session or a file soon more.
        max_bytes: u64 = 16_000 => Bounds::BYTES,
        /// Share of the connections that must be as small as that, and look like a log-in that failed, 0 to 1.
        min_small_share: f64 = 0.8 => Bounds::SHARE,
        /// Seconds that a failed log-in takes at least beside the round trips of the key exchange, unless the server ends the
        /// connection: PAM answers a wrong password after two seconds, give or take.
        min_delay_s: u64 = 1 => Bounds::SECONDS,
        /// Payload bytes both ways up to which a connection counts as a guess however short it was: a key exchange and one password
        /// take 3 to 4 kB, the shortest log-in with a key that runs a command takes more.
        max_quick_bytes: u64 = 4_000 => Bounds::BYTES,
        /// Ports at which SSH servers listen, where the first bytes do not name the service. Where they do, any port is looked at.
        ports: Vec<u16> = vec![22, 2222],
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "ssh_brute_force",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Short,
    rates: Rates::Unused,
};

/// Bytes of the line with which a client begins (RFC 4253, 4.2). One that sends no more looks whether the server is
/// there, as monitoring does, and guesses nothing.
const MAX_IDENTIFICATION: u64 = 255;
/// Round trips of a key exchange and a log-in with a key.
const ROUND_TRIPS: u64 = 10;
/// Connections of many sources for each that one source may open.
const MANY: u64 = 5;
const NANOS: u64 = 1_000_000_000;

/// Finds guessing over the last five minutes.
#[derive(Debug)]
pub(super) struct SshBruteForce {
    config: SshBruteForceConfig,
    guesses: Guesses,
}

impl SshBruteForce {
    pub(super) fn new(config: SshBruteForceConfig) -> Self {
        Self { config, guesses: Guesses::new() }
    }
}

/// What a connection is to an SSH server, `None` if it is none or did not go as far as a log-in.
pub(super) fn log_in(config: &SshBruteForceConfig, flow: &FlowRecord) -> Option<LogIn> {
    let by_bytes = flow.service == Some(Service::Ssh);
    let by_port = flow.service.is_none() && config.ports.contains(&flow.responder.port);
    if flow.proto != proto::TCP || !by_bytes && !by_port {
        return None;
    }
    let talked = flow.responder.payload_bytes.unwrap_or(0) > 0
        && flow.originator.payload_bytes.is_none_or(|bytes| bytes > MAX_IDENTIFICATION);
    talked.then(|| LogIn { service: Service::Ssh, by_bytes, is_guess: is_guess(config, flow) })
}

fn is_guess(config: &SshBruteForceConfig, flow: &FlowRecord) -> bool {
    let bytes = flow.originator.sent.bytes + flow.responder.sent.bytes;
    let [own, back] = [&flow.originator, &flow.responder].map(|side| side.payload_bytes);
    let is_bare = own.zip(back).is_none_or(|(own, back)| own + back <= config.max_quick_bytes);
    let round_trip_ns = flow.handshake_us.iter().map(|us| u64::from(*us) * 1_000).sum::<u64>();
    let waited_ns = flow.last.since(flow.first).saturating_sub(ROUND_TRIPS * round_trip_ns);
    let waited = waited_ns >= config.min_delay_s * NANOS;
    bytes <= config.max_bytes && (waited || is_bare || server_ended(flow))
}

impl Detector for SshBruteForce {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        self.guesses.advance(run.end);
        for flow in run.flows.iter().map(|seen| &seen.flow) {
            if let Some(log_in) = log_in(&self.config, flow) {
                self.guesses.take(flow, log_in);
            }
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let limits = Limits {
            of_one: self.config.min_connections,
            of_many: self.config.min_connections * MANY,
            clients: self.config.min_sources,
            share: self.config.min_small_share,
        };
        self.guesses.inspect(view, (&DECLARATION, AlertKind::SshBruteForce), &limits, out);
    }

    fn evicted(&self) -> u64 {
        self.guesses.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Flow, host, row};
    use super::{SshBruteForce, SshBruteForceConfig};
    use crate::domain::{Finding, Party, Service};

    fn judge(count: u64, flows: impl Fn(u64) -> Vec<Flow>) -> Vec<Finding> {
        row(&mut SshBruteForce::new(SshBruteForceConfig::default()), count, flows)
    }

    fn from_to(client: u32, port: u64, server_port: u16, bytes: u64) -> Flow {
        Flow::tcp(client, 40_000 + port as u16, 2, server_port)
            .history("ShADadFf")
            .sent(20, bytes / 40)
            .answered(20, bytes / 40)
            .payload(900, 1_500)
    }

    fn login(port: u64, bytes: u64) -> Flow {
        from_to(1, port, 22, bytes)
    }

    #[test]
    fn a_small_connection_every_five_seconds_is_guessing() {
        let found = judge(12, |i| vec![login(i, 6_000)]);
        assert_eq!(
            (found.len(), found[0].source, found[0].destination),
            (3, Party::Host(host(1)), Party::Host(host(2)))
        );
        assert_eq!(found[0].measure.observed as u64, 10);
        assert!(found[0].summary.ends_with("by the port alone"), "{}", found[0].summary);
    }

    #[test]
    fn guessing_is_found_at_any_port_by_the_bytes() {
        let found = judge(12, |i| vec![from_to(1, i, 902, 6_000).service(Service::Ssh)]);
        assert_eq!((found.len(), found[0].port), (3, Some(902)));
        assert!(found[0].facts.contains(&("service_by", "bytes".to_owned())), "{found:?}");
        assert!(judge(12, |i| vec![from_to(1, i, 902, 6_000)]).is_empty(), "what is at 902 is not known");
        assert!(judge(12, |i| vec![login(i, 6_000).service(Service::Http)]).is_empty(), "no SSH at its port");
    }

    #[test]
    fn connections_that_began_before_the_capture_count() {
        assert_eq!(
            judge(2, |_| (0..6).map(|n| login(n, 6_000).history("DdDd").payload(900, 1_500)).collect()).len(),
            0
        );
        assert_eq!(
            judge(2, |i| (0..6).map(|n| login(6 * i + n, 6_000).history("DdDd").payload(900, 1_500)).collect()).len(),
            1
        );
    }

    #[test]
    fn people_files_and_scans_are_none() {
        assert!(judge(60, |i| if i % 8 == 0 { vec![login(i, 6_000)] } else { vec![] }).is_empty(), "eight logins");
        assert!(judge(40, |i| vec![login(i, 500_000)]).is_empty(), "files");
        assert!(judge(40, |i| vec![Flow::tcp(1, 40_000 + i as u16, 2, 22).history("Sr")]).is_empty(), "refused");
        assert!(judge(40, |i| vec![login(i, 700).payload(0, 40)]).is_empty(), "monitoring");
        assert!(
            judge(1, |_| (10..200).map(|to| Flow::tcp(1, 40_000, to, 22).history("ShADad").payload(20, 40)).collect())
                .is_empty()
        );
    }

    /// What OpenSSH 9.2 took for a command of a few lines with a key, in `tests/cases/ssh_brute_force-quiet`.
    #[test]
    fn short_log_ins_with_a_key_are_none_and_slow_ones_are_guesses() {
        let command = |n, history: &str, seconds| {
            login(n, 9_000).history(history).sent(26, 200).answered(24, 200).payload(3_700, 3_400).lasting(seconds)
        };
        assert!(judge(40, |i| (0..10).map(|n| command(10 * i + n, "ShADadFf", 0.4)).collect()).is_empty());
        assert!(!judge(12, |i| vec![command(i, "ShADadFf", 2.2)]).is_empty(), "the answer had to wait");
        assert!(!judge(12, |i| vec![command(i, "ShADadfF", 0.4)]).is_empty(), "the server ended it");
        let far = |i| command(i, "ShADadFf", 2.2).round_trip_us(200_000);
        assert!(judge(40, |i| vec![far(i)]).is_empty(), "a server that is 200 ms away");
    }

    #[test]
    fn many_sources_with_a_few_guesses_each_are_one_finding() {
        let shared = |sources: u32, each: u64| {
            judge(each, move |i| (0..sources).map(|n| from_to(10 + n, i, 902, 6_000).service(Service::Ssh)).collect())
        };
        let found = shared(35, 4);
        assert_eq!((found[0].source, found[0].destination), (Party::Many, Party::Host(host(2))));
        assert_eq!(found.last().map(|found| found.measure.observed as u64), Some(140));
        assert!(shared(9, 9).is_empty(), "nine sources");
        assert!(shared(40, 1).is_empty(), "40 connections");
        let fetching = |n: u32, i| from_to(10 + n, i, 22, 9_000).payload(3_700, 3_400).lasting(0.4);
        assert!(judge(8, |i| (0..60).map(|n| fetching(n, i)).collect()).is_empty(), "a git server");
    }
}
