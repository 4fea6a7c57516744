//! What a fuzzer starts from: captures as they are, or their frames; inputs that were written for it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::host;

/// Frames of one capture that become inputs.
const FRAMES_OF_A_CAPTURE: usize = 6;
/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;
/// Of a pcap file, and of a record in it.
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// The inputs of `tests/fuzz/seeds` for the target that the corpus is called after; no captures.
pub(super) fn seeds(_captures: &Path, corpus: &Path, _max_len: usize) -> Result<usize> {
    let mut made = 0;
    for file in files(&host::root().join("tests/fuzz/seeds").join(corpus.file_name().unwrap_or_default()))? {
        made += keep(corpus, &fs::read(&file)?)?;
    }
    Ok(made)
}

/// Captures of at most `max_len` bytes.
pub(super) fn captures(folder: &Path, corpus: &Path, max_len: usize) -> Result<usize> {
    let mut made = 0;
    for file in files(folder)? {
        if fs::metadata(&file)?.len() <= max_len as u64 {
            made += keep(corpus, &fs::read(&file)?)?;
        }
    }
    Ok(made)
}

/// The first Ethernet frames of each pcap file, one by one and all in one input.
pub(super) fn frames(folder: &Path, corpus: &Path, max_len: usize) -> Result<usize> {
    let mut made = 0;
    for file in files(folder)? {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut together = vec![0];
        for frame in ethernet_frames(&bytes).into_iter().take(FRAMES_OF_A_CAPTURE) {
            let record = record(frame);
            if together.len() + record.len() <= max_len {
                together.extend(&record);
                made += keep(corpus, &[&[0], &record[..]].concat())?;
            }
        }
        made += keep(corpus, &together)?;
    }
    Ok(made)
}

/// A frame as the target `packet` reads it: length, nothing cut off, 50 ms after the one before.
fn record(frame: &[u8]) -> Vec<u8> {
    let len = u16::try_from(frame.len()).unwrap_or(u16::MAX);
    [&len.to_le_bytes()[..], &[0, 0, 50, 0], &frame[..usize::from(len)]].concat()
}

/// The frames of a pcap file of link type Ethernet; none of any other file.
fn ethernet_frames(file: &[u8]) -> Vec<&[u8]> {
    let word: fn([u8; 4]) -> u32 = match file.first_chunk() {
        Some([0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]) => u32::from_le_bytes,
        Some([0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d]) => u32::from_be_bytes,
        _ => return Vec::new(),
    };
    let at = |offset: usize| file.get(offset..)?.first_chunk().map(|bytes| word(*bytes));
    if at(20) != Some(ETHERNET) {
        return Vec::new();
    }
    let mut frames = Vec::new();
    let mut offset = FILE_HEADER;
    while let Some(len) = at(offset + 8) {
        let start = offset + RECORD_HEADER;
        let Some(frame) = file.get(start..).and_then(|rest| rest.get(..len as usize)) else { break };
        frames.push(frame);
        offset = start + frame.len();
    }
    frames
}

/// Writes an input under the name of its content; returns how many that are, 1.
fn keep(corpus: &Path, input: &[u8]) -> Result<usize> {
    let name: String = Sha256::digest(input).iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    let file = corpus.join(name);
    fs::write(&file, input).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(1)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{ethernet_frames, record};

    #[test]
    fn frames_are_found_in_either_byte_order() {
        for (magic, word) in [
            ([0xd4, 0xc3, 0xb2, 0xa1], u32::to_le_bytes as fn(u32) -> [u8; 4]),
            ([0xa1, 0xb2, 0xc3, 0xd4], u32::to_be_bytes),
        ] {
            let mut file = magic.to_vec();
            file.extend([0; 16]);
            file.extend(word(1));
            for frame in [&b"one"[..], b"three"] {
                file.extend([0; 8]);
                file.extend(word(frame.len() as u32));
                file.extend([0; 4]);
                file.extend(frame);
            }
            assert_eq!(ethernet_frames(&file), [&b"one"[..], b"three"]);
            assert_eq!(ethernet_frames(&file[..file.len() - 1]), [b"one"]);
            file[20..24].copy_from_slice(&word(127));
            assert!(ethernet_frames(&file).is_empty());
        }
        assert_eq!(record(b"ab"), [2, 0, 0, 0, 50, 0, b'a', b'b']);
    }
}
