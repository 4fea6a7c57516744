//! Feature vectors: what a host did in a window, as numbers that training, prediction and the API share.

mod schema;

pub use schema::{Extent, FEATURES, Feature, FeatureVector, HostFeatures, SCHEMA_VERSION, extract};
