//! Passwords guessed at other servers than SSH's: FTP, RDP, SMB, telnet, MySQL, PostgreSQL, Microsoft SQL Server, VNC.
//!
//! Each failed log-in, or few of them, take a connection of their own, and it carries a log-in and nothing behind it. What that
//! comes to by service is in [`SHAPES`]: a connection with less was no log-in (a check whether the port is open), one with more
//! went on. Databases close the connection when a log-in fails, and their clients when it succeeded, so that of those only
//! what the server ends counts: pools and health checks that log in, ask a little and leave are none.
//!
//! Twenty connections in five minutes are asked for: Zeek's `ftp/detect-bruteforcing.zeek` takes 20 failed log-ins in 15
//! minutes, and no person logs in every 15 seconds. Services whose failed log-in looks like a successful one on the wire are
//! left out: HTTP, SMTP, POP3, IMAP, LDAP, Redis.
//!
//! Known false alarms: an application with a wrong password that tries again and again; a client that logs in to an FTP server
//! every 15 seconds to see whether there is something. Evasion: slower guessing, several passwords a connection where the server allows it.

use nta_common::packet::proto;

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::guessing::{Guesses, Limits, LogIn, server_ended};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Finding, FlowRecord, Service};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// Brute force at other servers than SSH's.
    BruteForceConfig in "detect.brute_force" {
        /// Log-ins of one source to one server within 300 s. Zeek takes 20 failed ones in 15 minutes at an FTP server.
        min_connections: u64 = 20 => Bounds::COUNT,
        /// Sources that together log in at least five times as often at one server within 300 s, none of them enough by itself.
        min_sources: u64 = 10 => Bounds::COUNT,
        /// Share of the log-ins that must look like one that failed, 0 to 1.
        min_share: f64 = 0.8 => Bounds::SHARE,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "brute_force",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Short,
    rates: Rates::Unused,
};

/// Log-ins of many sources for each that one source may have.
const MANY: u64 = 5;

/// What a failed log-in carries.
struct Shape {
    service: Service,
    /// Where it listens, for flows whose bytes do not name it.
    ports: &'static [u16],
    /// Payload bytes of the client: a name and a password at least, what failed log-ins of one connection take at most.
    client: [u64; 2],
    /// Payload bytes of the server at most.
    server: u64,
    /// Whether the server ends what failed, and the client what succeeded.
    server_ends: bool,
}

const SHAPES: &[Shape] = &[
    // `USER a`, `PASS b`; up to three of them (vsftpd's `max_login_fails`). A session that lists a folder sends more.
    Shape { service: Service::Ftp, ports: &[21], client: [16, 64], server: 1_200, server_ends: false },
    // The hello of TLS and CredSSP's messages; a desktop is a hundred times as much.
    Shape { service: Service::Rdp, ports: &[3389], client: [800, 4_000], server: 6_000, server_ends: false },
    // A negotiation (in two versions, at most) and the three messages of NTLM.
    Shape { service: Service::Smb, ports: &[139, 445], client: [150, 1_500], server: 1_000, server_ends: false },
    // Options, then three names and passwords, each echoed behind its prompt.
    Shape { service: Service::Telnet, ports: &[23, 2323], client: [4, 300], server: 1_500, server_ends: false },
    // A greeting and an answer to it, in the clear or behind TLS, then the error.
    Shape { service: Service::Mysql, ports: &[3306], client: [32, 1_500], server: 5_000, server_ends: true },
    Shape { service: Service::Postgresql, ports: &[5432], client: [30, 1_500], server: 5_000, server_ends: true },
    Shape { service: Service::Mssql, ports: &[1433], client: [100, 3_000], server: 5_000, server_ends: true },
    // Version, kind of security, and the answer to the challenge (RFC 6143, 7.2.2): 29 bytes.
    Shape { service: Service::Rfb, ports: &[5900], client: [29, 60], server: 300, server_ends: false },
];

/// Finds guessing over the last five minutes.
#[derive(Debug)]
pub(super) struct BruteForce {
    config: BruteForceConfig,
    guesses: Guesses,
}

impl BruteForce {
    pub(super) fn new(config: BruteForceConfig) -> Self {
        Self { config, guesses: Guesses::new() }
    }
}

/// What a connection is to one of these servers, `None` if it is to none or did not go as far as a log-in.
fn log_in(flow: &FlowRecord) -> Option<LogIn> {
    if flow.proto != proto::TCP {
        return None;
    }
    let fits = |shape: &&Shape| match flow.service {
        Some(service) => service == shape.service,
        None => shape.ports.contains(&flow.responder.port),
    };
    let shape = SHAPES.iter().find(fits)?;
    let [own, back] = [&flow.originator, &flow.responder].map(|side| side.payload_bytes.unwrap_or(0));
    let is_small = own <= shape.client[1] && back <= shape.server;
    let talked = own >= shape.client[0] && back > 0;
    talked.then(|| LogIn {
        service: shape.service,
        by_bytes: flow.service.is_some(),
        is_guess: is_small && (!shape.server_ends || server_ended(flow)),
    })
}

