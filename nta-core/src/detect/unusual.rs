//! What a model found unusual about a host, in words: its inputs are logarithms and quotients, and an operator wants counts, and
//! what the host's usual is.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::model::{INPUT_FIELDS, INPUTS, Input, Reason};
use crate::window::Span;

/// Hosts and lengths whose usual is kept; beyond it all of it is forgotten and learned again, which takes a few windows.
const MAX_LEVELS: usize = 4_096;
/// Windows before something is called usual.
const LEAST_WINDOWS: u32 = 6;
/// A mean over about so many windows.
const MEMORY: u32 = 60;

/// What is usual for hosts, by the windows in which nothing was wrong with them.
#[derive(Debug, Default)]
pub(super) struct Usual {
    levels: HashMap<(IpAddr, usize), Level>,
    forgotten: u64,
}

#[derive(Debug)]
struct Level {
    windows: u32,
    means: Input,
}

impl Usual {
    /// Takes a window in which a host did nothing wrong.
    pub(super) fn learn(&mut self, host: IpAddr, span: Span, input: &Input) {
        let key = (host, span as usize);
        if self.levels.len() >= MAX_LEVELS && !self.levels.contains_key(&key) {
            self.forgotten += self.levels.len() as u64;
            self.levels.clear();
        }
        let level = self.levels.entry(key).or_insert(Level { windows: 0, means: [0.0; INPUTS] });
        level.windows = level.windows.saturating_add(1);
        let share = 1.0 / level.windows.min(MEMORY) as f32;
        for (mean, value) in level.means.iter_mut().zip(input) {
            *mean += share * (value - *mean);
        }
    }

    /// Entries that were forgotten for want of room.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// A reason in words, with what is usual for the host, if that is known.
    pub(super) fn words(&self, host: IpAddr, span: Span, (name, value, _): &Reason) -> String {
        let place = INPUT_FIELDS.iter().position(|field| field.name == *name).unwrap_or_default();
        let level = self.levels.get(&(host, span as usize)).filter(|level| level.windows >= LEAST_WINDOWS);
        let usual = level.map(|level| format!(" (this host's usual is {})", amount(place, level.means[place])));
        format!("{}{}", phrase(place, &amount(place, *value)), usual.unwrap_or_default())
    }
}

/// A value as it is said: a count, a percentage, or a number.
fn amount(place: usize, value: f32) -> String {
    let field = &INPUT_FIELDS[place];
    let is_share = field.name.contains("share") || field.name.contains("_of_");
    match field.unit {
        "ln" => format!("{:.0}", value.exp_m1()),
        "1" if is_share => format!("{:.0} %", 100.0 * value),
        "1" => format!("{value:.1}"),
        unit => format!("{value:.0} {unit}"),
    }
}

fn phrase(place: usize, amount: &str) -> String {
    let field = &INPUT_FIELDS[place];
    match field.name {
        "ln_services_out" => format!("asked {amount} services"),
        "ln_peers_out" => format!("asked {amount} hosts"),
        "ln_ports_out" => format!("asked for {amount} ports"),
        "ln_peers_in" => format!("was asked by {amount} hosts"),
        "ln_ports_in" => format!("was asked for {amount} of its ports"),
        "ln_packets_sent" => format!("sent {amount} packets"),
        "ln_packets_received" => format!("received {amount} packets"),
        "ln_flows_begun_out" => format!("began {amount} flows"),
        "ln_flows_begun_in" => format!("had {amount} flows begun with it"),
        "ln_attempts_out" => format!("tried {amount} TCP connections"),
        "ln_attempts_in" => format!("was asked for {amount} TCP connections"),
        "ln_flows_out" => format!("had {amount} flows of its own"),
        "ln_flows_in" => format!("had {amount} flows of others"),
        "ln_syn_sent" => format!("sent {amount} SYNs"),
        "ln_syn_received" => format!("received {amount} SYNs"),
        "ln_dns_queries" => format!("sent {amount} DNS queries"),
        "ln_icmp" => format!("exchanged {amount} ICMP packets"),
        "ln_icmp_received" => format!("received {amount} ICMP packets"),
        "ln_udp" => format!("exchanged {amount} UDP packets"),
        "ln_udp_received" => format!("received {amount} UDP packets"),
        "ln_more_sent" => format!("sent {amount} packets more than it received"),
        "ln_more_received" => format!("received {amount} packets more than it sent"),
        "ln_failed_out" => format!("failed with {amount} flows"),
        "syn_of_sent" => format!("{amount} of the packets sent were SYNs"),
        "syn_of_received" => format!("{amount} of the packets received were SYNs"),
        "rst_of_sent" => format!("{amount} of the packets sent were resets"),
        "rst_of_received" => format!("{amount} of the packets received were resets"),
        "fin_of_sent" => format!("{amount} of the packets sent were FINs"),
        name => format!("{} {amount}", name.replace('_', " ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn place(name: &str) -> usize {
        INPUT_FIELDS.iter().position(|field| field.name == name).expect("an input")
    }

    #[test]
    fn a_reason_is_a_count_beside_what_is_usual_for_the_host() {
        let mut usual = Usual::default();
        let reason = ("ln_services_out", 413_f32.ln(), 2.1);
        let mut input = [0.0; INPUTS];
        input[place("ln_services_out")] = 4_f32.ln();
        for _ in 1..LEAST_WINDOWS {
            usual.learn(HOST, Span::Base, &input);
        }
        assert_eq!(usual.words(HOST, Span::Base, &reason), "asked 412 services", "too little is known");
        usual.learn(HOST, Span::Base, &input);
        assert_eq!(usual.words(HOST, Span::Base, &reason), "asked 412 services (this host's usual is 3)");
        assert_eq!(usual.words(HOST, Span::Medium, &reason), "asked 412 services", "of another length nothing");
    }

    #[test]
    fn every_input_has_words_and_none_is_a_logarithm() {
        let usual = Usual::default();
        for field in &INPUT_FIELDS {
            let words = usual.words(HOST, Span::Base, &(field.name, 0.5, 1.0));
            assert!(!words.contains("ln") && !words.contains('_'), "{}: {words}", field.name);
        }
        assert_eq!(usual.words(HOST, Span::Base, &("syn_of_sent", 0.97, 1.0)), "97 % of the packets sent were SYNs");
        assert_eq!(usual.words(HOST, Span::Base, &("packet_size_sent", 60.0, 1.0)), "packet size sent 60 B");
    }

    #[test]
    fn the_usual_of_more_hosts_than_there_is_room_for_is_forgotten_and_counted() {
        let mut usual = Usual::default();
        for host in 0..=MAX_LEVELS as u32 {
            usual.learn(std::net::Ipv4Addr::from(host).into(), Span::Base, &[0.0; INPUTS]);
        }
        assert_eq!((usual.levels.len(), usual.forgotten()), (1, MAX_LEVELS as u64));
    }
}
