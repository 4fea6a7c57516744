//! Made-up domains: a host asks for one domain after another that does not exist.
//!
//! Malware that finds its server by an algorithm (DGA) tries hundreds of names a day, of which one is registered; the rest are answered
//! NXDOMAIN (Antonakakis et al. 2012, "From Throw-Away Traffic to Bots"). So this counts, for each client, the different domains
//! under which answers said that there is no such name, and their share of all domains that it was answered about. Names that letters were drawn for
//! have as many vowels as the alphabet, 5 of 26; words and brands have 35 to 45 % (and next to no digits): few of the former are enough, of
//! others, such as those drawn from a list of words, it takes many.
//!
//! What is in front of a domain does not matter. So a search list, which tries one ending with many names, counts one domain for each ending, random
//! subdomains of one domain count one (`dns_tunnel` names that flood), and names without a dot, as browsers try them, or with an ending of the
//! network's own, none.
//!
//! Known false alarms: a resolver or a blocker that answers NXDOMAIN for unwanted domains, for a host that asks for a hundred of them;
//! tools that test lists of domains. Evasion: a name a minute; answers over TLS or HTTPS.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::dns_tunnel::owner;
use super::{Detector, Try, View};
use crate::domain::{AlertKind, DnsMessage, Finding, Measure, PacketEvent, Timestamp};
use crate::tunables::{Bounds, tunables};
use crate::window::{Distinct, Hosts, Run, Span};

tunables! {
    /// Domains made up by an algorithm.
    DgaConfig in "detect.dga" {
        /// Seconds that are judged together, at least; at most twice as many.
        memory_s: f64 = 300.0 => Bounds::MEMORY_S,
        /// Different domains that do not exist and look drawn by chance. Default: a browser tries three, a page with dead links some.
        min_random: u64 = 20 => Bounds::COUNT,
        /// Different domains that do not exist, whatever they look like.
        min_any: u64 = 100 => Bounds::COUNT,
        /// Their share of all domains that the host was answered about, 0 to 1. Default: mail servers, which look up whatever a sender claims, have
        /// a fifth.
        min_failed_share: f64 = 0.4 => Bounds::SHARE,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "dga",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Unused,
    cost: Cost::Short,
    rates: Rates::Unused,
};

/// Clients that are remembered, in each of two generations.
const MAX_CLIENTS: usize = 8_192;
/// Response code: there is no such name.
const NXDOMAIN: u8 = 3;
/// Share of vowels in the letters below which names look drawn by chance: the middle between 5 of 26 and words.
const CHANCE_VOWELS: f64 = 0.28;
/// Share of digits from which on they do.
const CHANCE_DIGITS: f64 = 0.2;
/// Endings of networks' own, under which nobody can register a domain (RFC 6762, appendix G).
const PRIVATE: [&str; 6] = ["intranet", "internal", "private", "corp", "home", "lan"];
/// Examples that a finding names.
const MAX_EXAMPLES: usize = 5;

/// Finds hosts that ask for domains that do not exist.
#[derive(Debug)]
pub(super) struct Dga {
    config: DgaConfig,
    began: Timestamp,
    now: Generation,
    before: Generation,
    evicted: u64,
}

type Generation = HashMap<IpAddr, Asked, RandomState>;

/// What one client was answered.
#[derive(Clone, Debug, Default)]
struct Asked {
    all: Distinct,
    failed: Distinct,
    /// Characters of the domains that do not exist, those of one that is asked for again each time.
    letters: u64,
    vowels: u64,
    digits: u64,
    server: Option<IpAddr>,
    /// When it first asked for a name that does not exist; where the question was not seen, when it was told so.
    first: Option<Timestamp>,
    examples: Vec<String>,
}

impl Asked {
    fn merge(&mut self, other: &Self) {
        self.all.merge(&other.all);
        self.failed.merge(&other.failed);
        self.letters += other.letters;
        self.vowels += other.vowels;
        self.digits += other.digits;
        self.server = self.server.or(other.server);
        self.first = self.first.into_iter().chain(other.first).min();
        let room = MAX_EXAMPLES.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.iter().take(room).cloned());
    }

    fn fail(&mut self, domain: &str, server: IpAddr, hash: u32, time: Timestamp) {
        self.failed.insert(hash);
        self.server = Some(server);
        self.first.get_or_insert(time);
        let label = domain.split('.').next().unwrap_or_default().as_bytes();
        let count = |is: fn(&u8) -> bool| label.iter().filter(|byte| is(byte)).count() as u64;
        self.letters += count(u8::is_ascii_alphabetic);
        self.vowels += count(|byte| b"aeiou".contains(byte));
        self.digits += count(u8::is_ascii_digit);
        if self.examples.len() < MAX_EXAMPLES && !self.examples.iter().any(|known| known == domain) {
            self.examples.push(domain.to_owned());
        }
    }

    /// Share of vowels in the letters, and of digits in all characters.
    fn looks(&self) -> (f64, f64) {
        let of = |part: u64, all: u64| part as f64 / all.max(1) as f64;
        (of(self.vowels, self.letters), of(self.digits, self.letters + self.digits))
    }
}

