//! The trace of requests that are refused (401, 403): who, from where, by which route and why; never a token. `nta_http_requests_total`
//! counts all of them. The log has a few a minute, and how many more there were; the audit log has those of a token that is known, each
//! token and route once an hour, so that no client can push changes out of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;

use super::Caller;
use nta_core::domain::Timestamp;

/// Lines of a minute.
const MOST_LINES: u32 = 10;
const MINUTE_NS: u64 = 60_000_000_000;
/// For so long one token's refusals by one route are one row.
const HOUR_NS: u64 = 60 * MINUTE_NS;
/// Tokens and routes that are remembered. While there are as many, further ones are not audited.
const MOST_KNOWN: usize = 10_000;

/// What was refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused<'a> {
    pub(super) method: &'a str,
    /// The path as the router has it.
    pub(super) route: &'a str,
    pub(super) status: StatusCode,
    pub(super) from: Option<IpAddr>,
    /// Whose token it was, if it is known.
    pub(super) caller: Option<&'a Caller>,
}

/// What is remembered of refusals.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    minute: Timestamp,
    lines: u32,
    unsaid: u64,
    audited: HashMap<(u64, String), Timestamp>,
}

/// What is to be done about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traced {
    /// Whether a line is written, and how many were not since the last one.
    pub(super) line: Option<u64>,
    /// Whether a row is.
    pub(super) is_audited: bool,
}

impl Refusals {
    /// Notes one, and logs it unless there were too many.
    pub(super) fn note(&self, refused: &Refused<'_>, at: Timestamp) -> Traced {
        let traced = self.trace(refused, at);
        if let Some(unsaid) = traced.line {
            let Refused { method, route, status, from, caller } = refused;
            let from = from.map(|from| from.to_string());
            let (who, status) = (caller.map(|caller| caller.name.as_str()), status.as_u16());
            tracing::warn!(who, from, method, route, status, unsaid, "api: a request was refused");
        }
        traced
    }

    fn trace(&self, refused: &Refused<'_>, at: Timestamp) -> Traced {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if at < known.minute || at.since(known.minute) >= MINUTE_NS {
            (known.minute, known.lines) = (at, 0);
        }
        known.lines = known.lines.saturating_add(1);
        let line = if known.lines <= MOST_LINES {
            Some(std::mem::take(&mut known.unsaid))
        } else {
            known.unsaid += 1;
            None
        };
        let token = refused.caller.and_then(|caller| caller.token).filter(|_| refused.status == StatusCode::FORBIDDEN);
        let is_audited = token.is_some_and(|token| {
            let key = (token, format!("{} {}", refused.method, refused.route));
            let is_old = |then: &Timestamp| at < *then || at.since(*then) >= HOUR_NS;
            if known.audited.get(&key).is_some_and(|then| !is_old(then)) {
                return false;
            }
            if known.audited.len() >= MOST_KNOWN {
                known.audited.retain(|_, then| !is_old(then));
            }
            let has_room = known.audited.len() < MOST_KNOWN;
            if has_room {
                known.audited.insert(key, at);
            }
            has_room
        });
        Traced { line, is_audited }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::access::Role;

    fn caller(token: u64) -> Caller {
        Caller { token: Some(token), role: Role::Viewer, ..Caller::anonymous(None) }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn refused<'a>(route: &'a str, caller: Option<&'a Caller>) -> Refused<'a> {
        let status = if caller.is_some() { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
        Refused { method: "GET", route, status, from: None, caller }
    }

    #[test]
    fn a_minute_has_a_few_lines_and_the_next_one_says_how_many_there_were_more() {
        let refusals = Refusals::default();
        let lines: Vec<_> = (0..25).map(|_| refusals.trace(&refused("/api/alerts", None), at(100)).line).collect();
        assert_eq!(lines[..10], [Some(0); 10]);
        assert_eq!(lines[10..], [None; 15]);
        assert_eq!(refusals.trace(&refused("/api/alerts", None), at(160)).line, Some(15));
    }

    #[test]
    fn a_token_and_a_route_are_audited_once_an_hour_and_who_is_not_known_never() {
        let refusals = Refusals::default();
        let (one, other) = (caller(1), caller(2));
        let is = |route, caller, seconds| refusals.trace(&refused(route, caller), at(seconds)).is_audited;
        assert!(!is("/api/audit", None, 1));
        assert!(is("/api/audit", Some(&one), 1) && !is("/api/audit", Some(&one), 3000));
        assert!(is("/api/train", Some(&one), 2) && is("/api/audit", Some(&other), 2));
        assert!(is("/api/audit", Some(&one), 3601));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let refusals = Refusals::default();
        for token in 0..2 * MOST_KNOWN as u64 {
            refusals.trace(&refused("/api/audit", Some(&caller(token))), at(1));
        }
        assert_eq!(refusals.0.lock().expect("no panic").audited.len(), MOST_KNOWN);
        assert!(refusals.trace(&refused("/api/audit", Some(&caller(u64::MAX))), at(4000)).is_audited, "those are old");
        assert_eq!(refusals.0.lock().expect("no panic").audited.len(), 1);
    }
}
