//! What is said of a scan: which ports and hosts were tried, and which answered.

use std::fmt::{Display, Write as _};

use nta_common::packet::proto;

/// Ports or hosts that are named; of more it is said how many.
const MAX_NAMED: usize = 12;

/// Ports in order, neighbours as ranges: `22, 80, 8000-8010 and 3 more`. UDP's and others' with their protocol.
pub(super) fn ports(ports: &[(u8, u16)]) -> String {
    let mut ranges: Vec<(u8, u16, u16)> = Vec::new();
    for (protocol, port) in ports {
        match ranges.last_mut() {
            Some((last, _, to)) if last == protocol && to.checked_add(1) == Some(*port) => *to = *port,
            _ => ranges.push((*protocol, *port, *port)),
        }
    }
    let word = |(protocol, from, to): &(u8, u16, u16)| {
        let mut word = if from == to { from.to_string() } else { format!("{from}-{to}") };
        match *protocol {
            proto::TCP => {}
            proto::UDP => word.push_str("/udp"),
            proto::ICMP | proto::ICMPV6 => "ping".clone_into(&mut word),
            other => {
                let _ = write!(word, "/{other}");
            }
        }
        word
    };
    let many = |(_, from, to): &(u8, u16, u16)| usize::from(to - from) + 1;
    listed(ranges.iter().map(|range| (word(range), many(range))))
}

/// What there is, the first ones by name.
pub(in crate::detect) fn list(all: impl Iterator<Item = impl Display>) -> String {
    listed(all.map(|one| (one, 1)))
}

/// The same of what stands for several each.
fn listed(all: impl Iterator<Item = (impl Display, usize)>) -> String {
    let (mut text, mut more) = (String::new(), 0);
    for (number, (one, many)) in all.enumerate() {
        if number >= MAX_NAMED {
            more += many;
            continue;
        }
        if number > 0 {
            text.push_str(", ");
        }
        let _ = write!(text, "{one}");
    }
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{list, ports};

    #[test]
    fn neighbours_are_ranges_and_the_rest_is_counted() {
        assert_eq!(ports(&[(6, 22), (6, 23), (6, 24), (6, 80), (17, 53)]), "22-24, 80, 53/udp");
        assert_eq!(ports(&[(1, 8)]), "ping");
        // Twelve are named; what is left are ports, not ranges.
        let odd: Vec<(u8, u16)> = (0..12).map(|n| (6, 1 + 2 * n)).chain((100..150).map(|port| (6, port))).collect();
        assert_eq!(ports(&odd), "1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23 and 50 more");
        assert_eq!(list((1..=14).map(|n| n * 10)), "10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120 and 2 more");
    }
}
