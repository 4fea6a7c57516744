//! Who makes something, and the names of flows and alerts that follow from it: given before anything is stored or sent.
//!
//! Identities are SipHash-2-4 over canonical bytes (big-endian numbers, texts behind their length). The key of the hash comes
//! from the sensor and the run, or in a replay from the capture and the settings. So two gateways, two runs and two captures
//! never share an identity, and the same analysis of the same capture gives the same ones every time.

use std::fmt;
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::str::FromStr;

use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128 as _, SipHasher24 as SipHasher24x128};

use super::{AlertId, AlertKey, FlowId, FlowKey, Party, Timestamp};

/// Longest name of a sensor, in characters.
const MAX_SENSOR: usize = 64;
/// Version of the canonical bytes. Another one gives other identities.
const FORMAT: &[u8] = b"nta identity 1";

/// Name of a sensor: 1 to 64 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SensorId(String);

/// A name that no sensor can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name of a sensor: 1 to {MAX_SENSOR} characters, each a letter, a digit or one of . _ -")]
pub struct BadSensorId(String);

impl SensorId {
    /// The sensor of a replay that no configuration names.
    pub fn replay() -> Self {
        Self("replay".to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SensorId {
    type Err = BadSensorId;

    fn from_str(name: &str) -> Result<Self, BadSensorId> {
        let is_sound = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        if (1..=MAX_SENSOR).contains(&name.len()) && name.bytes().all(is_sound) {
            Ok(Self(name.to_owned()))
        } else {
            Err(BadSensorId(name.chars().take(MAX_SENSOR).filter(|c| !c.is_control()).collect()))
        }
    }
}

impl fmt::Display for SensorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a run: a UUID of version 7, made by whoever begins the run. Shown as `8-4-4-4-12` hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub [u8; 16]);

/// A text that is no UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run is named by a UUID, such as 0198f2a0-0000-7000-8000-000000000000")]
pub struct BadRunId;

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for RunId {
    type Err = BadRunId;

    fn from_str(text: &str) -> Result<Self, BadRunId> {
        let is_dash = |at| matches!(at, 8 | 13 | 18 | 23);
        if text.len() != 36 || text.bytes().enumerate().any(|(at, byte)| is_dash(at) != (byte == b'-')) {
            return Err(BadRunId);
        }
        let mut digits = text.bytes().filter(|byte| *byte != b'-').map(|byte| char::from(byte).to_digit(16));
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            let (Some(Some(high)), Some(Some(low))) = (digits.next(), digits.next()) else { return Err(BadRunId) };
            *byte = (high << 4 | low) as u8;
        }
        Ok(Self(bytes))
    }
}

/// The scope within which flows and alerts have identities of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityScope {
    keys: [u64; 2],
    part: u32,
}

impl IdentityScope {
    /// Of a live run.
    pub fn of_run(sensor: &SensorId, run: &RunId) -> Self {
        Self::new(&[b"run", sensor.as_str().as_bytes(), &run.0])
    }

    /// Of a replay: `captures` are bytes that identify the captures, `settings` those of the analysis. `again` numbers
    /// analyses that are alike, from 0.
    pub fn of_analysis(sensor: &SensorId, captures: &[u8], settings: &[u8], again: u32) -> Self {
        Self::new(&[b"analysis", sensor.as_str().as_bytes(), captures, settings, &again.to_be_bytes()])
    }

    /// Of what several sensors saw.
    pub fn of_fleet() -> Self {
        Self::new(&[b"fleet"])
    }

    fn new(texts: &[&[u8]]) -> Self {
        let mut hasher = SipHasher24x128::new();
        for text in [FORMAT].iter().chain(texts) {
            hasher.write(&(text.len() as u64).to_be_bytes());
            hasher.write(text);
        }
        let hash = hasher.finish128();
        Self { keys: [hash.h1, hash.h2], part: 0 }
    }

    /// The same for what comes behind a point at which time went back, or another capture began: what is known there may have
    /// the key and the time of what was known before.
    #[must_use]
    pub const fn next_part(self) -> Self {
        Self { part: self.part.wrapping_add(1), ..self }
    }

    /// The identity of the flow of this key whose first packet came at this time.
    pub fn flow_id(&self, key: &FlowKey, first: Timestamp) -> FlowId {
        // One write: the hasher takes as long for a piece of a byte as for one of eight.
        let mut bytes = [0; 64];
        let mut len = 0;
        let mut put = |piece: &[u8]| {
            bytes[len..len + piece.len()].copy_from_slice(piece);
            len += piece.len();
        };
        put(b"f");
        put(&self.part.to_be_bytes());
        match key {
            FlowKey::V4(key) => {
                put(&[4, key.proto()]);
                key.addresses().iter().for_each(|address| put(&address.to_be_bytes()));
                key.ports().iter().for_each(|port| put(&port.to_be_bytes()));
            }
            FlowKey::V6(key) => {
                put(&[6, key.proto()]);
                key.addresses().iter().for_each(|address| put(&address.to_be_bytes()));
                key.ports().iter().for_each(|port| put(&port.to_be_bytes()));
            }
        }
        put(&first.as_nanos().to_be_bytes());
        let mut hasher = SipHasher24::new_with_keys(self.keys[0], self.keys[1]);
        hasher.write(&bytes[..len]);
        FlowId(hasher.finish())
    }

