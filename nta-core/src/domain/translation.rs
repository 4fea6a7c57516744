//! The names of a connection whose addresses a gateway translates (RFC 3022).

use std::net::{IpAddr, SocketAddr};

use nta_common::nat::Translated;
use nta_common::packet::proto;

use super::FlowKey;

/// Both ends of a translated connection, in the order of the key under which it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Who they are: the address and port that each end has itself.
    pub ends: [(IpAddr, u16); 2],
    /// How the other side of the gateway knows them, where that differs.
    pub outside: [Option<SocketAddr>; 2],
    /// When that was learned, in ticks of the packet path's clock.
    pub learned: u64,
}

/// What a reading says of the names of a connection's ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Nothing: they are as they were.
    #[default]
    Unsaid,
    /// The connection that was translated is over. Packets that come under its key are of another one, which is not.
    Over,
    /// The gateway translates them.
    Translated(Translation),
}

impl Translation {
    /// Whether both say the same, whenever that was learned.
    pub fn agrees(&self, other: &Self) -> bool {
        (self.ends, self.outside) == (other.ends, other.outside)
    }

    /// Of a connection that is counted under `counted`, and whose answers come under `answers`; `translated` says which ends
    /// are the same.
    pub fn of<K>(counted: &FlowKey, answers: &FlowKey, translated: &Translated<K>) -> Self {
        let originator = translated.originator();
        let responder = 1 - originator;
        let first = counted.endpoints();
        let mut answer = answers.endpoints();
        if translated.is_turned() {
            answer.reverse();
        }
        if matches!(counted.proto(), proto::ICMP | proto::ICMPV6) {
            // The map's key has the echo's identifier there; types stand in for ports.
            (answer[0].1, answer[1].1) = (first[0].1, first[1].1);
        }
        // The first packet came from the originator's own address, answers come from the responder's own.
        let mut ends = first;
        ends[responder] = answer[responder];
        let mut outside = [None; 2];
        let other = |name: (IpAddr, u16), own| (name != own).then(|| SocketAddr::from(name));
        outside[originator] = other(answer[originator], ends[originator]);
        outside[responder] = other(first[responder], ends[responder]);
        Self { ends, outside, learned: translated.learned() }
    }
}

#[cfg(test)]
mod tests {
    use nta_common::FlowKey4;
    use nta_common::nat::{Tuple, translation};

    use super::*;

    fn address(a: [u8; 4]) -> u32 {
        u32::from_be_bytes(a)
    }

    /// Originator and responder, each with its own name and the other one, of a connection with these tuples.
    fn names(first: [([u8; 4], u16); 2], answer: [([u8; 4], u16); 2]) -> [((IpAddr, u16), Option<SocketAddr>); 2] {
        let tuple = |[from, to]: [([u8; 4], u16); 2]| Tuple {
            source: address(from.0),
            destination: address(to.0),
            source_port: from.1,
            destination_port: to.1,
            proto: proto::TCP,
        };
        let (answers, translated) = translation::<FlowKey4>(&tuple(first), &tuple(answer)).expect("TCP is answered");
        let names = Translation::of(&FlowKey::V4(*translated.key()), &FlowKey::V4(answers), &translated);
        let o = translated.originator();
        [(names.ends[o], names.outside[o]), (names.ends[1 - o], names.outside[1 - o])]
    }

    #[test]
    fn each_end_has_its_own_name_and_the_one_that_the_other_side_uses() {
        let name = |(address, port): ([u8; 4], u16)| (IpAddr::from(address), port);
        let outside = |end| Some(SocketAddr::from(name(end)));
        let (inside, server, public) = (([192, 0, 2, 2], 40000), ([198, 51, 100, 2], 443), ([203, 0, 113, 1], 61000));
        // Masquerading: the server sees the gateway.
        let masqueraded = names([inside, server], [server, public]);
        assert_eq!(masqueraded, [(name(inside), outside(public)), (name(server), None)]);
        // A port forward: the client calls the gateway.
        let (client, service, forwarded) =
            (([198, 51, 100, 9], 50000), ([203, 0, 113, 1], 8080), ([192, 0, 2, 80], 80));
        let forward = names([client, service], [forwarded, client]);
        assert_eq!(forward, [(name(client), None), (name(forwarded), outside(service))]);
        // Hairpin: both.
        let hairpin = names([inside, service], [forwarded, public]);
        assert_eq!(hairpin, [(name(inside), outside(public)), (name(forwarded), outside(service))]);
    }
}
