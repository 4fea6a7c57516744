//! DNS over UDP: which names are asked for most, and what the answers say.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use nta_common::Counter;
use serde::{Deserialize, Serialize};

use crate::json::{rcode, rrtype};
use crate::replay::Summary;
use nta_core::domain::DnsMessage;

/// Names that are kept apart. When they are more, the half that is named less often is forgotten: what is asked for most over a
/// capture is among the larger half at each time, unless nobody asked for it until then.
const MOST_KEPT: usize = 16_384;

/// What DNS says in a capture.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ReportDns)]
pub(crate) struct Dns {
    /// Messages that ask, and that answer.
    pub(crate) queries: u64,
    pub(crate) responses: u64,
    /// Messages on DNS's ports that are none.
    pub(crate) malformed: u64,
    /// Messages beyond `events.dns_per_second`, which were not looked at.
    pub(crate) left_out: u64,
    /// Answers by response code. Those that are cut off before their question are not among them.
    pub(crate) codes: BTreeMap<String, u64>,
    /// Questions by type of record.
    pub(crate) types: BTreeMap<String, u64>,
    /// Names that were asked for most often.
    pub(crate) names: Vec<Name>,
    /// Names that were seen; `names_estimated` says that there were more than are kept apart.
    pub(crate) names_seen: u64,
    pub(crate) names_estimated: bool,
}

/// A name that was asked for.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ReportDnsName)]
pub(crate) struct Name {
    /// In lower case; empty for the root.
    pub(crate) name: String,
    pub(crate) queries: u64,
    pub(crate) responses: u64,
    /// Answers by response code.
    pub(crate) codes: BTreeMap<String, u64>,
}

/// The sums while a capture is read.
#[derive(Debug)]
pub(super) struct Names {
    kept: HashMap<Box<str>, Asked, RandomState>,
    queries: u64,
    responses: u64,
    malformed: u64,
    codes: Codes,
    types: BTreeMap<u16, u64>,
    is_estimate: bool,
    most: usize,
}

type Codes = BTreeMap<u8, u64>;

#[derive(Debug, Default)]
struct Asked {
    queries: u64,
    responses: u64,
    codes: Codes,
}

impl Asked {
    const fn messages(&self) -> u64 {
        self.queries + self.responses
    }
}

impl Default for Names {
    fn default() -> Self {
        Self {
            kept: HashMap::default(),
            queries: 0,
            responses: 0,
            malformed: 0,
            codes: Codes::new(),
            types: BTreeMap::new(),
            is_estimate: false,
            most: MOST_KEPT,
        }
    }
}

impl Names {
    /// Counts a message.
    pub(super) fn message(&mut self, message: &DnsMessage) {
        let &DnsMessage { is_response, is_malformed, rcode, .. } = message;
        if is_malformed {
            self.malformed += 1;
            return;
        }
        if is_response {
            self.responses += 1;
            let is_known = !(message.is_cut && message.questions.is_empty());
            if is_known {
                *self.codes.entry(rcode).or_default() += 1;
            }
        } else {
            self.queries += 1;
        }
        for question in &message.questions {
            let asked = self.name(&question.name);
            if is_response {
                asked.responses += 1;
                *asked.codes.entry(rcode).or_default() += 1;
            } else {
                asked.queries += 1;
                *self.types.entry(question.qtype).or_default() += 1;
            }
        }
    }

    /// What is kept of a name. The case of letters tells none apart (RFC 4343), and some resolvers choose it at random.
    fn name(&mut self, name: &str) -> &mut Asked {
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        let is_new = !self.kept.contains_key(&*name);
        if is_new && self.kept.len() >= self.most {
            self.forget();
        }
        self.kept.entry(name.into()).or_default()
    }

    #[cold]
    fn forget(&mut self) {
        let mut all: Vec<(Box<str>, Asked)> = self.kept.drain().collect();
        all.sort_unstable_by(|(a, one), (b, other)| (other.messages(), a).cmp(&(one.messages(), b)));
        all.truncate(self.most / 2);
        self.kept.extend(all);
        self.is_estimate = true;
    }

