//! Each way to carry data is reported; names of the same look that everybody asks for are not.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::detect::fixture;
use crate::domain::{DnsMessage, Question, Timestamp};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 53));
const A: u16 = 1;
const TXT: u16 = 16;

fn message(time_s: f64, name: &str, qtype: u16) -> DnsMessage {
    DnsMessage {
        time: Timestamp::from_nanos(((1000.0 + time_s) * 1e9) as u64),
        vlan: 0,
        client: (CLIENT, 40_000),
        server: (SERVER, 53),
        message_bytes: 60,
        id: 1,
        is_response: false,
        opcode: 0,
        rcode: 0,
        questions: vec![Question { name: name.to_owned(), qtype }],
        answers: 0,
        answer_sizes: Vec::new(),
        is_cut: false,
        is_malformed: false,
    }
}

/// Hexadecimal digits that look random, always the same.
fn digits(seed: u32, length: usize) -> String {
    let mut state = u64::from(seed) + 1;
    let mut digit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from_digit((state >> 60) as u32, 16).expect("four bits")
    };
    (0..length).map(|_| digit()).collect()
}

/// The rules by which messages in one window each are reported.
fn rules(messages: Vec<DnsMessage>) -> Vec<String> {
    let windows = messages.into_iter().map(|message| fixture::window(message.time, &[PacketEvent::Dns(message)]));
    let findings = fixture::inspect(&mut DnsTunnel::new(DnsTunnelConfig::default()), windows);
    assert!(findings.iter().all(|f| (f.source, f.destination) == (Party::Host(CLIENT), Party::Host(SERVER))));
    findings.iter().map(|f| f.facts[0].1.clone()).collect()
}

fn queries(count: u32, every_s: f64, qtype: u16, name: impl Fn(u32) -> String) -> Vec<DnsMessage> {
    (0..count).map(|i| message(f64::from(i) * every_s, &name(i), qtype)).collect()
}

#[test]
fn long_random_names_are_upload_from_the_twentieth_on() {
    let tunnel = |count| rules(queries(count, 0.5, A, |i| format!("{}.tunnel.example", digits(i, 40))));
    assert_eq!(tunnel(19), Vec::<String>::new());
    assert_eq!(tunnel(20), ["upload"]);
}

#[test]
fn no_more_names_are_told_than_were_asked_for() {
    // Each query has a name of its own: an estimate of so many is as often above as below.
    for seed in 0..20 {
        let queries = queries(400, 0.2, A, |i| format!("{}.tunnel.example", digits(i + 1_000 * seed, 40)));
        let windows = queries.into_iter().map(|message| fixture::window(message.time, &[PacketEvent::Dns(message)]));
        let found = fixture::inspect(&mut DnsTunnel::new(DnsTunnelConfig::default()), windows);
        for finding in &found {
            let fact = |name| finding.facts.iter().find(|(known, _)| *known == name).expect("the fact").1.clone();
            let [names, asked]: [u64; 2] =
                ["distinct_names", "queries"].map(|name| fact(name).parse().expect("a number"));
            assert!(names <= asked && finding.measure.observed <= asked as f64, "{}", finding.summary);
            assert!((finding.contributors[0].amount - finding.measure.observed).abs() < 0.5, "{finding:?}");
        }
        assert!(!found.is_empty());
    }
}

#[test]
fn what_a_resolver_asks_for_others_is_theirs() {
    let upstream = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53));
    let name = |i| format!("{}.tunnel.example", digits(i, 40));
    let forwarded = |i: u32| {
        let to_resolver = message(f64::from(i) * 0.5, &name(i), A);
        let mut on = message(f64::from(i) * 0.5 + 0.1, &name(i), A);
        (on.client, on.server) = ((SERVER, 50_000), (upstream, 53));
        [to_resolver, on]
    };
    // `rules` wants the client, which is told alone.
    assert_eq!(rules((0..20).flat_map(forwarded).collect()), ["upload"]);
}

