//! Connections as Zeek writes them into `conn.log`: `replay --format zeek`, and what a capture is scored from.

use std::io::{self, Write};

use nta_common::packet::proto;

use nta_core::detect::Networks;
use nta_core::domain::{Endpoint, FlowId, FlowRecord, Service, Timestamp, community_id};

/// Columns with their Zeek types, in Zeek's order; the last is that of its policy script `community-id-logging`.
const COLUMNS: [(&str, &str); 23] = [
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "enum"),
    ("service", "string"),
    ("duration", "interval"),
    ("orig_bytes", "count"),
    ("resp_bytes", "count"),
    ("conn_state", "string"),
    ("local_orig", "bool"),
    ("local_resp", "bool"),
    ("missed_bytes", "count"),
    ("history", "string"),
    ("orig_pkts", "count"),
    ("orig_ip_bytes", "count"),
    ("resp_pkts", "count"),
    ("resp_ip_bytes", "count"),
    ("tunnel_parents", "set[string]"),
    ("ip_proto", "count"),
    ("community_id", "string"),
];

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A conn.log that is being written.
#[derive(Debug)]
pub struct ConnLog<W: Write> {
    to: W,
    local: Networks,
    last: Timestamp,
    has_header: bool,
    connections: u64,
}

impl<W: Write> ConnLog<W> {
    /// Begins the log. `local` are one's own networks.
    pub fn new(to: W, local: Networks) -> Self {
        Self { to, local, last: Timestamp::default(), has_header: false, connections: 0 }
    }

    /// Before the first connection: Zeek writes the time of day into it, here it is the capture's own, so that the output is the
    /// same at every run.
    fn header(&mut self, opened: Timestamp) -> io::Result<()> {
        if std::mem::replace(&mut self.has_header, true) {
            return Ok(());
        }
        let names = COLUMNS.map(|(name, _)| name).join("\t");
        let types = COLUMNS.map(|(_, kind)| kind).join("\t");
        writeln!(self.to, "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn")?;
        writeln!(self.to, "#open\t{}", clock(opened))?;
        writeln!(self.to, "#fields\t{names}\n#types\t{types}")
    }

    /// Writes a connection that is over.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn connection(&mut self, flow: &FlowRecord) -> io::Result<()> {
        self.header(flow.first)?;
        self.connections += 1;
        self.last = self.last.max(flow.last);
        let (orig, resp) = (&flow.originator, &flow.responder);
        // Zeek's clock counts whole microseconds.
        let duration = (flow.last.as_nanos() / 1_000).saturating_sub(flow.first.as_nanos() / 1_000) * 1_000;
        // As in Zeek, what lasted no time has no duration and no payload bytes, and a protocol that it does not analyze has 0
        // (`set_conn` in base/protocols/conn/main.zeek).
        let lasted = duration != 0;
        let payload = |side: &Endpoint| optional(lasted.then(|| side.payload_bytes.unwrap_or(0)));
        let (orig_port, resp_port) = if is_named(flow.proto) { (orig.port, resp.port) } else { (0, 0) };
        write!(self.to, "{}\t{}\t", time(flow.first), uid(flow.id))?;
        write!(self.to, "{}\t{orig_port}\t{}\t{resp_port}\t", orig.address, resp.address)?;
        write!(self.to, "{}\t{}\t", transport(flow.proto), optional(flow.service.map(Service::name)))?;
        write!(self.to, "{}\t", optional(lasted.then(|| seconds(duration))))?;
        write!(self.to, "{}\t{}\t{}\t", payload(orig), payload(resp), flow.conn_state.as_str())?;
        let [local_orig, local_resp] = [orig, resp].map(|side| bool(self.local.contains(&side.address)));
        write!(self.to, "{local_orig}\t{local_resp}\t0\t")?;
        write!(self.to, "{}\t", optional(Some(flow.history).filter(|history| !history.as_str().is_empty())))?;
        write!(self.to, "{}\t{}\t", orig.sent.packets, orig.sent.ip_bytes)?;
        write!(self.to, "{}\t{}\t", resp.sent.packets, resp.sent.ip_bytes)?;
        let parents: Vec<String> = flow.nesting.parents().map(uid).collect();
        write!(self.to, "{}\t", optional(Some(parents.join(",")).filter(|parents| !parents.is_empty())))?;
        writeln!(self.to, "{}\t{}", flow.proto, community_id(flow))
    }

    /// Hands out what was written so far.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    /// Ends the log; where it went, and how many connections are in it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn close(mut self) -> io::Result<(W, u64)> {
        self.header(self.last)?;
        writeln!(self.to, "#close\t{}", clock(self.last))?;
        self.to.flush()?;
        Ok((self.to, self.connections))
    }
}

/// As in `2026-11-20-10-21-43`.
fn clock(time: Timestamp) -> String {
    time.to_string().chars().take(19).map(|c| if c.is_ascii_digit() { c } else { '-' }).collect()
}

const fn is_named(number: u8) -> bool {
    matches!(number, proto::TCP | proto::UDP | proto::ICMP | proto::ICMPV6)
}

const fn transport(number: u8) -> &'static str {
    match number {
        proto::TCP => "tcp",
        proto::UDP => "udp",
        proto::ICMP | proto::ICMPV6 => "icmp",
        _ => "unknown_transport",
    }
}

const fn bool(value: bool) -> &'static str {
    if value { "T" } else { "F" }
}

fn time(at: Timestamp) -> String {
    seconds(at.as_nanos())
}

fn seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns / 1_000 % 1_000_000)
}

fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// The flow's identity as Zeek writes one: `C` and the number in base 62.
fn uid(id: FlowId) -> String {
    let mut digits = Vec::new();
    let mut rest = id.0;
    while rest != 0 || digits.is_empty() {
        digits.push(char::from(DIGITS[(rest % 62) as usize]));
        rest /= 62;
    }
    std::iter::once('C').chain(digits.into_iter().rev()).collect()
}