impl Dga {
    pub(super) fn new(config: DgaConfig) -> Self {
        let (now, before) = (Generation::default(), Generation::default());
        Self { config, began: Timestamp::default(), now, before, evicted: 0 }
    }

    /// Two generations take turns; time may also have been set back.
    fn turn(&mut self, now: Timestamp) {
        let (age, span_ns) = (now.since(self.began), (self.config.memory_s * 1e9) as u64);
        if now < self.began || age >= 2 * span_ns {
            self.before.clear();
            self.now.clear();
            self.began = now;
        } else if age >= span_ns {
            self.before = std::mem::take(&mut self.now);
            self.began = now;
        }
    }

    /// Takes an answer; the client, if there was no such name, and whether it is the first such answer.
    fn take(&mut self, message: &DnsMessage, hosts: &Hosts) -> Option<(IpAddr, bool)> {
        let question = message.questions.first().filter(|_| message.is_response && !message.is_malformed)?;
        let (client, server) = (message.client.0, message.server.0);
        let domain = owner(&question.name).filter(|domain| !server.is_multicast() && !is_private(domain))?;
        if self.now.len() >= MAX_CLIENTS && !self.now.contains_key(&client) {
            self.evicted += 1;
            return None;
        }
        let (asked, hash) = (self.now.entry(client).or_default(), hosts.hash(&domain));
        asked.all.insert(hash);
        if message.rcode != NXDOMAIN {
            return None;
        }
        let is_first = asked.first.is_none();
        asked.fail(&domain, server, hash, message.time);
        Some((client, is_first))
    }

    /// Where a client's first answer of that kind came in this window, it began with the question.
    fn begin_with_questions(&mut self, events: &[PacketEvent], ids: &HashMap<IpAddr, u16, RandomState>) {
        for event in events {
            let PacketEvent::Dns(message) = event else { continue };
            let client = message.client.0;
            if message.is_response || ids.get(&client) != Some(&message.id) {
                continue;
            }
            if let Some(first) = self.now.get_mut(&client).and_then(|asked| asked.first.as_mut()) {
                *first = message.time.min(*first);
            }
        }
    }

    fn judge(&self, view: &View<'_>, client: IpAddr) -> Option<Finding> {
        let mut asked = self.now.get(&client)?.clone();
        if let Some(before) = self.before.get(&client) {
            asked.merge(before);
        }
        let all = asked.all.count();
        // Both are estimates once they are many.
        let failed = asked.failed.count().min(all);
        let (vowels, digits) = asked.looks();
        let is_random = vowels <= CHANCE_VOWELS || digits >= CHANCE_DIGITS;
        let least = if is_random { self.config.min_random } else { self.config.min_any };
        let share = failed as f64 / all.max(1) as f64;
        view.state(&DECLARATION, client, ("missing_domains", "domains"), [failed as f64, least as f64]);
        if failed < least || share < self.config.min_failed_share {
            return None;
        }
        let measure = Measure {
            name: "missing_domains",
            unit: "domains",
            observed: failed as f64,
            expected: None,
            threshold: least as f64,
        };
        let look = if is_random { ", which look drawn by chance" } else { "" };
        let summary = format!(
            "{client} asked for names under {} different domains that do not exist{look}, of {} that it was answered about: {}",
            asked.failed.words(),
            asked.all.words(),
            asked.examples.join(", ")
        );
        let mut finding = view.finding(&DECLARATION, AlertKind::Dga, measure, summary);
        finding.source = client.into();
        finding.destination = asked.server.map(Into::into).unwrap_or_default();
        finding.seen = asked.first.map(|first| [first, view.end()]);
        finding.facts = vec![
            ("failed_share", format!("{share:.3}")),
            ("vowel_share", format!("{vowels:.3}")),
            ("digit_share", format!("{digits:.3}")),
        ];
        Some(finding)
    }
}

fn is_private(domain: &str) -> bool {
    domain.rsplit('.').next().is_some_and(|ending| PRIVATE.contains(&ending))
}

