//! What somebody tried, as one flow shows it.

use std::net::IpAddr;

use nta_common::packet::proto;

use crate::detect::{Try, attempt};
use crate::domain::{FlowObservation, Timestamp};
use crate::window::Run;

#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// When its first packet came, and its last.
    began: Timestamp,
    pub(super) at: Timestamp,
    pub(super) proto: u8,
    pub(super) host: IpAddr,
    pub(super) port: u16,
    pub(super) failed: bool,
    /// Whether it sent something else than a refusal.
    pub(super) answered: bool,
    /// Whether the source sent it data, over TCP.
    pub(super) used: bool,
    /// Whether it was refused, over TCP.
    pub(super) refused: bool,
}

impl Target {
    /// A service that was tried.
    pub(super) fn new(seen: &FlowObservation, tried: Try, run: &Run<'_>) -> Self {
        let [(source, _), (target, _)] = attempt::sides(seen);
        let at = seen.flow.last.max(run.start).min(run.end);
        let (protocol, failed) = (seen.flow.proto, tried == Try::Futile);
        Self {
            began: seen.flow.first.min(at),
            at,
            proto: protocol,
            host: target.address,
            port: target.port,
            failed,
            answered: target.sent.packets > u64::from(target.tcp.rst),
            used: protocol == proto::TCP && source.payload_bytes.is_some_and(|bytes| bytes > 0),
            refused: failed && protocol == proto::TCP && target.tcp.rst > 0,
        }
    }

    /// A protocol without ports that was tried.
    pub(super) fn of_protocol(seen: &FlowObservation, run: &Run<'_>) -> Self {
        let at = seen.flow.last.max(run.start).min(run.end);
        let (target, proto) = (&seen.flow.responder, seen.flow.proto);
        let answered = target.sent.packets > 0;
        Self {
            began: seen.flow.first.min(at),
            at,
            proto,
            host: target.address,
            port: 0,
            failed: !answered,
            answered,
            used: false,
            refused: false,
        }
    }
}

/// When the first packet of these came, and the last.
pub(super) fn times<'a>(targets: impl Iterator<Item = &'a Target>) -> Option<[Timestamp; 2]> {
    targets.map(|target| [target.began, target.at]).reduce(|[a, b], [c, d]| [a.min(c), b.max(d)])
}
