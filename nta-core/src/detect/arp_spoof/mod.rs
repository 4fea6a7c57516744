//! ARP and neighbour-advertisement spoofing: a station that claims another's IPv4 or IPv6 address, to have its traffic.
//!
//! As arpwatch a binding that changes, and as Snort's arpspoof preprocessor a frame whose source is not the ARP sender;
//! beyond both, what a tool cannot avoid: a reply that nobody asked for, again and again (a cache forgets: dsniff's
//! arpspoof repeats every 2 s, ettercap every second and then every 10 s, bettercap every second).
//!
//! A claim is forged only against a holder that is still there. Reported are: (1) an address is claimed unasked, and never in
//! the open, while its holder lives, or a station speaks up for it again and again beside the holder; (2) one station
//! tells A that it is B, and B that it is A, though it knows where one of them is; (3) an unasked reply is repeated by a station
//! that never speaks for the address in the open; (4) a station asks and answers at once in the name of another; (5) a station
//! that claimed an address in secret sends the true binding (tools do so when they end).
//!
//! At most a duplicate address of low severity: two stations that use one address in the open or answer one question (two
//! interfaces in one network, a bond, an address given twice).
//!
//! Of neighbour discovery (RFC 4861) a solicitation asks and claims its source, an advertisement answers and claims its target, each by
//! the link-layer address in its option; to a group an advertisement announces. One that does not override claims nothing.
//!
//! Not reported: one station that stands for many (virtual machines that are bridged to Wi-Fi, repeaters, proxy ARP), an address
//! that moves after a silence or is used once more after it was given up (DHCP), virtual router addresses, requests in masses,
//! probes and announcements (RFC 5227).

mod claimants;
mod gateway;
mod memory;
mod spoken;

pub(super) use gateway::Sought;

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::named::Station;
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Contributor, Finding, Mac, Measure, Party};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};
use memory::{Claim, Memory, Sign};
use spoken::Spoken;

tunables! {
    /// ARP and neighbour-advertisement spoofing.
    ArpSpoofConfig in "detect.arp_spoof" {
        /// Unasked replies with one claim to one target within `repeat_within_s` that are reported. A neighbour table asks
        /// again after 15 s at the earliest (RFC 4861 section 10, Linux base_reachable_time), so a capture that lacks
        /// the questions shows 4 in a minute.
        min_repeats: u32 = 5 => Bounds::COUNT,
        /// Seconds within which these must come.
        repeat_within_s: f64 = 60.0 => Bounds::SECONDS,
        /// An address may move to another station when its holder was silent for so many seconds.
        handover_s: f64 = 60.0 => Bounds::SECONDS,
        /// Seconds for which claims and holders are remembered (arpspoof, ettercap and Cain repeat within 30 s).
        memory_s: f64 = 900.0 => Bounds::MEMORY_S,
        /// Stations that may claim any address, such as members of a cluster: MAC addresses.
        allowed_macs: Vec<Station> = Vec::new(),
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "arp_spoof",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Unused,
    cost: Cost::Short,
    rates: Rates::Unused,
};

/// Finds forged claims in ARP and neighbour discovery of base windows.
#[derive(Debug)]
pub(super) struct ArpSpoof {
    config: ArpSpoofConfig,
    memory: Memory,
}

impl ArpSpoof {
    pub(super) fn new(config: ArpSpoofConfig) -> Self {
        let memory = Memory::new(&config);
        Self { config, memory }
    }

    fn finding(&self, view: &View<'_>, claim: &Claim) -> Finding {
        let (attacker, address) = (claim.attacker, claim.address);
        let own = self.memory.addresses((claim.vlan, address), attacker).into_iter().find(|own| *own != address);
        let own_text = own.map_or_else(|| "-".to_owned(), |own| own.to_string());
        let what = match claim.sign {
            Sign::Conflict(holder) => format!("claims {address}, which is at {holder}"),
            Sign::BothWays(other) => format!("claims {address} towards {other} and {other} towards {address}"),
            Sign::Repeated => format!("claims {address} again and again though nobody asked"),
            Sign::AsksAndAnswers => format!("asks and answers as {address}, and speaks as {own_text}"),
            Sign::Restores(holder) => {
                format!("claimed {address}, and now says in frames of its own that it is at {holder}")
            }
            Sign::Duplicate(other) => format!("uses {address}, which {other} uses as well"),
        };
        let mut facts = vec![
            ("sign", claim.sign.word().to_owned()),
            ("attacker_address", own_text),
            ("unasked_replies", claim.unasked.to_string()),
            ("vlan", claim.vlan.to_string()),
            ("protocol", if address.is_ipv6() { "neighbour discovery" } else { "ARP" }.to_owned()),
        ];
        if let Sign::Conflict(holder) | Sign::Restores(holder) | Sign::Duplicate(holder) = claim.sign {
            facts.push(("holder", holder.to_string()));
        }
        let name = if claim.sign.is_forged() { "forged_claims" } else { "double_claims" };
        let observed = f64::from(if claim.sign == Sign::Repeated { claim.unasked } else { claim.count });
        let threshold = claim.sign.threshold(&self.config);
        view.state(&DECLARATION, address, (name, "packets"), [observed, threshold]);
        let [first, last] = claim.seen;
        let since = self.memory.claimed_since(claim).map_or(first, |since| since.min(first));
        Finding {
            detector: DECLARATION.name,
            basis: DECLARATION.basis,
            kind: claim.sign.kind(),
            source: Party::Mac(attacker.0),
            destination: Party::Host(address),
            port: None,
            start: view.start(),
            end: view.end(),
            seen: Some([since, last]),
            measure: Measure { name, unit: "packets", observed, expected: None, threshold },
            score: claim.sign.score(),
            summary: format!("{attacker} {what}; {} such packets in this window", claim.count),
            facts,
            contributors: vec![Contributor { what: address.to_string(), amount: f64::from(claim.count) }],
            crowd: None,
        }
    }
}

impl Sign {
    const fn is_forged(self) -> bool {
        !matches!(self, Self::Duplicate(_))
    }

    const fn kind(self) -> AlertKind {
        if self.is_forged() { AlertKind::ArpSpoof } else { AlertKind::DuplicateAddress }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Conflict(_) => "conflict",
            Self::BothWays(_) => "both_ways",
            Self::Repeated => "repeated",
            Self::AsksAndAnswers => "asks_and_answers",
            Self::Restores(_) => "restores",
            Self::Duplicate(_) => "duplicate",
        }
    }

    /// One forged packet is enough, except where only the repetition shows it.
    fn threshold(self, config: &ArpSpoofConfig) -> f64 {
        if matches!(self, Self::Repeated) { f64::from(config.min_repeats) } else { 1.0 }
    }

    const fn score(self) -> f64 {
        match self {
            Self::BothWays(_) | Self::Restores(_) => 1.0,
            Self::Conflict(_) => 0.9,
            Self::Repeated => 0.8,
            Self::AsksAndAnswers => 0.7,
            Self::Duplicate(_) => 0.3,
        }
    }
}

