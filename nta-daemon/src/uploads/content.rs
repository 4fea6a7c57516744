//! What a body is, by its first bytes: a capture, or something else that a refusal names.

use std::io::Read;

/// So much of a body is looked at before it is taken.
pub(super) const LOOKED_AT: usize = 1024;

/// Whether these first bytes are those of a capture, packed or not; `is_all` when there are no more.
///
/// # Errors
/// Names what it is.
pub(super) fn check(head: &[u8], is_all: bool) -> Result<(), String> {
    if head.is_empty() {
        return Err("the body is empty".to_owned());
    }
    match packing(head) {
        None => plain(head, is_all, ""),
        Some((name, unpacked)) if unpacked.is_empty() => Err(format!("{name} data that cannot be unpacked")),
        Some((name, unpacked)) => plain(&unpacked, is_all, &format!(" within {name}")),
    }
}

/// Packed bytes: how, and the first ones unpacked.
fn packing(head: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    match head {
        [0x1f, 0x8b, 0x08, ..] => Some(("gzip", first_of(flate2::read::GzDecoder::new(head)))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Some(("zstd", zstd::stream::read::Decoder::with_buffer(head).map(first_of).unwrap_or_default()))
        }
        // A skippable frame of zstd tells nothing of what follows.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(("zstd", PCAPNG.to_vec())),
        _ => None,
    }
}

/// As much as can be read, up to the size of a file header; what is cut off ends it.
fn first_of(mut read: impl Read) -> Vec<u8> {
    let (mut bytes, mut end) = (vec![0; 64], 0);
    while end < bytes.len() {
        match read.read(&mut bytes[end..]) {
            Ok(0) | Err(_) => break,
            Ok(count) => end += count,
        }
    }
    bytes.truncate(end);
    bytes
}

const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// The magic numbers of pcap in both byte orders: microseconds, nanoseconds, and Kuznetzov's variant.
const PCAP: [[u8; 4]; 6] = [
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x34, 0xcd, 0xb2, 0xa1],
    [0xa1, 0xb2, 0xcd, 0x34],
];

fn plain(bytes: &[u8], is_all: bool, within: &str) -> Result<(), String> {
    if bytes.get(..4).is_some_and(|magic| magic == PCAPNG || PCAP.iter().any(|known| magic == known)) {
        return Ok(());
    }
    let known = KINDS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name);
    let what = known.map_or_else(|| unknown(bytes, is_all), str::to_owned);
    Err(format!("{what}{within}"))
}

fn unknown(bytes: &[u8], is_all: bool) -> String {
    let text = bytes.trim_ascii_start();
    let is_text = std::str::from_utf8(text).is_ok_and(|text| !text.contains(|c: char| c.is_control() && !c.is_whitespace()))
        // A character may be cut in the middle.
        || text.len() > 8 && std::str::from_utf8(text).is_err_and(|error| error.error_len().is_none() && error.valid_up_to() > 4);
    match text.first() {
        _ if bytes.get(257..262) == Some(b"ustar") => "a tar archive".to_owned(),
        Some(b'{' | b'[') if is_text => "JSON".to_owned(),
        Some(b'<') if is_text => "HTML or XML".to_owned(),
        _ if is_text => "text".to_owned(),
        _ if bytes.len() < 4 && is_all => format!("{} bytes, fewer than any capture has", bytes.len()),
        _ => {
            let first: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!("something that begins with {}", first.join(" "))
        }
    }
}

/// What is sent by mistake.
const KINDS: &[(&[u8], &str)] = &[
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive: unpack it and send the capture"),
    (b"7z\xbc\xaf", "a 7-Zip archive: unpack it and send the capture"),
    (b"Rar!", "a RAR archive: unpack it and send the capture"),
    (b"BZh", "bzip2 data: unpack it, or pack it with gzip or zstd"),
    (b"\xfd7zXZ", "xz data: unpack it, or pack it with gzip or zstd"),
    (b"\x04\x22\x4d\x18", "LZ4 data: unpack it, or pack it with gzip or zstd"),
    (b"\x7fELF", "an ELF program"),
    (b"MZ", "a Windows program"),
    (b"SQLite format 3", "an SQLite database"),
    (b"snoop\0\0\0", "a snoop capture: `editcap -F pcapng` makes a pcapng file of it"),
    (b"GMBU", "a Network Monitor capture: `editcap -F pcapng` makes a pcapng file of it"),
    (b"RTSS", "a Network Monitor capture: `editcap -F pcapng` makes a pcapng file of it"),
    (b"\x1fSniffer", "a Sniffer capture: `editcap -F pcapng` makes a pcapng file of it"),
    (b"TRSNIFF data", "a Sniffer capture: `editcap -F pcapng` makes a pcapng file of it"),
    (b"\x54\x50\x43\x56", "a proprietary capture: `editcap -F pcapng` makes a pcapng file of it"),
];

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).expect("gzip");
        encoder.finish().expect("gzip")
    }

    #[test]
    fn captures_are_taken_packed_or_not_and_everything_else_is_named() {
        let noise: Vec<u8> = (0..4000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for magic in PCAP.iter().chain([&PCAPNG]) {
            let capture = [&magic[..], &noise].concat();
            for bytes in [capture.clone(), gzip(&capture), zstd::encode_all(&capture[..], 1).expect("zstd")] {
                assert_eq!(check(&bytes[..LOOKED_AT.min(bytes.len())], false), Ok(()), "{magic:x?}");
            }
        }
        for (bytes, said) in [
            (&b""[..], "the body is empty"),
            (b"\x89PNG\r\n\x1a\n", "a PNG image"),
            (b"PK\x03\x04\x14\0", "a ZIP archive"),
            (b"{\"a\": 1}", "JSON"),
            (b"<!doctype html>", "HTML or XML"),
            (b"hello, world", "text"),
            (b"\x01\x02", "2 bytes"),
            (b"\xde\xad\xbe\xef\0\0", "something that begins with de ad be ef"),
            (b"\x1f\x8b\x08\0\0", "gzip data that cannot be unpacked"),
        ] {
            let refused = check(bytes, true).expect_err("no capture");
            assert!(refused.starts_with(said), "{refused}");
        }
        assert_eq!(check(&gzip(b"%PDF-1.7"), true), Err("a PDF document within gzip".to_owned()));
    }
}
