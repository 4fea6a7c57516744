//! How many windows a kind of finding needs before it is an alert.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::AlertKind;

/// Windows by kind, 1 for those not named. In the configuration a table such as `{ port_scan = 2 }`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, u32>", into = "BTreeMap<String, u32>")]
pub struct RaiseAfter(BTreeMap<AlertKind, u32>);

impl RaiseAfter {
    /// Windows that this kind needs.
    pub fn of(&self, kind: AlertKind) -> u32 {
        self.0.get(&kind).copied().unwrap_or(1)
    }
}

impl TryFrom<BTreeMap<String, u32>> for RaiseAfter {
    type Error = String;

    fn try_from(table: BTreeMap<String, u32>) -> Result<Self, String> {
        let read = |(word, windows): (String, u32)| match AlertKind::named(&word) {
            None => Err(format!("there is no kind of alert `{word}`; there are {}", AlertKind::words())),
            Some(_) if windows == 0 => Err(format!("{word} = 0: at least one window is needed")),
            Some(kind) => Ok((kind, windows)),
        };
        Ok(Self(table.into_iter().map(read).collect::<Result<_, _>>()?))
    }
}

impl From<RaiseAfter> for BTreeMap<String, u32> {
    fn from(after: RaiseAfter) -> Self {
        after.0.into_iter().map(|(kind, windows)| (kind.word().to_owned(), windows)).collect()
    }
}

/// As the configuration file has it: an inline table.
impl fmt::Debug for RaiseAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<String> = self.0.iter().map(|(kind, windows)| format!("{kind} = {windows}")).collect();
        write!(f, "{{ {} }}", entries.join(", "))
    }
}
