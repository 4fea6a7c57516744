//! The ledger as JSON: every counter by its name, per interface and in total.

use std::collections::BTreeMap;

use nta_common::{Counter, LedgerSlot};
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use nta_core::domain::{Interface, Ledger};

/// Every counter by its name (see [`Counter::name`]), then `seen_bytes` and `overflow_bytes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountsJson(pub LedgerSlot);

impl PartialSchema for CountsJson {
    /// Each counter by its name: beside them, an interface has its name.
    fn schema() -> RefOr<Schema> {
        let count = || ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        let names = Counter::ALL.into_iter().map(Counter::name).chain([SEEN_BYTES, OVERFLOW_BYTES]);
        let counts = names.fold(ObjectBuilder::new().schema_type(Type::Object), |counts, name| {
            counts.property(name, count()).required(name)
        });
        counts.into()
    }
}

impl ToSchema for CountsJson {}

impl Serialize for CountsJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Counter::COUNT + 2))?;
        for counter in Counter::ALL {
            map.serialize_entry(counter.name(), &self.0.get(counter))?;
        }
        map.serialize_entry(SEEN_BYTES, &self.0.seen_bytes)?;
        map.serialize_entry(OVERFLOW_BYTES, &self.0.overflow_bytes)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for CountsJson {
    /// A counter that a document does not have is 0, so that documents of older versions can be read.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counts = BTreeMap::<String, u64>::deserialize(deserializer)?;
        let count = |name: &str| counts.get(name).copied().unwrap_or_default();
        Ok(Self(LedgerSlot {
            packets: Counter::ALL.map(|counter| count(counter.name())),
            seen_bytes: count(SEEN_BYTES),
            overflow_bytes: count(OVERFLOW_BYTES),
        }))
    }
}

impl From<&LedgerSlot> for CountsJson {
    fn from(slot: &LedgerSlot) -> Self {
        Self(*slot)
    }
}

/// The counters of one interface (or capture).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct InterfaceJson {
    /// Name as in `ip link`, or the capture's file name.
    pub name: String,
    /// Its counters, beside the name.
    #[serde(flatten)]
    pub counts: CountsJson,
}

impl From<&Interface> for InterfaceJson {
    fn from(interface: &Interface) -> Self {
        Self { name: interface.name.clone(), counts: CountsJson(interface.counts) }
    }
}

/// The ledger of all interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct LedgerJson {
    /// One row per interface.
    pub interfaces: Vec<InterfaceJson>,
    /// Their sum.
    pub total: CountsJson,
    /// Whether on every interface the parts add up to `seen`.
    pub balanced: bool,
}

impl From<&Ledger> for LedgerJson {
    fn from(ledger: &Ledger) -> Self {
        Self {
            interfaces: ledger.interfaces.iter().map(InterfaceJson::from).collect(),
            total: CountsJson(ledger.total()),
            balanced: ledger.balances(),
        }
    }
}

/// Why packets are in no flow: reason and count, without the reasons that did not occur.
pub fn skipped(slot: &LedgerSlot) -> BTreeMap<String, u64> {
    Counter::ALL
        .into_iter()
        .filter(|counter| counter.is_skip() && slot.get(*counter) > 0)
        .map(|counter| (counter.name().to_owned(), slot.get(counter)))
        .collect()
}

const SEEN_BYTES: &str = "seen_bytes";
const OVERFLOW_BYTES: &str = "overflow_bytes";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_survives_the_round_trip_and_names_what_was_skipped() {
        let mut counts = LedgerSlot { seen_bytes: 700, ..LedgerSlot::default() };
        for counter in [Counter::Seen, Counter::Seen, Counter::Flow, Counter::Arp] {
            counts.bump(counter);
        }
        let ledger = Ledger { interfaces: vec![Interface { name: "eth0".to_owned(), counts }] };
        let json = LedgerJson::from(&ledger);
        let text = serde_json::to_value(&json).expect("JSON");
        assert_eq!(text["interfaces"][0]["name"], "eth0");
        assert_eq!(text["interfaces"][0]["seen"], 2);
        assert_eq!(text["total"]["seen_bytes"], 700);
        assert_eq!(text["balanced"], true);
        assert_eq!(serde_json::from_value::<LedgerJson>(text).expect("ledger"), json);
        assert_eq!(skipped(&counts), BTreeMap::from([("arp".to_owned(), 1)]));
    }
}
