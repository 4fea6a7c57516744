//! What a sensor ships, as a server takes it.
//!
//! An input begins with a digit: 0, the rest is what comes over the wire; 1, it is what a right message has compressed in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nta_daemon::store::fuzzing::shipment;

fuzz_target!(|input: &[u8]| match input {
    [b'0', rest @ ..] => shipment(rest, false),
    [b'1', rest @ ..] => shipment(rest, true),
    _ => {}
});
