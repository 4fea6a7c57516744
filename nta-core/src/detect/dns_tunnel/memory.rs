//! What each client asked of each parent domain lately: two generations that take turns, in bounded tables.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use foldhash::fast::RandomState;

use super::asked::Asked;
use super::name::{self, Name, is_carrier, is_mail_policy, is_reversed_address};
use crate::domain::{DnsMessage, Timestamp};
use crate::window::{Distinct, Hosts};

/// Pairs of client and parent domain in a generation. At 2 KiB at most, both take 64 MiB. When it is full, the tenth
/// goes that was asked for least: a flood of names with a parent each does not hide a tunnel.
const MAX_PAIRS: usize = 16_384;
const EVICT_SHARE: usize = 10;
/// Group of the packets that are no DNS, with the server behind it.
const NO_DNS: &str = "(no DNS)";
const DNS_PORT: u16 = 53;
/// Answers from which on their share of failures says something.
const MIN_REPLIES: u32 = 10;
/// Share of answers without success from which on nothing comes back.
const VAIN_SHARE: f64 = 0.9;
/// Fronts of names that did not exist, in each generation; further ones are counted and left out.
const MAX_FRONTS: usize = 65_536;
/// Labels of a name whose fronts are remembered: a search list appends to a name of a few.
const MAX_LABELS: usize = 8;
/// Endings of a search list: six in resolv.conf(5) up to glibc 2.25, and none.
const MAX_ENDINGS: usize = 7;
/// There is no such name (RFC 1035).
const NXDOMAIN: u8 = 3;
/// In a transfer one side sends data and the other acknowledges it: TCP at least every second segment (RFC 9293), batched
/// by some; one packet in this many is still an exchange.
const MOST_UNEQUAL: u32 = 50;

/// A client, and a domain that it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Pair {
    pub(super) client: IpAddr,
    pub(super) parent: String,
}

/// What the client asked of it.
#[derive(Clone, Debug)]
pub(super) struct Use {
    /// Asked last.
    pub(super) server: IpAddr,
    pub(super) queries: u32,
    /// Queries for types whose answers hold free data.
    pub(super) carriers: u32,
    /// Different names.
    names: Distinct,
    /// Bytes in front of the parent, of all queries.
    pub(super) bytes: u64,
    /// Entropy of each, summed.
    entropy: f64,
    /// Answers with data.
    pub(super) answers: u32,
    /// Bytes of their data.
    pub(super) answer_bytes: u64,
    /// The first message that counts.
    pub(super) first: Option<Timestamp>,
    /// Packets that are no DNS, from the client and from the server.
    pub(super) foreign: [u32; 2],
    /// Answers of any kind.
    pub(super) replies: u32,
    /// Those of them that say that there is nothing: no such name, refused, failed.
    pub(super) failures: u32,
    /// Names that the client asked for with another ending as well, without success: a search list's.
    searched: Distinct,
    /// Names that another client asked for as well.
    shared: Distinct,
}

impl Default for Use {
    fn default() -> Self {
        Self {
            server: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            first: None,
            queries: 0,
            carriers: 0,
            names: Distinct::default(),
            bytes: 0,
            entropy: 0.0,
            answers: 0,
            answer_bytes: 0,
            foreign: [0; 2],
            replies: 0,
            failures: 0,
            searched: Distinct::default(),
            shared: Distinct::default(),
        }
    }
}

impl Use {
    pub(super) fn merge(&mut self, other: &Self) {
        self.first = self.first.into_iter().chain(other.first).min();
        self.queries += other.queries;
        self.carriers += other.carriers;
        self.names.merge(&other.names);
        self.bytes += other.bytes;
        self.entropy += other.entropy;
        self.answers += other.answers;
        self.answer_bytes += other.answer_bytes;
        self.foreign = [0, 1].map(|side| self.foreign[side] + other.foreign[side]);
        self.replies += other.replies;
        self.failures += other.failures;
        self.searched.merge(&other.searched);
        self.shared.merge(&other.shared);
    }

    /// Whether nearly every answer says that there is nothing: no data comes back.
    pub(super) fn is_in_vain(&self) -> bool {
        self.replies >= MIN_REPLIES && f64::from(self.failures) >= VAIN_SHARE * f64::from(self.replies)
    }

    /// Whether most of the names are a search list's.
    pub(super) fn is_searched(&self) -> bool {
        self.searched.count() * 2 >= self.names.count()
    }

    /// Whether others ask for a fourth of the names or more: a tunnel's carry the data of one.
    pub(super) fn is_shared(&self) -> bool {
        self.shared.count() > 0 && self.shared.count() * 4 >= self.names.count()
    }

    /// Different names asked for: as many as there were queries at most, which an estimate does not know.
    pub(super) fn distinct_names(&self) -> u64 {
        self.names.count().min(self.queries.into())
    }

