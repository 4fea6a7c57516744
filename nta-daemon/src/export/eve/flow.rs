//! A flow as an event of the type `flow`.

use serde_json::{Value, json};

use super::{begin, ends, flow_id, number, text};

/// The event of a flow in the API's shape. Suricata writes one when a flow is over; of a flow that goes on `reason` is `unknown`.
pub fn flow(flow: &Value) -> Value {
    let proto = number(flow, "protocol_number");
    // Suricata stamps the event when it writes it, which is when the flow is over.
    let mut event = begin("flow", text(flow, "last_time"));
    if let Some(id) = flow_id(text(flow, "id")) {
        event.insert("flow_id".to_owned(), id);
    }
    if let Some(sensor) = flow["sensor"].as_str() {
        event.insert("host".to_owned(), sensor.into());
    }
    if let Some(vlan) = flow["vlan"].as_u64() {
        event.insert("vlan".to_owned(), json!([vlan]));
    }
    let ports = ["source_port", "destination_port"].map(|name| number(flow, name));
    ends(&mut event, ["source", "destination"].map(|name| text(flow, name)), ports, proto);
    if let Some(service) = flow["service"].as_str() {
        event.insert("app_proto".to_owned(), app_proto(service).into());
    }
    let conn_state = text(flow, "conn_state");
    let record = json!({
        "pkts_toserver": number(flow, "orig_packets"),
        "pkts_toclient": number(flow, "resp_packets"),
        "bytes_toserver": number(flow, "orig_bytes"),
        "bytes_toclient": number(flow, "resp_bytes"),
        "start": super::timestamp(text(flow, "first_time")),
        "end": super::timestamp(text(flow, "last_time")),
        "age": flow["duration_s"].as_f64().unwrap_or_default() as u64,
        "state": state(flow, conn_state),
        "reason": match text(flow, "state") {
            "closed" | "idle" => "timeout",
            "shutdown" => "shutdown",
            "interrupted" => "forced",
            _ => "unknown",
        },
        "alerted": false,
    });
    event.insert("flow".to_owned(), record);
    if let Some(id) = flow["community_id"].as_str() {
        event.insert("community_id".to_owned(), id.into());
    }
    if flow["tcp"].is_object() {
        event.insert("tcp".to_owned(), tcp(flow, conn_state));
    }
    event.into()
}

fn state(flow: &Value, conn_state: &str) -> &'static str {
    let answered = number(flow, "orig_packets") > 0 && number(flow, "resp_packets") > 0;
    match conn_state {
        "SF" | "REJ" | "RSTO" | "RSTR" | "RSTOS0" | "RSTRH" if flow["tcp"].is_object() => "closed",
        _ if answered => "established",
        _ => "new",
    }
}

/// Flags that were seen, and how far the connection came. PSH and URG are not kept.
fn tcp(flow: &Value, conn_state: &str) -> Value {
    let history = text(flow, "history");
    let flags = |side: &str, data: [char; 2]| {
        let counts = &flow["tcp"][side];
        let is = |name: &str| number(counts, name) > 0;
        let mut flags = 0_u8;
        flags |= u8::from(is("fin"));
        flags |= u8::from(is("syn") || is("syn_ack")) << 1;
        flags |= u8::from(is("rst")) << 2;
        flags |= u8::from(is("syn_ack") || history.contains(data)) << 4;
        flags
    };
    let (to_server, to_client) = (flags("orig", ['A', 'D']), flags("resp", ['a', 'd']));
    let all = to_server | to_client;
    let mut tcp = json!({
        "tcp_flags": format!("{all:02x}"),
        "tcp_flags_ts": format!("{to_server:02x}"),
        "tcp_flags_tc": format!("{to_client:02x}"),
    });
    // Suricata names those alone that were there.
    for (name, bit) in [("syn", 1), ("fin", 0), ("rst", 2), ("ack", 4)] {
        if all >> bit & 1 == 1 {
            tcp[name] = true.into();
        }
    }
    let state = match conn_state {
        "S0" => "syn_sent",
        "S1" | "S2" | "S3" => "established",
        "SF" | "REJ" | "RSTO" | "RSTR" | "RSTOS0" | "RSTRH" => "closed",
        _ => "none",
    };
    tcp["state"] = state.into();
    tcp
}

/// Suricata's word for a service that goes by Zeek's here.
fn app_proto(service: &str) -> &str {
    match service {
        "ssl" => "tls",
        "bittorrent" => "bittorrent-dht",
        other => other,
    }
}
