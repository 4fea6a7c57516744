//! How often somebody may ask: by token, else by the address of the socket's other end. What a client writes into a header counts for
//! nothing, unless the connection comes from a proxy that is trusted in words.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use ipnet::IpNet;

use crate::api::ApiError;

/// For so many seconds' worth of requests may come at once.
const BURST_S: u32 = 4;
/// Addresses whose requests are counted apart. There are more only while as many ask within some seconds: then all who show no
/// token share one count.
const MOST_PEERS: usize = 10_000;
/// While there are so many, those that are silent are looked for once in so many requests.
const LOOKED_FOR: u64 = 256;

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// Those with a token that holds.
    Token(u64),
    /// Those of an address; of IPv6 those of a network of 64 bits, which one client has.
    Peer(IpAddr),
    /// Those of too many addresses.
    Others,
}

impl Key {
    pub(super) fn of_peer(peer: IpAddr) -> Self {
        match peer.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                Self::Peer(Ipv6Addr::from_bits(network).into())
            }
            address @ IpAddr::V4(_) => Self::Peer(address),
        }
    }
}

type Counts<C> = RateLimiter<Key, HashMapStateStore<Key>, C, StateInformationMiddleware>;

/// The counts of all who ask.
pub(super) struct Limits<C: Clock = DefaultClock> {
    counts: Counts<C>,
    clock: C,
    burst: u32,
    crowded: AtomicU64,
    refused: AtomicU64,
}

impl<C: Clock> std::fmt::Debug for Limits<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits").field("burst", &self.burst).finish_non_exhaustive()
    }
}

/// What is left of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Requests that may come at once now.
    pub(super) requests: u32,
    /// Seconds until there may be one more.
    pub(super) wait_s: u64,
}

impl Limits {
    /// So many requests a second.
    pub(super) fn new(per_s: NonZeroU32) -> Self {
        Self::by(per_s, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limits<C> {
    fn by(per_s: NonZeroU32, clock: C) -> Self {
        let burst = per_s.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_S - 1));
        let quota = Quota::per_second(per_s).allow_burst(burst);
        let counts = RateLimiter::hashmap_with_clock(quota, clock.clone()).with_middleware();
        Self { counts, clock, burst: burst.get(), crowded: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// What is left where it is one too many.
    pub(super) fn count(&self, key: Key) -> Result<Left, Left> {
        let key = if matches!(key, Key::Peer(_)) && self.is_crowded() { Key::Others } else { key };
        match self.counts.check_key(&key) {
            Ok(snapshot) => Ok(Left { requests: snapshot.remaining_burst_capacity(), wait_s: 0 }),
            Err(until) => {
                self.refused.fetch_add(1, Relaxed);
                let wait = until.wait_time_from(self.clock.now());
                Err(Left { requests: 0, wait_s: wait.as_secs() + u64::from(wait.subsec_nanos() > 0) })
            }
        }
    }

    /// Whether there are as many addresses as there may be, once those that are silent are forgotten.
    fn is_crowded(&self) -> bool {
        if self.counts.len() < MOST_PEERS {
            return false;
        }
        if self.crowded.fetch_add(1, Relaxed).is_multiple_of(LOOKED_FOR) {
            self.counts.retain_recent();
        }
        self.counts.len() >= MOST_PEERS
    }

    /// Requests that were one too many.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Says in an answer what is left (draft-ietf-httpapi-ratelimit-headers).
    pub(super) fn say(&self, left: Left, response: &mut Response) {
        let policy = format!("\"requests\";q={};w={BURST_S}", self.burst);
        let now = format!("\"requests\";r={};t={}", left.requests, left.wait_s);
        for (name, value) in [("ratelimit-policy", policy), ("ratelimit", now)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
    }
}

impl Left {
    pub(super) const fn refusal(self) -> ApiError {
        ApiError::TooMany { wait_s: if self.wait_s == 0 { 1 } else { self.wait_s } }
    }
}

/// The address of who asks: the other end of the socket or, where that is a proxy that is trusted, the one that it says, through as many
/// of them as there are.
pub(super) fn client(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.map(|peer| peer.to_canonical())?;
    let forwarded: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
    // The last one was written by the proxy that is next to us.
    for hop in forwarded.iter().flat_map(|value| value.split(',')).rev() {
        if !is_trusted(&client) {
            break;
        }
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
    }
    Some(client)
}

#[cfg(test)]
#[path = "limit_tests.rs"]
mod tests;
