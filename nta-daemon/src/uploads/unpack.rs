//! A body that was packed on the way (`Content-Encoding`): what is kept is what was packed.

use std::io::{self, Write};

use super::Refusal;

/// How a body was packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// By gzip.
    Gzip,
    /// By zstd.
    Zstd,
}

/// A body may become so much larger, once it is larger than [`FREE_BYTES`]: captures of floods shrink to a hundredth, bombs to a
/// thousandth.
const MOST_RATIO: u64 = 300;
const FREE_BYTES: u64 = 64 << 20;
/// So many packed bytes are unpacked at a time, and become 4 MiB at most: DEFLATE makes 1032 of one, a block of zstd of 4 bytes 128 KiB.
const GZIP_PIECE: usize = 4096;
const ZSTD_PIECE: usize = 128;

/// Unpacks piece by piece.
pub(super) enum Unpack {
    Identity,
    Gzip(Box<flate2::write::MultiGzDecoder<Bounded>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Bounded>>),
}

/// Takes what is unpacked, up to a bound.
pub(super) struct Bounded {
    bytes: Vec<u8>,
    taken: u64,
    most: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.taken += bytes.len() as u64;
        if self.taken > self.most {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than may be unpacked"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The largest window that a zstd frame may ask for: 8 MiB, what RFC 8878 asks decoders to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

impl Unpack {
    /// At most `most` bytes come out.
    pub(super) fn new(encoding: Encoding, most: u64) -> io::Result<Self> {
        let bounded = Bounded { bytes: Vec::new(), taken: 0, most };
        Ok(match encoding {
            Encoding::Identity => Self::Identity,
            Encoding::Gzip => Self::Gzip(Box::new(flate2::write::MultiGzDecoder::new(bounded))),
            Encoding::Zstd => {
                let mut decoder = zstd::stream::write::Decoder::new(bounded)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    /// Unpacks a piece, handing on what comes of it; `packed` bytes came before.
    pub(super) fn piece(
        &mut self,
        piece: &[u8],
        packed: u64,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        if matches!(self, Self::Identity) {
            return take(piece);
        }
        let (mut packed, most) = (packed, self.most());
        let step = if matches!(self, Self::Zstd(_)) { ZSTD_PIECE } else { GZIP_PIECE };
        for part in piece.chunks(step) {
            match self {
                Self::Identity => {}
                Self::Gzip(decoder) => decoder.write_all(part).map_err(|error| refused(&error, most))?,
                Self::Zstd(decoder) => decoder.write_all(part).map_err(|error| refused(&error, most))?,
            }
            packed += part.len() as u64;
            self.hand_on(packed, take)?;
        }
        Ok(())
    }

    /// Nothing more comes.
    pub(super) fn finish(
        &mut self,
        packed: u64,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let most = self.most();
        match self {
            Self::Identity => return Ok(()),
            Self::Gzip(decoder) => decoder.try_finish().map_err(|error| refused(&error, most))?,
            Self::Zstd(decoder) => decoder.flush().map_err(|error| refused(&error, most))?,
        }
        self.hand_on(packed, take)
    }

    /// Bytes that may come out.
    fn most(&self) -> u64 {
        match self {
            Self::Identity => u64::MAX,
            Self::Gzip(decoder) => decoder.get_ref().most,
            Self::Zstd(decoder) => decoder.get_ref().most,
        }
    }

    fn hand_on(&mut self, packed: u64, take: &mut dyn FnMut(&[u8]) -> Result<(), Refusal>) -> Result<(), Refusal> {
        let bounded = match self {
            Self::Identity => return Ok(()),
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        };
        let taken = bounded.taken;
        let bytes = std::mem::take(&mut bounded.bytes);
        if taken > FREE_BYTES && taken / packed.max(1) > MOST_RATIO {
            return Err(Refusal::Bomb { ratio: MOST_RATIO });
        }
        if bytes.is_empty() { Ok(()) } else { take(&bytes) }
    }
}

fn refused(error: &io::Error, most: u64) -> Refusal {
    if error.kind() == io::ErrorKind::FileTooLarge {
        Refusal::TooLarge { most, announced: None }
    } else {
        Refusal::Packed(error.to_string())
    }
}
