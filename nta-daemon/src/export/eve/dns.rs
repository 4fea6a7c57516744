//! A DNS message as events of the type `dns`, version 2: one for each question of a query, one for an answer.

use serde_json::{Value, json};

use super::{begin, ends};
use crate::json::{DnsJson, rcode, rrtype};

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
