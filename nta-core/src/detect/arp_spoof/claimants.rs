//! Who claims one address: its stations, in what way each speaks for it, and whether they do so beside each other.

use std::net::IpAddr;

use crate::domain::{Mac, Timestamp};

/// Stations remembered for one address.
const MAX_CLAIMANTS: usize = 4;
/// Two stations that say the same thing within this time heard the same question, or one repeats what the other said: an answer
/// takes a millisecond on a wire and some ten over Wi-Fi.
const AT_ONCE_NS: u64 = 50_000_000;

/// How a packet claims the address of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A question to all, or an announcement: how a station speaks for itself.
    Open,
    /// An answer to what was asked.
    Asked,
    /// A question to one station, as neighbour tables send to keep an entry, and some tools to forge one.
    Probe,
    /// A reply that nobody asked for.
    Unasked,
}

/// One claim.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    pub(super) mac: Mac,
    pub(super) time: Timestamp,
    pub(super) way: Way,
    pub(super) is_reply: bool,
    /// It says to all that the address is its own.
    pub(super) is_announcement: bool,
    pub(super) target: IpAddr,
}

/// A station that claims the address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimant {
    pub(super) mac: Mac,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    last_said: (bool, IpAddr),
    is_open: bool,
    pub(super) unasked: u32,
    /// How often it spoke after another that lives.
    turns: u32,
    /// Turns that nobody had asked for.
    own_turns: u32,
    /// Turns in which it announced the address as its own.
    announced: u32,
    /// It repeats what another says, or another what it says: one station stands for the other.
    echoes: bool,
    /// It answers together with another.
    answers_beside: bool,
}

/// What a claim means beside the other stations' claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contest {
    /// A station claims unasked, and never in the open, what another holds: who, and the other.
    Taken { by: Mac, from: Mac },
    /// Two stations speak in turn: the one that came later, the other, how often the later one began to by itself, and announced
    /// the address as its own.
    Turns { later: Mac, earlier: Mac, own_turns: u32, announced: u32 },
    /// Both answered one question.
    Doubled { later: Mac, earlier: Mac },
}

/// The stations that claim one address.
#[derive(Clone, Debug, Default)]
pub(super) struct Claimants {
    list: [Option<Claimant>; MAX_CLAIMANTS],
    speaker: Option<Mac>,
}

impl Claimants {
    /// When anyone last claimed it.
    pub(super) fn last(&self) -> Timestamp {
        self.list.iter().flatten().map(|one| one.last).max().unwrap_or_default()
    }

    /// The station's claims, if it has any.
    pub(super) fn of(&self, mac: Mac) -> Option<&Claimant> {
        self.list.iter().flatten().find(|one| one.mac == mac)
    }

    /// Another station than this one that claimed the address within the time.
    pub(super) fn living(&self, beside: Mac, now: Timestamp, within_ns: u64) -> Option<&Claimant> {
        let others = self.list.iter().flatten().filter(|one| one.mac != beside && now.since(one.last) <= within_ns);
        others.max_by_key(|one| one.last)
    }

    /// Takes a claim; what it means beside the others'.
    pub(super) fn take(&mut self, said: &Said, lives_ns: u64, memory_ns: u64) -> Option<Contest> {
        let now = said.time;
        for slot in &mut self.list {
            slot.take_if(|one| one.mac != said.mac && now.since(one.last) > memory_ns);
        }
        let other = self.living(said.mac, now, lives_ns).copied();
        let at_once = other
            .filter(|other| now.since(other.last) <= AT_ONCE_NS && other.last_said == (said.is_reply, said.target));
        let is_turn = other.is_some() && self.speaker.is_some_and(|speaker| speaker != said.mac);
        self.speaker = Some(said.mac);
        let own = self.entry(said);
        if now.since(own.last) > lives_ns {
            (own.turns, own.own_turns, own.announced) = (0, 0, 0);
        }
        own.last = now;
        own.last_said = (said.is_reply, said.target);
        own.is_open |= said.way == Way::Open;
        own.unasked += u32::from(said.way == Way::Unasked);
        if let Some(other) = at_once.filter(|_| own.unasked == 0) {
            let is_echo = !said.is_reply;
            own.echoes |= is_echo;
            own.answers_beside |= !is_echo;
            let doubled = (!is_echo && !own.echoes).then(|| self.doubled(said.mac, other.mac));
            if let Some(other) = self.list.iter_mut().flatten().find(|one| one.mac == other.mac) {
                other.echoes |= is_echo;
                other.answers_beside |= !is_echo;
            }
            return doubled;
        }
        own.turns += u32::from(is_turn);
        own.own_turns += u32::from(is_turn && said.way != Way::Asked);
        own.announced += u32::from(is_turn && said.is_announcement);
        let own = *own;
        self.contest(own, other?, said.way)
    }

    fn entry(&mut self, said: &Said) -> &mut Claimant {
        let known = self.list.iter().position(|slot| slot.is_some_and(|one| one.mac == said.mac));
        let at = known.unwrap_or_else(|| {
            // A free place, or that of the station that was silent for longest.
            let last = |slot: &Option<Claimant>| slot.map(|one| one.last);
            (0..MAX_CLAIMANTS).min_by_key(|at| last(&self.list[*at])).unwrap_or_default()
        });
        if known.is_none() {
            self.list[at] = None;
        }
        self.list[at].get_or_insert(Claimant {
            mac: said.mac,
            first: said.time,
            last: said.time,
            last_said: (said.is_reply, said.target),
            is_open: false,
            unasked: 0,
            turns: 0,
            own_turns: 0,
            announced: 0,
            echoes: false,
            answers_beside: false,
        })
    }

    /// `one` speaks after `other`.
    fn doubled(&self, one: Mac, other: Mac) -> Contest {
        let first = |mac| self.of(mac).map(|claimant| claimant.first);
        let (earlier, later) = if first(one) < first(other) { (one, other) } else { (other, one) };
        Contest::Doubled { later, earlier }
    }

    fn contest(&self, own: Claimant, other: Claimant, way: Way) -> Option<Contest> {
        if own.echoes || other.echoes {
            return None;
        }
        let hides = |one: &Claimant| one.unasked > 0 && !one.is_open && !one.answers_beside;
        if way == Way::Unasked && hides(&own) {
            return Some(Contest::Taken { by: own.mac, from: other.mac });
        }
        // Whoever only ever claimed it unasked is the suspect, even if it came first.
        if way != Way::Unasked && hides(&other) {
            return Some(Contest::Taken { by: other.mac, from: own.mac });
        }
        let (earlier, later) = if own.first <= other.first { (own, other) } else { (other, own) };
        let both_go_on = later.turns >= 2 && earlier.turns >= 1;
        let own_turns = if earlier.answers_beside && later.answers_beside { 0 } else { later.own_turns };
        both_go_on.then_some(Contest::Turns {
            later: later.mac,
            earlier: earlier.mac,
            own_turns,
            announced: later.announced,
        })
    }
}

impl Claimant {
    /// Whether it ever spoke for the address as a station speaks for its own.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }
}
