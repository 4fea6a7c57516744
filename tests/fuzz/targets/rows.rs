//! The documents of stored rows, of all versions: whatever a file says, reading it does not end the daemon.
//!
//! An input begins with a letter: w, the rest is the document of a window; h, its histograms of before; a, an alert; n, an anomaly.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nta_daemon::store::fuzzing::row;

fuzz_target!(|input: &[u8]| {
    if let Some((kind, rest)) = input.split_first()
        && let Ok(text) = std::str::from_utf8(rest)
    {
        row(*kind, text);
    }
});
