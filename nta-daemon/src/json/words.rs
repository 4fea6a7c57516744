//! The words that a field of a document may have, as schemas of their own: clients are generated from them.

use std::borrow::Cow;

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use nta_core::domain::{AlertKind, ClearReason as Reason, EVENT_TYPES, Severity as Level};
use nta_core::window::NotWhole as Partly;

/// What people can have done about an alert.
pub(crate) const STATUSES: [&str; 3] = ["open", "acknowledged", "resolved"];
/// What people can say that an alert was.
pub(crate) const VERDICTS: [&str; 3] = ["true_positive", "benign", "false_positive"];
/// What the traffic can do.
pub(crate) const STATES: [&str; 2] = ["raised", "cleared"];

/// The schema of a text that is one of these.
pub(crate) fn words_schema<T: Into<String>>(words: impl IntoIterator<Item = T>) -> Schema {
    let words: Vec<String> = words.into_iter().map(Into::into).collect();
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

/// Names a schema for each set of words.
macro_rules! words {
    ($($(#[$about:meta])* $name:ident = $words:expr;)*) => {$(
        $(#[$about])*
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                words_schema($words).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    )*};
}

words! {
    /// Kinds of alerts.
    AlertType = AlertKind::ALL.map(AlertKind::word);
    /// How bad an alert is.
    Severity = Level::ALL.map(Level::word);
    /// What people did about an alert.
    AlertStatus = STATUSES;
    /// What people say that an alert was.
    AlertVerdict = VERDICTS;
    /// What who asks may do.
    CallerRole = ["viewer", "operator", "admin"];
    /// Whether a mute holds.
    MuteState = ["active", "expired"];
    /// What the traffic does.
    AlertState = STATES;
    /// What can happen.
    EventType = EVENT_TYPES.map(|(name, _)| name);
    /// What a webhook speaks.
    WebhookKind = ["generic", "slack", "pagerduty", "alertmanager", "syslog", "smtp"];
    /// How a webhook does.
    WebhookState = ["idle", "ok", "failing", "unusable"];
    /// How a sensor does.
    SensorState = ["ok", "degraded", "silent"];
    /// Why an alert does not go on.
    ClearReason = Reason::ALL.map(Reason::word);
    /// What a detector goes by.
    Basis = ["rule", "model"];
    /// How far the analysis of a replay is.
    AnalysisState = ["running", "complete"];
    /// Why a window is not whole.
    NotWhole = Partly::ALL.map(Partly::word);
    /// Whether a flow goes on, or why it ended.
    FlowState = ["active", "closed", "idle", "shutdown", "interrupted"];
    /// Where packets come from.
    Mode = ["live", "replay"];
    /// What counts packets.
    Engine = ["live", "kernel", "user"];
    /// Where a program is attached.
    Hook = ["xdp", "xdp-generic", "tcx", "tc"];
    /// How packets are counted.
    CountBasis = ["wire", "segments"];
    /// Whether something is expected of a metric.
    LearningState = ["warm_up", "ready"];
    /// Whether what was measured at a time is stored.
    Kept = ["kept", "not_kept"];
    /// How near a host came to what a detector looks for.
    Nearness = ["reached", "near", "below_quarter", "unknown", "not_kept", "network", "off"];
    /// What became of a model.
    ModelState = ["in_use", "off", "missing", "not_built_in", "refused"];
}
