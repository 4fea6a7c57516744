//! What is reported about the model that judges, as JSON.

use serde::{Deserialize, Serialize};

use super::words;
use nta_core::domain::{ModelState, ModelUse};

/// The model that judges, or why none does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelJson {
    /// `in_use`, `off` (by the configuration), `missing` (none is named and none came along), `not_built_in` (this build
    /// cannot use models) or `refused`.
    #[schema(value_type = words::ModelState)]
    pub state: String,
    /// Its file, `shipped`, or `trained` for one that was trained here; empty without one.
    pub name: String,
    /// First digits of its SHA-256; null unless in use.
    pub id: Option<String>,
    /// When it was trained; null unless in use.
    pub created: Option<String>,
    /// The classes that it distinguishes; empty unless in use.
    pub classes: Vec<String>,
    /// Why it does not judge; null otherwise.
    pub reason: Option<String>,
}

impl From<&ModelState> for ModelJson {
    fn from(model: &ModelState) -> Self {
        let state = match model.state {
            ModelUse::Off => "off",
            ModelUse::Missing => "missing",
            ModelUse::NotBuiltIn => "not_built_in",
            ModelUse::Refused => "refused",
            ModelUse::InUse => "in_use",
        };
        Self {
            state: state.to_owned(),
            name: model.name.clone(),
            id: model.id.clone(),
            created: model.created.clone(),
            classes: model.classes.clone(),
            reason: model.reason.clone(),
        }
    }
}
