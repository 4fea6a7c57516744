//! The names of services by the first payload bytes of both directions, whatever protocol and ports.
//!
//! An input is the protocol (1 byte), ports of client and server (2 each), a byte that says how many bytes the client's side has
//! and which sides were seen from the start, and the bytes of both.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nta_common::opening::{OPENING_BYTES, Opening};
use nta_core::domain::{Beginning, Service, registered, server_port, service_name};

fuzz_target!(|input: &[u8]| {
    let Some(([proto, a, b, c, d, sides], bytes)) = input.split_first_chunk::<6>() else { return };
    let (client, server) = bytes.split_at(usize::from(*sides & 15).min(bytes.len()));
    let openings = [Opening::of(client, sides & 16 != 0), Opening::of(server, sides & 32 != 0)];
    assert!(openings.iter().all(|opening| opening.bytes().len() <= OPENING_BYTES));
    let ports = [u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])];
    let beginning = Beginning { proto: *proto, ports, openings: [&openings[0], &openings[1]] };
    let service = Service::of(&beginning);
    if let Some(service) = service {
        assert!(!client.is_empty() || !server.is_empty(), "no byte was seen, and yet it is {service:?}");
        assert_eq!(Service::parse(service.name()), Some(service));
    }
    assert!(ports.contains(&server_port(*proto, ports)));
    let name = service_name(*proto, ports, service);
    assert_eq!(name.is_some(), service.is_some() || ports.iter().any(|port| registered(*proto, *port).is_some()));
});