impl Detector for BruteForce {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        self.guesses.advance(run.end);
        for flow in run.flows.iter().map(|seen| &seen.flow) {
            if let Some(log_in) = log_in(flow) {
                self.guesses.take(flow, log_in);
            }
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let limits = Limits {
            of_one: self.config.min_connections,
            of_many: self.config.min_connections * MANY,
            clients: self.config.min_sources,
            share: self.config.min_share,
        };
        self.guesses.inspect(view, (&DECLARATION, AlertKind::BruteForce), &limits, out);
    }

    fn evicted(&self) -> u64 {
        self.guesses.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Flow, host, row};
    use super::{BruteForce, BruteForceConfig};
    use crate::domain::{Finding, Party, Service};

    fn judge(count: u64, flows: impl Fn(u64) -> Vec<Flow>) -> Vec<Finding> {
        row(&mut BruteForce::new(BruteForceConfig::default()), count, flows)
    }

    fn to(client: u32, number: u64, port: u16, history: &str, payload: [u64; 2]) -> Flow {
        Flow::tcp(client, 40_000 + number as u16, 2, port).history(history).payload(payload[0], payload[1])
    }

    /// A failed log-in and the nearest that is none, at a port that says nothing.
    #[test]
    fn guessing_is_told_by_its_service_at_any_port() {
        let cases = [
            (Service::Ftp, "FTP", "ShAdDaFf", [30, 180], "ShAdDaFf", [90, 700]),
            (Service::Rdp, "RDP", "ShADadFf", [1_600, 2_200], "ShADadFf", [9_000, 60_000]),
            (Service::Smb, "SMB", "ShADadFf", [700, 700], "ShADadFf", [2_600, 2_400]),
            (Service::Telnet, "telnet", "ShAdDafF", [60, 220], "ShAdDaFf", [90, 4_000]),
            (Service::Mysql, "MySQL", "ShAdDafF", [110, 170], "ShAdDaFf", [180, 230]),
            (Service::Postgresql, "PostgreSQL", "ShADadfF", [90, 130], "ShADadFf", [130, 400]),
            (Service::Mssql, "Microsoft SQL Server", "ShADadfF", [900, 2_100], "ShADadFf", [1_000, 2_400]),
            (Service::Rfb, "VNC", "ShAdDafF", [29, 60], "ShAdDaFf", [2_000, 90_000]),
        ];
        for (service, name, history, guess, others, more) in cases {
            let found = judge(6, |i| (0..5).map(|n| to(1, 5 * i + n, 902, history, guess).service(service)).collect());
            assert_eq!(found.len(), 3, "{name}");
            assert!(found[0].summary.contains(&format!("connections to {name} at ")), "{}", found[0].summary);
            assert_eq!((found[0].port, found[0].source), (Some(902), Party::Host(host(1))));
            let none = judge(20, |i| (0..5).map(|n| to(1, 5 * i + n, 902, others, more).service(service)).collect());
            assert!(none.is_empty(), "{name}: what went on is none");
        }
    }

    #[test]
    fn the_port_names_what_the_bytes_do_not_and_it_is_said() {
        let found = judge(6, |i| (0..5).map(|n| to(1, 5 * i + n, 21, "ShAdDaFf", [30, 180])).collect());
        assert!(found[0].summary.ends_with("that it is FTP is known by the port alone"), "{}", found[0].summary);
        let http = |i, n| to(1, 5 * i + n, 21, "ShAdDaFf", [30, 180]).service(Service::Http);
        assert!(judge(6, |i| (0..5).map(|n| http(i, n)).collect()).is_empty(), "the bytes say otherwise");
    }

    #[test]
    fn checks_pools_and_people_are_none() {
        let steady = |port, history: &'static str, payload: [u64; 2]| {
            judge(30, move |i| (0..5).map(|n| to(1, 5 * i + n, port, history, payload)).collect())
        };
        assert!(steady(21, "ShAdDaFf", [6, 40]).is_empty(), "a check that the server greets");
        assert!(steady(3306, "ShAdF", [0, 80]).is_empty(), "a check that the port is open");
        assert!(steady(3306, "ShAdDaFf", [95, 100]).is_empty(), "a log-in that leaves by itself");
        assert!(steady(3389, "ShADadFf", [19, 19]).is_empty(), "a gateway that asks for the protocol");
        let each = |i: u64| if i.is_multiple_of(4) { vec![to(1, i, 21, "ShAdDaFf", [30, 180])] } else { vec![] };
        assert!(judge(60, each).is_empty(), "three a minute");
    }

    #[test]
    fn many_sources_are_counted_at_the_server() {
        let found = judge(4, |i| (0..35).map(|n| to(10 + n, i, 21, "ShAdDaFf", [30, 180])).collect());
        assert_eq!((found[0].source, found[0].destination), (Party::Many, Party::Host(host(2))));
        assert_eq!(found[0].contributors.len(), 10);
    }
}
