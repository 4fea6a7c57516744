//! Sessions of browsers: a token is shown once, and a cookie stands for it until it is revoked or twelve hours are over. They are kept in
//! memory: a restart ends them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use axum::http::header::COOKIE;

use super::Secret;
use nta_core::domain::Timestamp;

/// Name of the cookie.
pub(in crate::api) const NAME: &str = "nta_session";
/// How long a session lasts.
pub(in crate::api) const LASTS_S: u64 = 12 * 3600;
/// Sessions at a time; the oldest makes room.
const MOST: usize = 1000;
/// Sessions of one token at a time; its oldest makes room.
const MOST_OF_ONE: usize = 20;

/// SHA-256 of what the cookie holds.
pub(in crate::api) type SessionKey = [u8; 32];

#[derive(Clone, Copy, Debug)]
struct Session {
    token: u64,
    begun: Timestamp,
    /// Which of those that began at the same time was first.
    number: u64,
}

#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Mutex<(HashMap<SessionKey, Session>, u64)>,
}

impl Sessions {
    /// Opens one for the owner of a token.
    pub(super) fn open(&self, token: u64, at: Timestamp) -> Secret {
        let secret = Secret::make();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (sessions, next) = &mut *open;
        sessions.retain(|_, session| lasts(session, at));
        make_room(sessions, MOST_OF_ONE, |session| session.token == token);
        make_room(sessions, MOST, |_| true);
        *next += 1;
        sessions.insert(secret.hash(), Session { token, begun: at, number: *next });
        secret
    }

    /// The token that a session stands for.
    pub(super) fn token(&self, key: &SessionKey, at: Timestamp) -> Option<u64> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.0.get(key).filter(|session| lasts(session, at)).map(|session| session.token)
    }

    /// Ends one.
    pub(super) fn close(&self, key: &SessionKey) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).0.remove(key);
    }
}

fn lasts(session: &Session, at: Timestamp) -> bool {
    session.begun <= at && at.since(session.begun) < LASTS_S * 1_000_000_000
}

/// Ends the oldest of these until there is room for one more.
fn make_room(sessions: &mut HashMap<SessionKey, Session>, most: usize, of: impl Fn(&Session) -> bool) {
    while sessions.values().filter(|session| of(session)).count() >= most {
        let oldest = sessions.iter().filter(|(_, session)| of(session)).min_by_key(|(_, session)| session.number);
        let Some(key) = oldest.map(|(key, _)| *key) else { return };
        sessions.remove(&key);
    }
}

/// The session that a request shows.
pub(super) fn shown(headers: &HeaderMap) -> Option<SessionKey> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == NAME)?;
    Some(Secret::hash_of(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_NS: u64 = 3_600_000_000_000;

    #[test]
    fn a_session_lasts_twelve_hours_and_there_are_never_too_many() {
        let (sessions, at) = (Sessions::default(), Timestamp::from_nanos);
        let first = sessions.open(1, at(HOUR_NS)).hash();
        assert_eq!(sessions.token(&first, at(13 * HOUR_NS - 1)), Some(1));
        assert_eq!(sessions.token(&first, at(13 * HOUR_NS)), None);
        let all: Vec<_> = (0..MOST_OF_ONE).map(|_| sessions.open(1, at(2 * HOUR_NS)).hash()).collect();
        assert_eq!(sessions.token(&first, at(2 * HOUR_NS)), None, "the oldest of the token made room");
        assert!(all.iter().all(|key| sessions.token(key, at(2 * HOUR_NS)) == Some(1)));
        for token in 2..2000 {
            sessions.open(token, at(3 * HOUR_NS));
        }
        assert_eq!(sessions.open.lock().expect("no panic").0.len(), MOST);
        assert_eq!(sessions.token(&all[0], at(3 * HOUR_NS)), None);
    }
}
