//! The feature vector of a host in a window as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use nta_core::features::{Extent, FEATURES, SCHEMA_VERSION, extract};
use nta_core::window::{HostStats, Snapshot};

/// What a host did in a window, as numbers by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FeaturesJson {
    /// First instant of the window.
    #[schema(format = DateTime)]
    pub start: String,
    /// First instant behind it.
    #[schema(format = DateTime)]
    pub end: String,
    /// The seconds that its rates are of.
    pub span_s: f64,
    /// The host's address.
    pub host: String,
    /// Version of the schema: names, order and formulas.
    pub schema: u32,
    /// Values by name; docs/FEATURES.md has their units.
    pub features: BTreeMap<String, f64>,
}

impl FeaturesJson {
    /// Of a host in a window.
    pub fn of(snapshot: &Snapshot, host: &HostStats) -> Self {
        let window = &snapshot.window;
        let extent = Extent { seconds: snapshot.seconds(), base_windows: snapshot.span.factor() as f64 };
        let values = extract(host, extent);
        Self {
            start: window.start.to_string(),
            end: window.end.to_string(),
            span_s: extent.seconds,
            host: host.address.to_string(),
            schema: SCHEMA_VERSION,
            features: FEATURES.iter().map(|feature| feature.name.to_owned()).zip(values).collect(),
        }
    }
}