#[test]
fn names_that_others_ask_for_as_well_carry_no_data_of_one() {
    let name = |i| format!("{}.bucket.example", digits(i, 40));
    let found = |both: u32, other_id: u16| {
        let asked = |i: u32| {
            let own = message(f64::from(i) * 0.5, &name(i), A);
            let mut other = message(f64::from(i) * 0.5 - 0.1, &name(i), A);
            (other.client.0, other.id) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 6)), other_id);
            [other, own].into_iter().skip(usize::from(i >= both))
        };
        let windows =
            (0..20).flat_map(asked).map(|message| fixture::window(message.time, &[PacketEvent::Dns(message)]));
        fixture::inspect(&mut DnsTunnel::new(DnsTunnelConfig::default()), windows).len()
    };
    assert_eq!(found(20, 9), 0);
    assert_eq!(found(5, 9), 0, "a fourth");
    assert_eq!(found(4, 9), 1);
    assert_eq!(found(20, 1), 2, "each message on both sides of a gateway that translates");
}

#[test]
fn what_a_mail_server_looks_up_of_senders_is_no_data() {
    let looked_up = |front: &str| rules(queries(20, 0.5, TXT, |i| format!("{front}dept{i}.school.example")));
    for front in ["_dmarc.", "s1._domainkey.", "_MTA-STS.", "_smtp._tls."] {
        assert!(looked_up(front).is_empty(), "{front}");
    }
    assert_eq!(looked_up("dmarc."), ["carrier"]);
}

#[test]
fn names_without_a_domain_are_judged_together() {
    let found = rules(queries(20, 0.5, A, |i| format!("dnscat.{}.{}1", digits(i, 40), digits(i + 99, 10))));
    assert_eq!(found, ["upload"]);
}

#[test]
fn few_names_as_long_as_they_get_are_exfiltration() {
    let found = rules(queries(5, 20.0, A, |i| format!("{}.{}.drop.example", digits(i, 60), digits(i + 50, 60))));
    assert_eq!(found, ["long_names"]);
}

#[test]
fn short_numbers_in_a_carrier_type_are_polling_for_data() {
    assert_eq!(rules(queries(20, 0.1, TXT, |i| format!("{i}.shell.example"))), ["carrier"]);
    assert!(rules(queries(20, 0.1, A, |i| format!("{i}.shell.example"))).is_empty());
}

#[test]
fn hundreds_of_names_are_reported_whatever_their_type() {
    // Beyond 190 names are estimated, to 2.3 %.
    let poll = |count| rules(queries(count, 0.1, A, |i| format!("{i}.poll.example")));
    assert_eq!(poll(270), Vec::<String>::new());
    assert!(poll(330).iter().all(|rule| rule == "polling") && !poll(330).is_empty());
}

#[test]
fn commands_in_large_answers_are_reported() {
    let mut messages = Vec::new();
    for i in 0..10 {
        let query = message(f64::from(i) * 2.0, &format!("l.{i}.cmd.example"), TXT);
        let answer = DnsMessage { is_response: true, answers: 1, answer_sizes: vec![255], ..query.clone() };
        messages.extend([query, answer]);
    }
    assert_eq!(rules(messages), ["answers"]);
}

#[test]
fn packets_that_are_no_dns_are_reported_with_the_client_as_source() {
    let foreign = |i: u32| {
        let there = DnsMessage { is_malformed: true, questions: Vec::new(), ..message(f64::from(i) * 0.1, "", A) };
        // A parser that takes a mark for flags may mistake the sides.
        if i.is_multiple_of(2) { there } else { DnsMessage { client: there.server, server: there.client, ..there } }
    };
    assert!(rules((0..99).map(foreign).collect()).is_empty());
    assert_eq!(rules((0..100).map(foreign).collect()), ["no_dns"]);
}