    /// What is said of a capture; nothing where nobody spoke DNS.
    pub(super) fn report(&self, summary: &Summary, most: usize) -> Option<Dns> {
        let total = summary.ledger.total();
        let left_out = total.get(Counter::EventDnsLimited) + total.get(Counter::EventDnsNoRoom);
        if self.queries + self.responses + self.malformed + left_out == 0 {
            return None;
        }
        let mut first: Vec<(&str, &Asked)> = self.kept.iter().map(|(name, asked)| (&**name, asked)).collect();
        first.sort_unstable_by_key(|(name, asked)| (Reverse((asked.queries, asked.responses)), *name));
        first.truncate(most);
        let name = |(name, asked): (&str, &Asked)| Name {
            name: name.to_owned(),
            queries: asked.queries,
            responses: asked.responses,
            codes: named(&asked.codes),
        };
        Some(Dns {
            queries: self.queries,
            responses: self.responses,
            malformed: self.malformed,
            left_out,
            codes: named(&self.codes),
            types: self.types.iter().map(|(number, many)| (rrtype(*number), *many)).collect(),
            names: first.into_iter().map(name).collect(),
            names_seen: self.kept.len() as u64,
            names_estimated: self.is_estimate,
        })
    }
}

fn named(codes: &Codes) -> BTreeMap<String, u64> {
    codes.iter().map(|(code, many)| (rcode(*code), *many)).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use nta_core::domain::{Question, Timestamp};

    use super::*;

    fn message(name: &str, answer: Option<u8>) -> DnsMessage {
        let end = |last, port| (IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), port);
        DnsMessage {
            time: Timestamp::from_nanos(1),
            vlan: 0,
            client: end(1, 4000),
            server: end(2, 53),
            message_bytes: 40,
            id: 1,
            is_response: answer.is_some(),
            opcode: 0,
            rcode: answer.unwrap_or(0),
            questions: vec![Question { name: name.to_owned(), qtype: 28 }],
            answers: 0,
            answer_sizes: Vec::new(),
            is_cut: false,
            is_malformed: false,
        }
    }

    fn codes(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, many)| ((*name).to_owned(), *many)).collect()
    }

    #[test]
    fn a_name_is_the_same_in_any_case_and_has_its_own_codes() {
        let mut names = Names::default();
        for (name, answer) in [("a.Example", None), ("A.example", Some(3)), ("b.example", None), ("a.example", Some(2))]
        {
            names.message(&message(name, answer));
        }
        names.message(&DnsMessage { is_malformed: true, ..message("c", None) });
        names.message(&DnsMessage { is_cut: true, questions: Vec::new(), ..message("c", Some(0)) });
        let dns = names.report(&Summary::default(), 1).expect("DNS");
        assert_eq!((dns.queries, dns.responses, dns.malformed, dns.names_seen), (2, 3, 1, 2));
        assert_eq!((dns.codes, dns.types), (codes(&[("NXDOMAIN", 1), ("SERVFAIL", 1)]), codes(&[("AAAA", 2)])));
        let [first] = dns.names.try_into().expect("one name");
        let Name { name, queries, responses, codes: said } = first;
        assert_eq!((&*name, queries, responses), ("a.example", 1, 2));
        assert_eq!(said, codes(&[("NXDOMAIN", 1), ("SERVFAIL", 1)]));
        assert!(Names::default().report(&Summary::default(), 1).is_none());
    }

    #[test]
    fn what_is_asked_for_most_stays_whatever_else_is() {
        let mut names = Names { most: 8, ..Names::default() };
        for round in 0..100 {
            names.message(&message("often.example", None));
            names.message(&message("often.example", Some(0)));
            names.message(&message(&format!("{round}.example"), None));
        }
        assert!(names.kept.len() <= 8);
        let dns = names.report(&Summary::default(), 1).expect("DNS");
        assert!(dns.names_estimated);
        assert_eq!((&*dns.names[0].name, dns.names[0].queries, dns.queries), ("often.example", 100, 200));
    }
}
