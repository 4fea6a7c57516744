//! Anonymised exports: addresses are replaced so that those of one network stay in one network.
//!
//! Prefix-preserving encryption by `ipcrypt-pfx` (draft-denis-ipcrypt), the successor of Crypto-PAn with two AES keys: two addresses
//! that share their first *n* bits share them afterwards too. Whoever has the key can reverse it; without it, who knows some pairs of
//! addresses learns the prefixes that others share with them.
//!
//! No host becomes a group or this machine: on the way down to such a network a bit stays as it is, which keeps prefixes as well.
//! So the classes A, B and C of IPv4, and ULA and link-local addresses of IPv6, stay what they were.

mod item;
mod packet;

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ipcrypt_rs::IpcryptPfx;
use sha2::{Digest as _, Sha256};

/// Addresses whose replacement is remembered.
const REMEMBERED: usize = 65_536;
/// Networks of IPv4 that no address of another one may be moved into: loopback, multicast with what is reserved behind it.
const OWN4: [(u32, u32); 2] = [(0x7f00_0000, 8), (0xe000_0000, 4)];
/// The same of IPv6: multicast, link-local.
const OWN6: [(u128, u32); 2] = [(0xff00 << 112, 8), (0xfe80 << 112, 10)];
/// Bytes of a key.
const KEY_BYTES: usize = IpcryptPfx::KEY_BYTES;

/// Replaces addresses by a key.
pub struct Anonymizer {
    cipher: IpcryptPfx,
    key: [u8; KEY_BYTES],
    known: HashMap<IpAddr, IpAddr>,
}

impl std::fmt::Debug for Anonymizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Anonymizer").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read, or not be made.
    #[error("key file {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It has something else in it.
    #[error("key file {}: expected 64 hexadecimal digits, whose halves differ", .0.display())]
    NoKey(PathBuf),
}

impl Anonymizer {
    /// By a key whose halves differ.
    pub fn new(key: [u8; KEY_BYTES]) -> Option<Self> {
        let (first, second) = key.split_at(KEY_BYTES / 2);
        (first != second).then(|| Self { cipher: IpcryptPfx::new(key), key, known: HashMap::new() })
    }

    /// By the key in a file of 64 hexadecimal digits; one that is not there is made with a random key, for its owner alone.
    ///
    /// # Errors
    /// Names the file.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File { path: path.to_owned(), source };
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        match made {
            Ok(mut file) => {
                let key: [u8; KEY_BYTES] = rand::random();
                let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
                writeln!(file, "{digits}").and_then(|()| file.sync_all()).map_err(failed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        let mut text = String::new();
        let file = OpenOptions::new().read(true).open(path).map_err(failed)?;
        file.take(1000).read_to_string(&mut text).map_err(failed)?;
        key(text.trim()).and_then(Self::new).ok_or_else(|| KeyError::NoKey(path.to_owned()))
    }

    /// The address in the place of another. What stands for no host of anybody's stays: unspecified, loopback, multicast, broadcast.
    pub fn address(&mut self, address: IpAddr) -> IpAddr {
        let is_everybodys = match address {
            IpAddr::V4(v4) => v4.is_broadcast(),
            IpAddr::V6(_) => false,
        };
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_everybodys {
            return address;
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        *self.known.entry(address).or_insert_with(|| match (address, self.cipher.encrypt_ipaddr(address)) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                IpAddr::V4(with_bits(to.to_bits(), from.to_bits(), kept4(from)).into())
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                IpAddr::V6(with_bits(to.to_bits(), from.to_bits(), kept6(from)).into())
            }
            (_, to) => to,
        })
    }

    /// The MAC address in the place of another; groups stay. It says that it is no maker's.
    pub fn mac(&self, mac: [u8; 6]) -> [u8; 6] {
        const GROUP: u8 = 1;
        const LOCAL: u8 = 2;
        if mac[0] & GROUP != 0 || mac == [0; 6] {
            return mac;
        }
        let digest = self.digest("mac", &mac);
        let mut other = [0; 6];
        other.copy_from_slice(&digest[..6]);
        other[0] = other[0] & !GROUP | LOCAL;
        other
    }

    /// A number that nobody without the key leads back to what it stands for.
    fn digest(&self, what: &str, value: &[u8]) -> [u8; 32] {
        // The key has a fixed length and stands in front, and only a part of the digest is shown: nothing can be appended to it.
        Sha256::new().chain_update(self.key).chain_update(what).chain_update([0]).chain_update(value).finalize().into()
    }
}

/// The first with the bits of the second where the mask has ones.
fn with_bits<T>(one: T, other: T, mask: T) -> T
where
    T: Copy + std::ops::Not<Output = T> + std::ops::BitAnd<Output = T> + std::ops::BitOr<Output = T>,
{
    one & !mask | other & mask
}

/// The bits that stay: those above and at the place where the address leaves the way to a network of its own kind, and in the last
/// byte to 255, which stands for all of a network. The cipher turns a bit by what is above it, so that what is turned nowhere on
/// the way to a network turns nothing into it.
fn kept4(address: Ipv4Addr) -> u32 {
    let bits = address.to_bits();
    let up_to = |length: u32| u32::MAX.checked_shl(32 - length).unwrap_or(0);
    let own = OWN4.iter().map(|(network, length)| up_to(((bits ^ network).leading_zeros() + 1).min(*length)));
    let last = up_to(((bits << 24).leading_ones() + 1).min(8)) >> 24;
    own.fold(last, std::ops::BitOr::bitor)
}

fn kept6(address: Ipv6Addr) -> u128 {
    let bits = address.to_bits();
    let up_to = |length: u32| u128::MAX.checked_shl(128 - length).unwrap_or(0);
    let own = OWN6.iter().map(|(network, length)| up_to(((bits ^ network).leading_zeros() + 1).min(*length)));
    own.fold(0, std::ops::BitOr::bitor)
}

fn key(text: &str) -> Option<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    if text.len() != 2 * KEY_BYTES || !text.is_ascii() {
        return None;
    }
    for (place, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
#[path = "anonymize_tests.rs"]
mod tests;
