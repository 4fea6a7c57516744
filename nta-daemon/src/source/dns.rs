//! DNS messages, by the crate `domain` of NLnet Labs. It reads record by record, so that of a message that was cut off
//! what is there is understood; other parsers refuse such a message as a whole.

use std::fmt::Write as _;
use std::net::IpAddr;

use dns::base::Message;
use nta_common::EventHead;

use nta_core::domain::{DnsMessage, Question, Timestamp};

/// Questions of a message that are reported. One is usual; multicast DNS asks several at once.
const MAX_QUESTIONS: usize = 16;
const PORTS: [u16; 2] = [53, 5353];

/// The message of these bytes.
pub(super) fn message(time: Timestamp, head: &EventHead, src: IpAddr, dst: IpAddr, data: &[u8]) -> DnsMessage {
    let mut message = DnsMessage {
        time,
        vlan: head.vlan,
        client: (src, head.src_port),
        server: (dst, head.dst_port),
        message_bytes: head.message_len,
        id: 0,
        is_response: PORTS.contains(&head.src_port) && !PORTS.contains(&head.dst_port),
        opcode: 0,
        rcode: 0,
        questions: Vec::new(),
        answers: 0,
        answer_sizes: Vec::new(),
        is_cut: (data.len() as u32) < head.message_len,
        is_malformed: false,
    };
    let whole = read(&mut message, data).is_some();
    message.is_malformed = !whole && !message.is_cut;
    if message.is_response {
        std::mem::swap(&mut message.client, &mut message.server);
    }
    message
}

/// The message of these bytes, of which `len` were sent, for `tests/fuzz`.
#[cfg(fuzzing)]
pub fn fuzzed(data: &[u8], len: u32, ports: [u16; 2]) -> DnsMessage {
    let head = EventHead {
        time_ns: 1,
        src: [0; 2],
        dst: [0; 2],
        kind: 0,
        wire_len: len,
        data_len: data.len() as u32,
        message_len: len,
        src_port: ports[0],
        dst_port: ports[1],
        vlan: 0,
        family: 4,
    };
    let address = IpAddr::from([192, 0, 2, 1]);
    message(Timestamp::from_nanos(1), &head, address, address, data)
}

/// Reads as far as it goes; `None` when that is not the end of the answers.
fn read(message: &mut DnsMessage, data: &[u8]) -> Option<()> {
    let parsed = Message::from_octets(data).ok()?;
    let (header, counts) = (parsed.header(), parsed.header_counts());
    message.id = header.id();
    message.is_response = header.qr();
    message.opcode = header.opcode().to_int();
    message.rcode = header.rcode().to_int();
    message.answers = counts.ancount();
    let mut questions = parsed.question();
    for question in &mut questions {
        let question = question.ok()?;
        if message.questions.len() < MAX_QUESTIONS {
            let name = name(question.qname());
            message.questions.push(Question { name, qtype: question.qtype().to_int() });
        }
    }
    for answer in questions.answer().ok()? {
        message.answer_sizes.push(answer.ok()?.rdlen());
    }
    Some(())
}

/// The name in printable ASCII, whole: a tunnel's says whose it is at its end. The crate escapes all else, so that the 255 bytes that a
/// name has at most (RFC 1035, 3.1) are at most 1,012 characters.
fn name(name: &impl std::fmt::Display) -> String {
    let mut text = String::new();
    let _cannot_fail = write!(text, "{name}");
    text
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const CLIENT: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 4000);
    const SERVER: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 53);

    /// A message from client to server, or back if its flags say that it is an answer; `len` as UDP's header says.
    fn parsed(data: &[u8], len: usize) -> DnsMessage {
        let is_response = data.get(2).is_some_and(|flags| flags & 0x80 != 0);
        let (from, to) = if is_response { (SERVER, CLIENT) } else { (CLIENT, SERVER) };
        let head =
            EventHead { message_len: len as u32, src_port: from.1, dst_port: to.1, vlan: 3, ..EventHead::default() };
        message(Timestamp::from_nanos(9), &head, from.0, to.0, data)
    }

    fn header(flags: u16, counts: [u16; 2]) -> Vec<u8> {
        [0x1234, flags, counts[0], counts[1], 0, 0].map(u16::to_be_bytes).concat()
    }

    /// The question for a name of these labels, type A.
    fn question(labels: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for label in labels {
            out.push(label.len() as u8);
            out.extend(*label);
        }
        out.extend([0, 0, 1, 0, 1]);
        out
    }

    #[test]
    fn a_query_and_its_answer_name_the_same_client_and_server() {
        let asked = question(&[b"www", b"example", b"org"]);
        let query = [header(0x0100, [1, 0]), asked.clone()].concat();
        let query = parsed(&query, query.len());
        assert_eq!((query.client, query.server, query.vlan, query.id), (CLIENT, SERVER, 3, 0x1234));
        assert_eq!(query.questions, [Question { name: "www.example.org".to_owned(), qtype: 1 }]);
        assert!(!query.is_response && !query.is_malformed && !query.is_cut);

        let record = |data: &[u8]| [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, data.len() as u8], data].concat();
        let answer = [header(0x8183, [1, 2]), asked, record(&[1, 2, 3, 4]), record(&[7; 9])].concat();
        let whole = parsed(&answer, answer.len());
        assert_eq!((whole.client, whole.server), (CLIENT, SERVER));
        assert_eq!((whole.rcode, whole.answers, whole.answer_bytes()), (3, 2, 13));
        assert!(whole.is_response && !whole.is_malformed);

        let cut = parsed(&answer[..answer.len() - 1], answer.len());
        assert_eq!((cut.answer_sizes.as_slice(), cut.is_cut, cut.is_malformed), (&[4][..], true, false));
        let short = parsed(&answer[..answer.len() - 1], answer.len() - 1);
        assert!(short.is_malformed && !short.is_cut);
    }

    #[test]
    fn names_are_escaped_and_whole() {
        let odd = [header(0, [1, 0]), question(&[b"a.b\n\xff c\"", b"x"])].concat();
        let name = &parsed(&odd, odd.len()).questions[0].name;
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{name}");
        assert!(name.starts_with("a\\.b\\010\\255"), "{name}");
        let long = [header(0, [1, 0]), question(&[&[1; 63], &[1; 63], &[1; 63], b"example", b"org"])].concat();
        let name = &parsed(&long, long.len()).questions[0].name;
        assert!(name.len() == 3 * (4 * 63 + 1) + 11 && name.ends_with("\\001.example.org"), "{name}");
    }

    #[test]
    fn no_bytes_are_an_error() {
        let loops = [header(0, [1, 0]), vec![0xc0, 12, 0, 1, 0, 1]].concat();
        for bytes in [&[][..], &[1, 2, 3], &[0xff; 12], &[0xff; 300], &loops] {
            assert!(parsed(bytes, bytes.len()).is_malformed, "{bytes:?}");
        }
        let many = [header(0, [400, 0]), question(&[b"a"]).repeat(400)].concat();
        let many = parsed(&many, many.len());
        assert_eq!((many.questions.len(), many.is_malformed), (MAX_QUESTIONS, false));
    }
}