    /// Their count in words.
    pub(super) fn names_in_words(&self) -> String {
        if self.names.count() >= self.queries.into() { self.queries.to_string() } else { self.names.words() }
    }

    /// Bytes in front of the parent, per query.
    pub(super) fn mean_bytes(&self) -> f64 {
        self.bytes as f64 / f64::from(self.queries.max(1))
    }

    /// Bits a byte, mean of the queries.
    pub(super) fn mean_entropy(&self) -> f64 {
        self.entropy / f64::from(self.queries.max(1))
    }

    /// Packets that are no DNS, if both sides send them: a flood or a scan of this port, or from it, gets no answers.
    pub(super) fn exchanged(&self) -> u32 {
        let [up, down] = self.foreign;
        if up.min(down).saturating_mul(MOST_UNEQUAL) >= up.max(down) { up + down } else { 0 }
    }

    /// Data bytes per answer.
    pub(super) fn mean_answer(&self) -> f64 {
        self.answer_bytes as f64 / f64::from(self.answers.max(1))
    }
}

/// What names that did not exist begin with, by client.
type Fronts = HashMap<u32, Front, RandomState>;

#[derive(Clone, Debug)]
struct Front {
    /// Different endings behind it, at most as many as a search list has.
    endings: Vec<u32>,
    is_many: bool,
    /// Parent domain with the first ending.
    parent: String,
}

impl Front {
    /// Takes an ending; whether it is one of a few.
    fn take(&mut self, ending: u32) -> bool {
        if !self.endings.contains(&ending) {
            self.is_many |= self.endings.len() >= MAX_ENDINGS;
            if !self.is_many {
                self.endings.push(ending);
            }
        }
        !self.is_many && self.endings.len() > 1
    }
}

type Generation = HashMap<Pair, Use, RandomState>;

/// The last one to two spans.
#[derive(Debug)]
pub(super) struct Memory {
    span_ns: u64,
    began: Timestamp,
    now: Generation,
    before: Generation,
    fronts: Fronts,
    asked: Asked,
    /// Pairs asked for since the last look; bounded by the events of a window.
    touched: BTreeSet<Pair>,
    /// Pairs that had to go because a generation was full.
    pub(super) evicted: u64,
}

impl Memory {
    pub(super) fn new(span_ns: u64) -> Self {
        Self {
            span_ns,
            began: Timestamp::default(),
            now: Generation::default(),
            before: Generation::default(),
            fronts: Fronts::default(),
            asked: Asked::default(),
            touched: BTreeSet::new(),
            evicted: 0,
        }
    }

    /// Forgets what is too old at this time, which may also have been set back.
    pub(super) fn turn(&mut self, now: Timestamp) {
        let age = now.since(self.began);
        if now < self.began || age >= 2 * self.span_ns {
            self.before.clear();
            self.now.clear();
            self.fronts.clear();
            self.asked.clear();
            self.began = now;
        } else if age >= self.span_ns {
            self.before = std::mem::take(&mut self.now);
            self.fronts.clear();
            self.asked.turn();
            self.began = now;
        }
    }

    /// Takes a message.
    pub(super) fn take(&mut self, message: &DnsMessage, hosts: &Hosts) {
        let (mut client, mut server) = (message.client, message.server);
        let sender = if message.is_response { server } else { client };
        if client.1 == DNS_PORT && server.1 != DNS_PORT {
            (client, server) = (server, client);
        }
        // Multicast DNS and name service on the link.
        if server.1 != DNS_PORT || server.0.is_multicast() {
            return;
        }
        if message.is_malformed {
            let seen = self.entry(client.0, format!("{NO_DNS} {}", server.0));
            seen.server = server.0;
            seen.first.get_or_insert(message.time);
            seen.foreign[usize::from(sender == server)] += 1;
            return;
        }
        let Some(question) = message.questions.first() else { return };
        let asked = |host: IpAddr| hosts.hash(&(host, question.name.to_ascii_lowercase()));
        // What a resolver asks for others is theirs, where both sides of it are seen.
        if self.asked.has(asked(client.0)) {
            return;
        }
        if message.is_response {
            self.note_fronts(client.0, message, hosts);
        } else {
            self.evicted += u64::from(!self.asked.add(asked(server.0)));
        }
        let Some(name) = Name::of(&question.name).filter(|_| !is_reversed_address(&question.name)) else { return };
        let is_carrier = is_carrier(question.qtype) && !is_mail_policy(&question.name);
        let hash = hosts.hash(&question.name.to_ascii_lowercase());
        let other = if message.is_response { None } else { self.asked.other(hash, client.0, message.id) };
        let first = other.map(|other| Pair { client: other, parent: name.parent.clone() });
        if let Some(first) = first.and_then(|first| self.now.get_mut(&first)) {
            first.shared.insert(hash);
        }
        let seen = self.entry(client.0, name.parent);
        seen.server = server.0;
        seen.first.get_or_insert(message.time);
        if message.is_response {
            seen.replies += 1;
            seen.failures += u32::from(message.rcode != 0);
            if message.answers > 0 && is_carrier {
                seen.answers += 1;
                seen.answer_bytes += u64::from(answer_bytes(message, name::length(&question.name)));
            }
            return;
        }
        seen.queries += 1;
        seen.carriers += u32::from(is_carrier);
        seen.names.insert(hash);
        if other.is_some() {
            seen.shared.insert(hash);
        }
        seen.bytes += u64::from(name.bytes);
        seen.entropy += name.entropy;
    }

