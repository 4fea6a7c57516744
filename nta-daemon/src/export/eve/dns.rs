//! A DNS message as events of the type `dns`, version 2: one for each question of a query, one for an answer.

use serde_json::{Value, json};

use super::{begin, ends};
use crate::json::DnsJson;

/// The events of a message. What is malformed is none to Suricata either.
pub fn dns(message: &DnsJson) -> Vec<Value> {
    if message.malformed {
        return Vec::new();
    }
    let client = (message.client.as_str(), u64::from(message.client_port));
    let server = (message.server.as_str(), u64::from(message.server_port));
    let (from, to) = if message.response { (server, client) } else { (client, server) };
    let event = |dns: Value| {
        let mut event = begin("dns", &message.time);
        if message.vlan != 0 {
            event.insert("vlan".to_owned(), json!([message.vlan]));
        }
        ends(&mut event, [from.0, to.0], [from.1, to.1], 17);
        event.insert("dns".to_owned(), dns);
        event.into()
    };
    let mut asked = message.questions.iter().map(|question| (question.name.as_str(), rrtype(question.qtype)));
    if message.response {
        let (rrname, rrtype) = asked.next().unwrap_or_default();
        return vec![event(json!({
            "version": 2,
            "type": "answer",
            "id": message.id,
            "qr": true,
            "opcode": message.opcode,
            "rrname": rrname,
            "rrtype": rrtype,
            "rcode": rcode(message.rcode),
        }))];
    }
    let query = |(place, (rrname, rrtype)): (usize, (&str, String))| {
        event(json!({
            "version": 2,
            "type": "query",
            "id": message.id,
            "rrname": rrname,
            "rrtype": rrtype,
            "tx_id": place,
            "opcode": message.opcode,
        }))
    };
    asked.enumerate().map(query).collect()
}

/// The name of a type of records; a number that has none here is written as Suricata writes those it does not know.
fn rrtype(number: u16) -> String {
    match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        12 => "PTR",
        13 => "HINFO",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        39 => "DNAME",
        41 => "OPT",
        43 => "DS",
        44 => "SSHFP",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        50 => "NSEC3",
        52 => "TLSA",
        64 => "SVCB",
        65 => "HTTPS",
        252 => "AXFR",
        255 => "ANY",
        257 => "CAA",
        other => return other.to_string(),
    }
    .to_owned()
}

/// The name of a response code.
fn rcode(code: u8) -> String {
    match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        other => return other.to_string(),
    }
    .to_owned()
}