impl Detector for Dga {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, _: &Run<'_>, _: &[Try]) {}

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        self.turn(view.start());
        let (mut failed, mut begun) = (Vec::new(), HashMap::default());
        for event in &view.snapshot.events {
            let PacketEvent::Dns(message) = event else { continue };
            let Some((client, is_first)) = Self::take(self, message, &view.snapshot.hosts) else { continue };
            failed.push(client);
            if is_first {
                begun.insert(client, message.id);
            }
        }
        if !begun.is_empty() {
            self.begin_with_questions(&view.snapshot.events, &begun);
        }
        failed.sort_unstable();
        failed.dedup();
        out.extend(failed.into_iter().filter_map(|client| self.judge(view, client)));
    }

    fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::{Dga, DgaConfig};
    use crate::domain::{DnsMessage, Finding, PacketEvent, Question, Timestamp};

    fn answer(second: f64, client: u8, name: &str, rcode: u8) -> PacketEvent {
        PacketEvent::Dns(DnsMessage {
            time: Timestamp::from_nanos(((1_000_000.0 + second) * 1e9) as u64),
            vlan: 0,
            client: ([10, 0, 0, client].into(), 40_000),
            server: ([10, 0, 0, 1].into(), 53),
            message_bytes: 100,
            id: 7,
            is_response: true,
            opcode: 0,
            rcode,
            questions: vec![Question { name: name.to_owned(), qtype: 1 }],
            answers: u16::from(rcode == 0),
            answer_sizes: Vec::new(),
            is_cut: false,
            is_malformed: false,
        })
    }

    /// What is found when host 5 is told this about names, one a second.
    fn judge(names: impl Iterator<Item = (String, u8)>) -> Vec<Finding> {
        let events: Vec<_> = names.enumerate().map(|(n, (name, rcode))| answer(n as f64, 5, &name, rcode)).collect();
        let windows = events.chunks(5).map(|events| fixture::window(events[0].time(), events));
        fixture::inspect(&mut Dga::new(DgaConfig::default()), windows)
    }

    /// Letters drawn by chance.
    fn drawn(number: u32) -> String {
        let mut state = number.wrapping_mul(2_654_435_761);
        let mut letter = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + (state >> 16) as u8 % 26)
        };
        (0..12).map(|_| letter()).collect()
    }

    #[test]
    fn domains_that_were_drawn_are_reported_from_twenty_on_and_words_from_a_hundred() {
        let found = judge((0..40).map(|n| (format!("{}.com", drawn(n)), 3)));
        assert_eq!(found[0].measure.observed as u64, 20);
        assert_eq!(found[0].source.to_string(), "10.0.0.5");
        let first = answer(0.0, 5, "", 3).time();
        assert_eq!(found[0].seen.map(|[began, _]| began), Some(first), "20 s before the window that judged");
        let words = |n: u32| ["river", "table", "orange", "summer", "paper"][n as usize % 5].to_owned();
        let two = |n: u32| format!("{}{}{}.net", words(n), words(n / 5), words(n / 25));
        assert!(judge((0..90).map(|n| (two(n), 3))).is_empty());
        assert!(!judge((0..120).map(|n| (two(n), 3))).is_empty());
    }

    #[test]
    fn it_began_with_the_question_for_the_first_domain_that_does_not_exist() {
        let asked = |n: u32| {
            let name = format!("{}.com", drawn(n));
            let [mut question, mut told] =
                [0.25, 0.5].map(|s| answer(f64::from(n) + s, 5, &name, if n < 3 { 0 } else { 3 }));
            for message in [&mut question, &mut told] {
                let PacketEvent::Dns(message) = message else { unreachable!("it is one") };
                message.id = n as u16;
            }
            let PacketEvent::Dns(message) = &mut question else { unreachable!("it is one") };
            (message.is_response, message.rcode) = (false, 0);
            [question, told]
        };
        let events: Vec<_> = (0..40).flat_map(asked).collect();
        let windows = events.chunks(10).map(|events| fixture::window(events[0].time(), events));
        let found = fixture::inspect(&mut Dga::new(DgaConfig::default()), windows);
        assert_eq!(found[0].seen.map(|[began, _]| began), Some(events[6].time()), "the names before exist");
    }

    #[test]
    fn search_lists_random_subdomains_single_labels_and_a_few_dead_domains_are_none() {
        assert!(judge((0..200).map(|n| (format!("{}.corp.example.com", drawn(n)), 3))).is_empty(), "a search list");
        assert!(judge((0..200).map(|n| (format!("{}.victim.org", drawn(n)), 3))).is_empty(), "random subdomains");
        assert!(judge((0..200).map(|n| (drawn(n), 3))).is_empty(), "what a browser tries");
        assert!(judge((0..200).map(|n| (format!("{}.lan", drawn(n)), 3))).is_empty(), "an ending of the network's own");
        let mail = |n| if n % 5 == 0 { (format!("{}.com", drawn(n)), 3) } else { (format!("{}.org", drawn(n)), 0) };
        assert!(judge((0..200).map(mail)).is_empty(), "a mail server");
        assert!(judge((0..400).map(|n| (format!("{}.com", drawn(n % 15)), 3))).is_empty(), "fifteen, again and again");
        assert!(judge((0..200).map(|n| (format!("{n}.2.0.192.in-addr.arpa"), 3))).is_empty(), "reverse look-ups");
    }
}