impl Detector for ArpSpoof {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, _: &Run<'_>, _: &[Try]) {}

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let mut claims: Vec<Claim> = Vec::new();
        for event in &view.snapshot.events {
            let Some(mut claim) = Spoken::of(event).and_then(|spoken| self.memory.take(&spoken)) else { continue };
            if self.config.allowed_macs.iter().any(|allowed| allowed.is(claim.attacker)) {
                continue;
            }
            // Bounded by the events of a window.
            match claims.iter_mut().find(|known| known.key() == claim.key()) {
                Some(known) => {
                    claim.count = known.count.saturating_add(claim.count);
                    claim.seen = [known.seen[0].min(claim.seen[0]), known.seen[1].max(claim.seen[1])];
                    if known.sign.score() > claim.sign.score() {
                        claim.sign = known.sign;
                    }
                    *known = claim;
                }
                None => claims.push(claim),
            }
        }
        claims.sort_unstable_by_key(Claim::key);
        out.extend(claims.iter().map(|claim| self.finding(view, claim)));
    }

    fn evicted(&self) -> u64 {
        self.memory.evicted
    }
}

/// Virtual router addresses, which move between stations by design: VRRP and CARP (RFC 9568 section 7.3), HSRP versions
/// 1 and 2 (RFC 2281, Cisco), GLBP (Cisco); and addresses of groups, as Network Load Balancing uses.
pub(super) fn is_shared(mac: Mac) -> bool {
    let [a, b, c, d, e, _] = mac.0;
    let vrrp = (a, b, c, d) == (0x00, 0x00, 0x5e, 0x00) && matches!(e, 1 | 2);
    let hsrp = (a, b, c) == (0x00, 0x00, 0x0c) && ((d, e) == (0x07, 0xac) || (d, e >> 4) == (0x9f, 0xf));
    let glbp = (a, b, c) == (0x00, 0x07, 0xb4);
    vrrp || hsrp || glbp || a & 1 == 1
}

#[cfg(test)]
mod nd_tests;
#[cfg(test)]
mod tests;
