//! What Suricata's schema of EVE JSON (`etc/schema.json` of version 7) says of the fields that nta writes.

use serde_json::Value;

/// Fields by their path, and their types. Behind `stats` and `alert.metadata` there are more, all of one type.
const FIELDS: &[(&str, &str)] = &[
    ("timestamp", "time"),
    ("event_type", "string"),
    ("host", "string"),
    ("flow_id", "integer"),
    ("community_id", "string"),
    ("vlan", "numbers"),
    ("src_ip", "string"),
    ("src_port", "integer"),
    ("dest_ip", "string"),
    ("dest_port", "integer"),
    ("ip_v", "integer"),
    ("proto", "string"),
    ("icmp_type", "integer"),
    ("icmp_code", "integer"),
    ("app_proto", "string"),
    ("alert.action", "string"),
    ("alert.gid", "integer"),
    ("alert.signature_id", "integer"),
    ("alert.rev", "integer"),
    ("alert.signature", "string"),
    ("alert.category", "string"),
    ("alert.severity", "integer"),
    ("alert.metadata.*", "strings"),
    ("flow.pkts_toserver", "integer"),
    ("flow.pkts_toclient", "integer"),
    ("flow.bytes_toserver", "integer"),
    ("flow.bytes_toclient", "integer"),
    ("flow.start", "time"),
    ("flow.end", "time"),
    ("flow.age", "integer"),
    ("flow.state", "string"),
    ("flow.reason", "string"),
    ("flow.alerted", "boolean"),
    ("tcp.tcp_flags", "string"),
    ("tcp.tcp_flags_ts", "string"),
    ("tcp.tcp_flags_tc", "string"),
    ("tcp.syn", "boolean"),
    ("tcp.fin", "boolean"),
    ("tcp.rst", "boolean"),
    ("tcp.ack", "boolean"),
    ("tcp.state", "string"),
    ("dns.version", "integer"),
    ("dns.type", "string"),
    ("dns.id", "integer"),
    ("dns.qr", "boolean"),
    ("dns.tx_id", "integer"),
    ("dns.opcode", "integer"),
    ("dns.rrname", "string"),
    ("dns.rrtype", "string"),
    ("dns.rcode", "string"),
    ("stats.uptime", "integer"),
    ("stats.capture.kernel_packets", "integer"),
    ("stats.decoder.*", "integer"),
    ("stats.flow.total", "integer"),
    ("stats.flow.active", "integer"),
    ("stats.tcp.*", "integer"),
];

/// Types of events, and what each has.
const REQUIRED: &[(&str, &[&str])] = &[
    ("alert", &["alert"]),
    ("flow", &["flow_id", "src_ip", "dest_ip", "proto", "flow"]),
    ("dns", &["src_ip", "src_port", "dest_ip", "dest_port", "proto", "dns"]),
    ("stats", &["stats"]),
];

/// What of an event Suricata would not write, each with its path; nothing where it is one of Suricata's.
pub fn strange(event: &Value) -> Vec<String> {
    let mut strange = Vec::new();
    leaves("", event, &mut |path, value| {
        let kind = FIELDS
            .iter()
            .find(|(known, _)| *known == path || known.strip_suffix('*').is_some_and(|of| path.starts_with(of)));
        if !kind.is_some_and(|(_, kind)| is(kind, value)) {
            strange.push(format!("{path}: {value}"));
        }
    });
    let kind = event["event_type"].as_str().unwrap_or_default();
    match REQUIRED.iter().find(|(known, _)| *known == kind) {
        None => strange.push(format!("event_type: {kind}")),
        Some((_, fields)) => strange.extend(
            ["timestamp"]
                .iter()
                .chain(*fields)
                .filter(|field| event.get(field).is_none())
                .map(|field| format!("no {field}")),
        ),
    }
    strange
}

fn leaves(path: &str, value: &Value, found: &mut impl FnMut(&str, &Value)) {
    let Some(fields) = value.as_object() else { return found(path, value) };
    for (name, value) in fields {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        leaves(&path, value, found);
    }
}

fn is(kind: &str, value: &Value) -> bool {
    let all = |is: fn(&Value) -> bool| value.as_array().is_some_and(|items| items.iter().all(is));
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "boolean" => value.is_boolean(),
        "numbers" => all(Value::is_number),
        "strings" => all(Value::is_string),
        // ^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d+[+\-]\d+$
        _ => value.as_str().is_some_and(|time| {
            let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            shape == "0000-00-00T00:00:00.000000+0000"
        }),
    }
}
