//! What a row keeps beside its columns: a JSON document of the store's own, with a version. What the API answers is made of
//! it, and may change without it. Documents of the versions before are read too, each as it was written.

mod finding;
mod v1;
mod window;

pub(super) use finding::{AlertBody, AnomalyBody};
pub use finding::{FindingRecord, OpinionRecord};
pub(super) use window::WindowBody;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;

/// How a document of this version begins: `v` is its first field.
const BEGIN: &str = "{\"v\":2,";
/// The version that is written.
const VERSION: u32 = 2;

/// A document, and what it was before there were versions: the API's shape of that time.
trait Body: Serialize + DeserializeOwned {
    type Before: DeserializeOwned + Into<Self>;
}

/// Reads a document of any version.
fn read<T: Body>(text: &str) -> Result<T, String> {
    if text.starts_with(BEGIN) {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    #[derive(serde::Deserialize)]
    struct Versioned {
        v: Option<u32>,
    }
    let Versioned { v } = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match v {
        None => serde_json::from_str::<T::Before>(text).map(Into::into).map_err(|error| error.to_string()),
        Some(VERSION) => serde_json::from_str(text).map_err(|error| error.to_string()),
        Some(other) => Err(format!("version {other} is not known here, {VERSION} is")),
    }
}

/// Reads the document of a row.
fn of_row<T: Body>(table: &'static str, id: i64, text: &str) -> Result<T, StoreError> {
    read(text).map_err(|reason| StoreError::Corrupt {
        table,
        id,
        reason: format!("the document cannot be read: {reason}"),
    })
}

#[cfg(test)]
pub(super) use v1::tests as before;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_a_later_version_is_refused_by_its_number() {
        let later = read::<AnomalyBody>("{\"v\": 3}").expect_err("not known");
        assert!(later.contains("version 3"), "{later}");
        assert!(read::<AnomalyBody>("[]").is_err() && read::<AnomalyBody>("{\"v\":2,").is_err());
    }
}
