//! A DNS message as the kernel hands it over: whole, or cut off where the event ends.
//!
//! An input is how many bytes more were sent than are here (1 byte), the side that the server is on, and the message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nta_daemon::source::dns::fuzzed;

fuzz_target!(|input: &[u8]| {
    let Some(([more, side], data)) = input.split_first_chunk::<2>() else { return };
    let ports = if side & 1 == 0 { [4000, 53] } else { [53, 4000] };
    let message = fuzzed(data, data.len() as u32 + u32::from(*more), ports);
    assert_eq!(message.is_cut, *more > 0);
    assert!(!(message.is_cut && message.is_malformed), "what was cut off is not blamed");
    assert!(message.questions.len() <= 16);
    for question in &message.questions {
        assert!(question.name.len() <= 1012 && question.name.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
    }
});
