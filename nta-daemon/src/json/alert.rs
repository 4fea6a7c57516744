//! An alert as JSON, with its explanation.

use serde::{Deserialize, Serialize};

use super::words;
use nta_core::domain::{Alert, AlertState, Finding, Opinion, Party};

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AlertJson {
    /// Identity.
    #[schema(pattern = "^[0-9a-f]{16}$")]
    pub id: String,
    /// Kind, such as `port_scan`.
    #[serde(rename = "type")]
    #[schema(value_type = words::AlertType)]
    pub kind: String,
    /// How bad it is.
    #[schema(value_type = words::Severity)]
    pub severity: String,
    /// How sure the detectors are.
    #[schema(minimum = 0, maximum = 1)]
    pub score: f64,
    /// Who does it: an address, a MAC address, a network, `*` for many; null when nobody in particular.
    pub source: Option<String>,
    /// Who suffers it; as `source`.
    pub destination: Option<String>,
    /// Port at the destination, where it is about one.
    pub port: Option<u16>,
    /// Whether the traffic goes on with it.
    #[schema(value_type = words::AlertState)]
    pub state: String,
    /// Start of the first window with a finding. Of several that overlap it is the longest one's, and windows of 30 s and 180 s
    /// begin on their grid: it may be before `why.window_start`, and before the first packet.
    #[schema(format = DateTime)]
    pub window_start: String,
    /// End of the last window with a finding.
    #[schema(format = DateTime)]
    pub window_end: String,
    /// First packet of what was found, as far as its windows show it; `window_start` where no packet is known.
    #[serde(default)]
    #[schema(format = DateTime)]
    pub first_seen: String,
    /// Last packet of what was found; `window_end` where none is known.
    #[serde(default)]
    #[schema(format = DateTime)]
    pub last_seen: String,
    /// End of the window in which it was raised.
    #[schema(format = DateTime)]
    pub raised_at: String,
    /// When it was cleared; null while it goes on.
    #[schema(format = DateTime)]
    pub cleared_at: Option<String>,
    /// Why it was cleared: `quiet` when nothing was found for long enough, `run_ended` when the run ended while it went on,
    /// `interrupted` when the run was killed then, `folded` when a rule found later what happens to many hosts, of which a model had
    /// named one; null while it goes on.
    #[serde(default)]
    #[schema(value_type = Option<words::ClearReason>)]
    pub clear_reason: Option<String>,
    /// Windows with a finding.
    pub windows: u32,
    /// Findings that are part of it, beside the first: of other windows, and of other rules and models about the same.
    #[serde(default)]
    pub findings_folded: u32,
    /// The detector whose finding is reported.
    pub detector: String,
    /// All detectors that found it.
    pub detectors: Vec<String>,
    /// Why it was raised.
    pub why: WhyJson,
}

/// Why an alert was raised: the strongest finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WhyJson {
    /// What happened, in one sentence.
    #[serde(alias = "sentence")]
    pub summary: String,
    /// What was measured.
    pub measure: String,
    /// Its unit.
    pub unit: String,
    /// What was seen.
    pub observed: f64,
    /// What is usual, where a baseline says so.
    pub expected: Option<f64>,
    /// From where on it is a finding.
    pub threshold: f64,
    /// First instant of the window that decided.
    #[schema(format = DateTime)]
    pub window_start: String,
    /// First instant behind it.
    #[schema(format = DateTime)]
    pub window_end: String,
    /// Further facts by name.
    pub facts: std::collections::BTreeMap<String, String>,
    /// Largest shares first.
    pub contributors: Vec<ContributorJson>,
    /// Technique of MITRE ATT&CK, where there is one.
    pub technique: Option<TechniqueJson>,
    /// What to do about it.
    pub recommendation: String,
    /// What each detector says, in the order in which they found it; only of an alert.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub judges: Vec<JudgeJson>,
}

/// What one detector says about an alert: its strongest finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JudgeJson {
    /// Its name.
    pub detector: String,
    /// What it goes by.
    #[schema(value_type = words::Basis)]
    pub basis: String,
    /// How sure it is.
    #[schema(minimum = 0, maximum = 1)]
    pub score: f64,
    /// What was measured, such as `ports_tried` or `probability`.
    pub measure: String,
    /// What was seen.
    pub observed: f64,
    /// From where on it is a finding.
    pub threshold: f64,
    /// What happened, in one sentence.
    #[serde(alias = "sentence")]
    pub summary: String,
}

/// Who or what had a share in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ContributorJson {
    /// A host, a port, a name.
    pub what: String,
    /// Its share, in the unit of the measure.
    pub amount: f64,
}

