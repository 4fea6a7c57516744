//! How windows are cut and judged, and when their results are emitted.

use nta_core::alerting::EarlierAlert;
use nta_core::baseline::BaselineConfig;
use nta_core::detect::DetectConfig;
use nta_core::domain::IdentityScope;
use nta_core::model::Models;
use nta_core::window::Seed;

use super::baselines::BaselineHandle;
use super::mutes::MuteHandle;

/// When the results of a window are emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As soon as it has closed.
    Immediate,
    /// Once the flows of the next ones were emitted, [`QUEUE`](super::judge::QUEUE) of them unless they are large: windows can be judged meanwhile.
    /// How far behind depends on nothing but the windows.
    Deferred {
        /// Whether a thread of its own does so; not with `baselines`, whose imports wait for none.
        beside: bool,
    },
}

/// How windows are cut and judged.
#[derive(Clone, Debug)]
pub struct PipelineOptions {
    /// Length of a base window in nanoseconds.
    pub span_ns: u64,
    /// What is looked for.
    pub detect: DetectConfig,
    /// How baselines are learned.
    pub baseline: BaselineConfig,
    /// Models that judge beside the rules.
    pub models: Models,
    /// Where baselines are shown, and imports of them taken from, if anybody looks.
    pub baselines: Option<BaselineHandle>,
    /// What no alert is raised about for a while, if anybody may say so.
    pub mutes: Option<MuteHandle>,
    /// When the results of a window are emitted.
    pub delivery: Delivery,
    /// Keys the hashes of distinct values: fixed in a replay, so that it always says the same, else random.
    pub seed: Seed,
    /// Names the alerts; the source names the flows.
    pub ids: IdentityScope,
    /// Alerts of runs before that may come back.
    pub earlier: Vec<EarlierAlert>,
}
