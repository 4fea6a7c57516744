//! What a sensor sends to a server: committed batches with their numbers, many in one compressed message.
//!
//! `ntaship2`, CRC-32 of what follows once it is decompressed (big-endian), zstd of the document by postcard and, behind it, of the
//! networks that are inside. The mark changes with every change of the rows: who does not know it says so, and the sensor keeps what it has.

use std::io::Read as _;

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::inside::MOST_NETWORKS;
use super::rows::BatchRows;
use nta_core::detect::network;
use nta_core::domain::{EVENT_TYPES, Mode};

const MAGIC: &[u8; 8] = b"ntaship2";
/// How the marks of all versions begin.
const MAGIC_OF_ALL: &[u8] = b"ntaship";
/// Bytes of a message once it is decompressed.
pub(super) const MOST_BYTES: u64 = 64 << 20;
/// Bytes of a batch that is sent, before it is compressed; the rest of a message is for what stands around it.
pub(super) const MOST_BATCH_BYTES: u64 = MOST_BYTES - (1 << 20);
/// Bytes that batches of a message take together before it is compressed, unless one alone is larger.
pub const MESSAGE_BYTES: u64 = 8 << 20;
/// Batches of a message.
pub(super) const MOST_BATCHES: usize = 1024;
/// Numbers beyond which none counts on.
pub(super) const MOST_NUMBER: u64 = 1 << 62;
/// Measures that a window keeps for explaining.
const MOST_NEAR: i64 = 64;
/// Of a document that the library cannot read: its own words are for who wrote it.
const UNREADABLE: &str = "what is in it cannot be read back";
/// Characters of a name or a reason.
const MOST_TEXT: usize = 1000;
/// Reasons that a sensor gives.
const MOST_REASONS: usize = 32;

/// A message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shipment {
    /// Whose batches these are.
    pub sensor: String,
    /// Identity of its log: the numbers count in it.
    pub epoch: String,
    /// When it was sent, by the sensor's clock, in nanoseconds since the Unix epoch.
    pub sent_ns: u64,
    /// The oldest number that the sensor still has; one behind `newest` where it has none.
    pub oldest: u64,
    /// The newest number that it ever gave.
    pub newest: u64,
    /// What it says of itself.
    pub about: About,
    /// Numbers and batches, in their order.
    pub(super) batches: Vec<(u64, BatchRows)>,
    /// The networks that are inside for it; `None` of a version that does not say.
    #[serde(skip)]
    pub(super) networks: Option<Vec<String>>,
}

/// What a sensor says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Version of its daemon.
    pub version: String,
    /// Batches that the server has not confirmed, this message's among them.
    pub pending_batches: u64,
    /// Their bytes on disk.
    pub pending_bytes: u64,
    /// When the oldest of them was made, in nanoseconds since the Unix epoch.
    pub pending_since_ns: Option<u64>,
    /// Batches that its bound forced out, wholly or but for their alerts.
    pub given_up: u64,
    /// Batches that the server refused for good and that it keeps aside.
    pub failed: u64,
    /// Why it is degraded; empty while all is well.
    pub reasons: Vec<String>,
    /// Number of the settings that it follows.
    pub settings: u64,
}

/// Why a message is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShipmentError {
    /// It was made by another version.
    #[error(
        "the message has the format `{0}` and this version reads `ntaship2`: bring both to one version, the server first"
    )]
    Version(String),
    /// It is no message.
    #[error("{0}")]
    Malformed(String),
}