    /// The identity of the alert about this that was raised at this time.
    pub fn alert_id(&self, key: &AlertKey, raised: Timestamp) -> AlertId {
        let mut hasher = SipHasher24::new_with_keys(self.keys[0], self.keys[1]);
        hasher.write(b"a");
        hasher.write(&self.part.to_be_bytes());
        let word = key.kind.word();
        hasher.write(&[word.len() as u8]);
        hasher.write(word.as_bytes());
        write_party(&mut hasher, &key.source);
        write_party(&mut hasher, &key.destination);
        hasher.write(&raised.as_nanos().to_be_bytes());
        AlertId(hasher.finish())
    }
}

impl Default for IdentityScope {
    /// Of nothing in particular, for tests and benches.
    fn default() -> Self {
        Self::new(&[])
    }
}

fn write_party(hasher: &mut SipHasher24, party: &Party) {
    let mut address = |kind: u8, address: &IpAddr| match address {
        IpAddr::V4(address) => {
            hasher.write(&[kind, 4]);
            hasher.write(&address.octets());
        }
        IpAddr::V6(address) => {
            hasher.write(&[kind, 6]);
            hasher.write(&address.octets());
        }
    };
    match party {
        Party::Nobody => hasher.write(&[0]),
        Party::Many => hasher.write(&[1]),
        Party::Host(host) => address(2, host),
        Party::Mac(mac) => {
            hasher.write(&[3]);
            hasher.write(mac);
        }
        Party::Network(network, prefix) => {
            address(4, network);
            hasher.write(&[*prefix]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::AlertKind;
    use nta_common::FlowKey4;
    use nta_common::packet::{Packet, proto};

    fn flow_key() -> FlowKey {
        let packet = Packet {
            proto: proto::TCP,
            src4: u32::from_be_bytes([192, 0, 2, 1]),
            dst4: u32::from_be_bytes([198, 51, 100, 2]),
            src_port: 40_000,
            dst_port: 443,
            ..Packet::default()
        };
        FlowKey::V4(FlowKey4::of(&packet).0)
    }

    fn alert_key() -> AlertKey {
        let source = Party::Host("192.0.2.1".parse().expect("address"));
        AlertKey { kind: AlertKind::PortScan, source, destination: Party::Many }
    }

    #[test]
    fn names_are_checked_and_shown_as_they_are_read() {
        for name in ["a", "gw-1.example_net", &"x".repeat(64)] {
            assert_eq!(name.parse::<SensorId>().expect(name).as_str(), name);
        }
        for name in ["", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
            assert!(name.parse::<SensorId>().is_err(), "{name}");
        }
        let run = "0198f2a0-1234-7abc-8def-0123456789ab";
        assert_eq!(run.parse::<RunId>().expect("a UUID").to_string(), run);
        for text in ["", "0198f2a0-1234-7abc-8def-0123456789a", "0198f2a0_1234-7abc-8def-0123456789ab", &"-".repeat(36)]
        {
            assert_eq!(text.parse::<RunId>(), Err(BadRunId), "{text}");
        }
    }

    /// These numbers must never change: they are in databases.
    #[test]
    fn identities_are_the_same_in_every_version() {
        let scope = IdentityScope::of_analysis(&SensorId::replay(), b"capture", b"settings", 0);
        let time = Timestamp::from_nanos(1_700_000_000_000_000_000);
        assert_eq!(scope.flow_id(&flow_key(), time).to_string(), FLOW);
        assert_eq!(scope.alert_id(&alert_key(), time).to_string(), ALERT);
    }

    const FLOW: &str = "97df78ba2d53def1";
    const ALERT: &str = "207a2c7ab6b37668";

    #[test]
    fn sensors_runs_captures_settings_and_parts_share_no_identity() {
        let sensor = |name: &str| name.parse::<SensorId>().expect("a name");
        let (a, b) = (sensor("a"), sensor("b"));
        let analysis = |sensor, captures: &[u8], settings: &[u8], again| {
            IdentityScope::of_analysis(sensor, captures, settings, again)
        };
        let scopes = [
            IdentityScope::of_run(&a, &RunId([0; 16])),
            IdentityScope::of_run(&b, &RunId([0; 16])),
            IdentityScope::of_run(&a, &RunId([1; 16])),
            analysis(&a, b"one", b"x", 0),
            analysis(&a, b"one", b"y", 0),
            analysis(&a, b"two", b"x", 0),
            analysis(&a, b"one", b"x", 1),
            analysis(&a, b"onex", b"", 0),
            analysis(&a, b"one", b"x", 0).next_part(),
        ];
        let time = Timestamp::from_nanos(7);
        let mut flows: Vec<_> = scopes.iter().map(|scope| scope.flow_id(&flow_key(), time)).collect();
        let mut alerts: Vec<_> = scopes.iter().map(|scope| scope.alert_id(&alert_key(), time)).collect();
        flows.sort_unstable();
        flows.dedup();
        alerts.sort_unstable();
        alerts.dedup();
        assert_eq!((flows.len(), alerts.len()), (scopes.len(), scopes.len()));
    }
}
