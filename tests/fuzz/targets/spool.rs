//! Segments of the spool.
//!
//! An input begins with a digit: 0, the rest is a file; 1, it is what stands behind a right mark and checksum.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nta_daemon::store::fuzzing::segment;

fuzz_target!(|input: &[u8]| match input {
    [b'0', rest @ ..] => segment(rest, false),
    [b'1', rest @ ..] => segment(rest, true),
    _ => {}
});