    /// A resolver's search list asks for one name with each of its endings, until one exists: whose front has another ending as well
    /// is a name that the client looks for, and carries nothing. With more endings than a list has, it is a tunnel's label.
    fn note_fronts(&mut self, client: IpAddr, message: &DnsMessage, hosts: &Hosts) {
        let Some(question) = message.questions.first() else { return };
        let lower = question.name.to_ascii_lowercase();
        let lower = lower.trim_end_matches('.');
        let front = |text: &str| hosts.hash(&(client, text));
        if message.rcode != NXDOMAIN {
            // It exists with no ending: what was asked with one was a search list's.
            if let Some(known) = self.fronts.get(&front(lower)).filter(|known| !known.is_many) {
                let name = hosts.hash(&(front(lower), known.endings.first()));
                let parent = known.parent.clone();
                self.searched(client, parent, name);
            }
            return;
        }
        let parent = Name::of(lower).map(|name| name.parent).unwrap_or_default();
        let dots: Vec<usize> = lower.match_indices('.').map(|(at, _)| at).take(MAX_LABELS).collect();
        let mut earlier = None;
        // The longest front that is known speaks for the name.
        for at in dots.into_iter().rev() {
            let (key, ending) = (front(&lower[..at]), hosts.hash(&&lower[at..]));
            let is_full = self.fronts.len() >= MAX_FRONTS;
            match self.fronts.get_mut(&key) {
                Some(known) => {
                    if known.take(ending) && earlier.is_none() {
                        earlier = Some((hosts.hash(&(key, known.endings.first())), known.parent.clone()));
                    }
                }
                None if is_full => self.evicted += 1,
                None => {
                    self.fronts.insert(key, Front { endings: vec![ending], is_many: false, parent: parent.clone() });
                }
            }
        }
        if let Some((name, with)) = earlier {
            self.searched(client, with, name);
            self.searched(client, parent, hosts.hash(&lower));
        }
    }

    fn searched(&mut self, client: IpAddr, parent: String, name: u32) {
        if let Some(seen) = self.now.get_mut(&Pair { client, parent }) {
            seen.searched.insert(name);
        }
    }

    /// The pairs that were asked for since the last call, in order.
    pub(super) fn seen_now(&mut self) -> Vec<Pair> {
        std::mem::take(&mut self.touched).into_iter().collect()
    }

    /// What the client asked of it in both generations.
    pub(super) fn of(&self, pair: &Pair) -> Option<Use> {
        let mut sum = self.now.get(pair)?.clone();
        if let Some(before) = self.before.get(pair) {
            sum.merge(before);
        }
        Some(sum)
    }

    fn entry(&mut self, client: IpAddr, parent: String) -> &mut Use {
        let pair = Pair { client, parent };
        if self.now.len() >= MAX_PAIRS && !self.now.contains_key(&pair) {
            self.evict();
        }
        if !self.touched.contains(&pair) {
            self.touched.insert(pair.clone());
        }
        self.now.entry(pair).or_default()
    }

    fn evict(&mut self) {
        let rank = |seen: &Use| seen.queries + seen.foreign[0] + seen.foreign[1];
        let mut ranks: Vec<u32> = self.now.values().map(rank).collect();
        let (_, limit, _) = ranks.select_nth_unstable(MAX_PAIRS / EVICT_SHARE);
        let limit = *limit;
        let before = self.now.len();
        self.now.retain(|_, seen| rank(seen) > limit);
        self.evicted += (before - self.now.len()) as u64;
    }
}

/// Data bytes of an answer; of one that is longer than what was copied, what its length leaves beside header and question.
fn answer_bytes(message: &DnsMessage, name_bytes: u32) -> u32 {
    const HEADER: u32 = 12;
    // Length and root of the name, type and class; and of the answer a pointer to the name, type, class, life, and length.
    const AROUND: u32 = 6 + 12;
    let known = message.answer_bytes();
    if !message.is_cut {
        return known;
    }
    let left = message.message_bytes.saturating_sub(HEADER + AROUND + name_bytes);
    known.max(left)
}
