//! Counts of requests under a clock that the test sets.

use std::time::Duration;

use governor::clock::FakeRelativeClock;

use super::*;

fn limits(per_s: u32) -> (Limits<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (Limits::by(NonZeroU32::new(per_s).expect("not 0"), clock.clone()), clock)
}

fn peer(number: u32) -> Key {
    Key::of_peer(IpAddr::V4(number.into()))
}

#[test]
fn who_asks_too_often_waits_and_nobody_else() {
    let (limits, clock) = limits(5);
    for left in (0..20).rev() {
        assert_eq!(limits.count(peer(1)), Ok(Left { requests: left, wait_s: 0 }));
    }
    assert_eq!(limits.count(peer(1)), Err(Left { requests: 0, wait_s: 1 }));
    assert!(limits.count(peer(2)).is_ok() && limits.count(Key::Token(1)).is_ok());
    clock.advance(Duration::from_millis(200));
    assert!(limits.count(peer(1)).is_ok() && limits.count(peer(1)).is_err(), "five a second");
    assert_eq!(limits.refused(), 2);
}

#[test]
fn the_addresses_of_one_ipv6_network_are_one_client() {
    let key = |text: &str| Key::of_peer(text.parse().expect("an address"));
    assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1:2:3"));
    assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
}

#[test]
fn too_many_addresses_share_one_count_until_they_are_silent_and_tokens_have_their_own() {
    let (limits, clock) = limits(1);
    let most = u32::try_from(MOST_PEERS).expect("fits");
    for number in 0..3 * most {
        let _counted = limits.count(peer(number));
    }
    assert!(limits.counts.len() <= MOST_PEERS + 1, "{}", limits.counts.len());
    assert!(limits.count(peer(9 * most)).is_err(), "they share a count, which is used up");
    assert!(limits.count(Key::Token(7)).is_ok());
    clock.advance(Duration::from_secs(60));
    for number in 0..u32::try_from(LOOKED_FOR).expect("fits") {
        let _counted = limits.count(peer(number));
    }
    assert!(limits.counts.len() < 1000, "those that are silent are forgotten: {}", limits.counts.len());
}

#[test]
fn only_a_proxy_that_is_trusted_says_for_whom_it_asks() {
    let of = |peer: &str, forwarded: &[&str], trusted: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_str(value).expect("a value"));
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().expect("a network")).collect();
        client(Some(peer.parse().expect("an address")), &headers, &trusted).map(|address| address.to_string())
    };
    let is = |text: &str| Some(text.to_owned());
    assert_eq!(of("198.51.100.1", &["192.0.2.1"], &[]), is("198.51.100.1"));
    assert_eq!(of("198.51.100.1", &["192.0.2.1"], &["10.0.0.0/8"]), is("198.51.100.1"), "forged by a client");
    let proxies = ["10.0.0.0/8"];
    assert_eq!(of("10.0.0.1", &["192.0.2.1"], &proxies), is("192.0.2.1"));
    assert_eq!(
        of("10.0.0.1", &["203.0.113.9, 192.0.2.1, 10.0.0.2"], &proxies),
        is("192.0.2.1"),
        "what the client wrote is left of it"
    );
    assert_eq!(of("10.0.0.1", &["203.0.113.9", "192.0.2.1"], &proxies), is("192.0.2.1"));
    assert_eq!(of("10.0.0.1", &["nonsense"], &proxies), is("10.0.0.1"));
    assert_eq!(of("10.0.0.1", &[], &proxies), is("10.0.0.1"));
}