/// A technique of MITRE ATT&CK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TechniqueJson {
    /// Its number, such as `T1046`.
    pub id: String,
    /// Its name.
    pub name: String,
}

impl From<&Alert> for AlertJson {
    fn from(alert: &Alert) -> Self {
        let finding = &alert.finding;
        let [first_seen, last_seen] = alert.went_on().map(|time| time.to_string());
        Self {
            id: alert.id.to_string(),
            kind: alert.key.kind.word().to_owned(),
            severity: alert.severity.word().to_owned(),
            score: finding.score,
            source: party(&alert.key.source),
            destination: party(&alert.key.destination),
            port: finding.port,
            state: match alert.state {
                AlertState::Raised => "raised",
                AlertState::Cleared => "cleared",
            }
            .to_owned(),
            window_start: alert.first.to_string(),
            window_end: alert.last.to_string(),
            first_seen,
            last_seen,
            raised_at: alert.raised.to_string(),
            cleared_at: alert.cleared.map(|time| time.to_string()),
            clear_reason: alert.clear_reason.map(|reason| reason.word().to_owned()),
            windows: alert.windows,
            findings_folded: alert.merged,
            detector: finding.detector.to_owned(),
            detectors: alert.detectors.iter().map(|name| (*name).to_owned()).collect(),
            why: WhyJson { judges: alert.opinions.iter().map(JudgeJson::from).collect(), ..WhyJson::from(finding) },
        }
    }
}

impl From<&Opinion> for JudgeJson {
    fn from(opinion: &Opinion) -> Self {
        Self {
            detector: opinion.detector.to_owned(),
            basis: opinion.basis.word().to_owned(),
            score: opinion.score,
            measure: opinion.measure.name.to_owned(),
            observed: opinion.measure.observed,
            threshold: opinion.measure.threshold,
            summary: opinion.summary.clone(),
        }
    }
}

impl From<&Finding> for WhyJson {
    fn from(finding: &Finding) -> Self {
        let measure = &finding.measure;
        let technique = finding.kind.technique();
        Self {
            summary: finding.summary.clone(),
            measure: measure.name.to_owned(),
            unit: measure.unit.to_owned(),
            observed: measure.observed,
            expected: measure.expected,
            threshold: measure.threshold,
            window_start: finding.start.to_string(),
            window_end: finding.end.to_string(),
            facts: finding.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            contributors: finding
                .contributors
                .iter()
                .map(|share| ContributorJson { what: share.what.clone(), amount: share.amount })
                .collect(),
            technique: technique.map(|(id, name)| TechniqueJson { id: id.to_owned(), name: name.to_owned() }),
            recommendation: finding.kind.recommendation().to_owned(),
            judges: Vec::new(),
        }
    }
}

/// An anomaly: what one detector found in one window, and the alert that it became part of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AnomalyJson {
    /// Id in the store; 0 where it is not stored.
    #[serde(default)]
    pub id: u64,
    /// The alert; null where it was found again and raised none.
    pub alert: Option<String>,
    /// Kind, such as `port_scan`.
    #[serde(rename = "type")]
    #[schema(value_type = words::AlertType)]
    pub kind: String,
    /// Severity of the alert in that window; null without an alert.
    #[schema(value_type = Option<words::Severity>)]
    pub severity: Option<String>,
    /// How sure the detector is.
    #[schema(minimum = 0, maximum = 1)]
    pub score: f64,
    /// Who does it; null when nobody in particular.
    pub source: Option<String>,
    /// Who suffers it; as `source`.
    pub destination: Option<String>,
    /// Port at the destination, where it is about one.
    pub port: Option<u16>,
    /// Name of the detector.
    pub detector: String,
    /// First instant of the window.
    #[schema(format = DateTime)]
    pub window_start: String,
    /// First instant behind it.
    #[schema(format = DateTime)]
    pub window_end: String,
    /// Why it is one.
    pub why: WhyJson,
}

impl From<&Finding> for AnomalyJson {
    fn from(finding: &Finding) -> Self {
        Self {
            id: 0,
            alert: None,
            kind: finding.kind.word().to_owned(),
            severity: None,
            score: finding.score,
            source: party(&finding.source),
            destination: party(&finding.destination),
            port: finding.port,
            detector: finding.detector.to_owned(),
            window_start: finding.start.to_string(),
            window_end: finding.end.to_string(),
            why: WhyJson::from(finding),
        }
    }
}

/// The word for a party; `None` when it is nobody in particular.
pub fn party(party: &Party) -> Option<String> {
    (*party != Party::Nobody).then(|| party.to_string())
}