#[test]
fn what_came_too_long_ago_is_forgotten() {
    assert!(rules(queries(60, 12.0, A, |i| format!("{}.slow.example", digits(i, 40)))).is_empty());
}

#[test]
fn clouds_block_lists_reverse_names_and_mail_are_quiet() {
    let quiet: [&dyn Fn(u32) -> String; 6] = [
        &|i| format!("d{}.cloudfront.net", digits(i, 40)),
        &|i| format!("{}.avts.mcafee.com", digits(i, 60)),
        &|i| format!("{i}.2.0.192.list.example"),
        &|i| format!("{i}.2.0.192.in-addr.arpa"),
        &|i| format!("_ldap._tcp.site{i}.corp.example"),
        &|i| format!("mail{}.example.com", i % 8),
    ];
    for (case, name) in quiet.into_iter().enumerate() {
        assert!(rules(queries(60, 0.5, A, name)).is_empty(), "case {case}");
    }
    // Made-up domains (DGA) have a parent each.
    assert!(rules(queries(400, 0.1, A, |i| format!("{}.com", digits(i, 16)))).is_empty());
}

/// What is found in one window of questions, each with the answer that there is no such name.
fn in_vain(asked: impl Iterator<Item = (u32, String)>) -> Vec<Finding> {
    let mut events = Vec::new();
    for (client, name) in asked {
        let question =
            DnsMessage { client: (Ipv4Addr::from(0x0a00_0100 + client).into(), 40_000), ..message(0.0, &name, A) };
        events.push(PacketEvent::Dns(question.clone()));
        events.push(PacketEvent::Dns(DnsMessage { is_response: true, rcode: 3, ..question }));
    }
    let window = fixture::window(message(0.0, "", A).time, &events);
    fixture::inspect(&mut DnsTunnel::new(DnsTunnelConfig::default()), std::iter::once(window))
}

#[test]
fn a_search_list_makes_no_tunnel() {
    let endings = ["shop.svc.cluster.local", "cluster.local", "eu-central-1.compute.internal", "corp.example"];
    let name = |i: u32| format!("www.{}.some-owner.org", digits(i, 24));
    let asked = (0..40).flat_map(|i| endings.map(|ending| (1, format!("{}.{ending}", name(i)))));
    assert!(in_vain(asked).is_empty());
    // The same names with one ending may carry what they say.
    assert_eq!(in_vain((0..40).map(|i| (1, format!("{}.corp.example", name(i))))).len(), 1);
}

#[test]
fn random_names_that_do_not_exist_are_a_flood_of_the_domain_and_its_resolver() {
    let found = in_vain((0..400).map(|i| (i % 20, format!("{}.shop.example.com", digits(i, 10)))));
    assert_eq!((found.len(), found[0].kind), (1, AlertKind::DnsFlood));
    assert_eq!((found[0].source, found[0].destination), (Party::Many, Party::Host(SERVER)));
    let one = in_vain((0..400).map(|i| (1, format!("{}.shop.example.com", digits(i, 10)))));
    assert_eq!((one.len(), one[0].kind, one[0].source), (1, AlertKind::DnsFlood, Party::Host([10, 0, 1, 1].into())));
    assert!(in_vain((0..200).map(|i| (i % 20, format!("{}.shop.example.com", digits(i, 10))))).is_empty());
}

#[test]
fn an_answer_that_is_longer_than_what_was_copied_has_its_length() {
    let answer = |i: u32| DnsMessage {
        is_response: true,
        is_cut: true,
        answers: 1,
        answer_sizes: vec![2],
        message_bytes: 781,
        ..message(f64::from(i), &format!("{i}.shell.example"), TXT)
    };
    let asked = (0..12).flat_map(|i| [message(f64::from(i), &format!("{i}.shell.example"), TXT), answer(i)]);
    assert_eq!(rules(asked.collect()).last().map(String::as_str), Some("answers"));
}