impl Shipment {
    /// As it goes over the wire.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn encode(&self) -> Result<Vec<u8>, StoreError> {
        // Behind the document: versions that do not know of it do not read so far.
        seal(MAGIC, &[to_plain(self)?, to_plain(&self.networks)?].concat())
    }

    /// Back from the wire, with all checked that is about the message and not about one of its batches.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, ShipmentError> {
        let malformed = |what: &str| ShipmentError::Malformed(what.to_owned());
        if bytes.starts_with(MAGIC_OF_ALL) && !bytes.starts_with(MAGIC) {
            let mark = bytes.get(..MAGIC.len()).unwrap_or(bytes);
            return Err(ShipmentError::Version(String::from_utf8_lossy(mark).escape_debug().to_string()));
        }
        let plain = open(MAGIC, bytes).map_err(|reason| malformed(&reason))?;
        let (mut shipment, rest): (Self, _) =
            postcard::take_from_bytes(&plain).map_err(|_inside| malformed(UNREADABLE))?;
        if !rest.is_empty() {
            shipment.networks = from_plain(rest).map_err(|reason| malformed(&reason))?;
        }
        shipment.check().map_err(|reason| malformed(&reason))?;
        Ok(shipment)
    }

    /// About how many bytes its batches take in memory.
    pub fn bytes(&self) -> u64 {
        self.batches.iter().map(|(_, batch)| batch.bytes()).sum()
    }

    /// Numbers of the first and the last batch in it.
    pub fn range(&self) -> Option<(u64, u64)> {
        Some((self.batches.first()?.0, self.batches.last()?.0))
    }

    /// Leaves the second half of its batches to the next message; whether there was more than one.
    pub fn halve(&mut self) -> bool {
        let has_more = self.batches.len() > 1;
        self.batches.truncate(self.batches.len().div_ceil(2));
        has_more
    }

    fn check(&self) -> Result<(), String> {
        let name = |what: &str, text: &str, most: usize| {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            let fits = (1..=most).contains(&text.len()) && text.bytes().all(is_name);
            if fits { Ok(()) } else { Err(format!("{what}: expected 1 to {most} of A-Z, a-z, 0-9, `.`, `_` and `-`")) }
        };
        name("sensor", &self.sensor, 64)?;
        name("epoch", &self.epoch, 64)?;
        if self.newest >= MOST_NUMBER || self.oldest == 0 || self.oldest > self.newest + 1 {
            return Err(format!("numbers {} to {}: expected 1 <= oldest <= newest + 1", self.oldest, self.newest));
        }
        let texts = self.about.reasons.iter().chain([&self.about.version]);
        if self.about.reasons.len() > MOST_REASONS || texts.into_iter().any(|text| text.len() > MOST_TEXT) {
            return Err(format!("reasons: expected at most {MOST_REASONS} of {MOST_TEXT} bytes"));
        }
        let networks = self.networks.as_deref().unwrap_or_default();
        if networks.len() > MOST_NETWORKS || networks.iter().any(|text| network(text).is_err()) {
            return Err(format!("networks: expected at most {MOST_NETWORKS}, as ADDRESS/PREFIX"));
        }
        if self.batches.len() > MOST_BATCHES {
            return Err(format!("{} batches: expected at most {MOST_BATCHES}", self.batches.len()));
        }
        let mut before = 0;
        for (number, _) in &self.batches {
            if *number <= before || *number < self.oldest || *number > self.newest {
                return Err(format!("batch {number}: numbers rise, from {} to {}", self.oldest, self.newest));
            }
            before = *number;
        }
        Ok(())
    }

    /// Why a batch is never stored: it is not the sensor's own, or holds what no window can have.
    pub(super) fn check_batch(&self, batch: &BatchRows) -> Result<(), String> {
        if batch.run.sensor != self.sensor {
            return Err("it is another sensor's".to_owned());
        }
        if batch.run.mode != Mode::Live.word() || batch.run.uuid.len() != 16 || batch.number < 1 {
            return Err("expected a live run with an identity of 16 bytes and a number from 1".to_owned());
        }
        if batch.baselines.is_some() || batch.readings.is_some() || batch.run.analysis.is_some() {
            return Err("baselines, readings and analyses stay with the sensor".to_owned());
        }
        if batch.end.as_deref().is_some_and(|end| !["completed", "stopped"].contains(&end)) {
            return Err("expected `completed` or `stopped` as its end".to_owned());
        }
        for window in &batch.windows {
            let is_one = window.factor >= 1
                && window.number >= 0
                && (0..=window.end_ns).contains(&window.start_ns)
                && window.span_ns > 0
                && (0..=MOST_NEAR).contains(&window.near)
                && window.packets.min(window.bytes).min(window.flows).min(window.connections) >= 0;
            if !is_one {
                return Err(format!("window {} is none", window.number));
            }
        }
        match batch.notices.iter().find(|notice| !EVENT_TYPES.iter().any(|(kind, _)| *kind == notice.kind)) {
            Some(notice) => Err(format!("there is no event `{}`", notice.kind.escape_debug())),
            None => Ok(()),
        }
    }
}

fn failed(error: &impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt { table: "outbox", id: 0, reason: error.to_string() }
}

/// A document as bytes.
pub(super) fn to_plain(document: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    postcard::to_stdvec(document).map_err(|error| failed(&error))
}

/// The document of bytes that [`to_plain`] made.
pub(super) fn from_plain<T: for<'de> Deserialize<'de>>(plain: &[u8]) -> Result<T, String> {
    postcard::from_bytes(plain).map_err(|_inside| UNREADABLE.to_owned())
}

/// A message with these bytes, whatever they are.
#[cfg(fuzzing)]
pub(super) fn sealed(plain: &[u8]) -> Vec<u8> {
    seal(MAGIC, plain).expect("there is memory")
}

/// Bytes behind a mark and their checksum, compressed.
pub(super) fn seal(magic: &[u8; 8], plain: &[u8]) -> Result<Vec<u8>, StoreError> {
    let packed = zstd::bulk::compress(plain, 3).map_err(|error| failed(&error))?;
    Ok([magic.as_slice(), &crc32fast::hash(plain).to_be_bytes(), &packed].concat())
}

/// The bytes that [`seal`] took.
pub(super) fn open(magic: &[u8; 8], bytes: &[u8]) -> Result<Vec<u8>, String> {
    let rest = bytes.strip_prefix(magic).ok_or_else(|| format!("it does not begin with {}", magic.escape_ascii()))?;
    let (checksum, packed) = rest.split_at_checked(4).ok_or("it is cut")?;
    let mut plain = Vec::new();
    let decoder = zstd::stream::Decoder::new(packed).map_err(|error| error.to_string())?;
    decoder.take(MOST_BYTES + 1).read_to_end(&mut plain).map_err(|error| format!("zstd: {error}"))?;
    if plain.len() as u64 > MOST_BYTES {
        return Err(format!("it has more than {MOST_BYTES} bytes once it is decompressed"));
    }
    if crc32fast::hash(&plain).to_be_bytes() != checksum {
        return Err("its checksum is another".to_owned());
    }
    Ok(plain)
}
