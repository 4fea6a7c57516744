//! Stored alerts and anomalies in the shapes of the API.

use std::net::IpAddr;

use serde::Serialize;

use crate::json::{AlertJson, AnomalyJson, ContributorJson, FlowJson, JudgeJson, TechniqueJson, WhyJson, WindowJson};
use crate::store::{BySensor, FindingRecord, Many, OpinionRecord, StoredAlert, StoredAnomaly, StoredFlow};
use nta_core::domain::{AlertKind, FlowRecord, service_name};
use nta_core::window::Window;

/// A window, and who saw it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct WindowItem {
    /// Name of the sensor that saw it; null where it was not noted.
    sensor: Option<String>,
    #[serde(flatten)]
    window: WindowJson,
}

impl From<&BySensor<Window>> for WindowItem {
    fn from(stored: &BySensor<Window>) -> Self {
        Self { sensor: stored.sensor.clone(), window: WindowJson::from(&stored.item) }
    }
}

/// A flow, and who saw it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct FlowItem {
    /// Name of the sensor that saw it; null where it was not noted.
    sensor: Option<String>,
    /// The service's name wherever services are named: `service` where the content says it, else what the port is registered for; null
    /// where neither says anything.
    #[schema(pattern = "^[A-Za-z0-9_-]{2,20}$")]
    service_name: Option<&'static str>,
    /// How many flows it is: 1, or more where floods and scans make many that are alike. Their sums are then the row's; an address that they do
    /// not share is `0.0.0.0` or `::`, a port 0.
    flows: u64,
    /// Of many flows what of they are; null of one.
    group: Option<GroupJson>,
    #[serde(flatten)]
    flow: FlowJson,
}

/// What many flows are of.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct GroupJson {
    /// Different originators; from some 150 on within a few percent, as the others.
    sources: u64,
    /// Different responders.
    destinations: u64,
    /// Different ports of responders.
    destination_ports: u64,
    /// The first ones.
    examples: Vec<ExampleJson>,
}

/// One of many flows.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ExampleJson {
    /// Address of the originator.
    source: String,
    /// Its port.
    source_port: u16,
    /// Address of the responder.
    destination: String,
    /// Its port.
    destination_port: u16,
}

impl From<&Many> for GroupJson {
    fn from(many: &Many) -> Self {
        let example = |[source, destination]: &[(IpAddr, u16); 2]| ExampleJson {
            source: source.0.to_string(),
            source_port: source.1,
            destination: destination.0.to_string(),
            destination_port: destination.1,
        };
        Self {
            sources: many.sources,
            destinations: many.destinations,
            destination_ports: many.destination_ports,
            examples: many.examples.iter().map(example).collect(),
        }
    }
}

impl From<&StoredFlow> for FlowItem {
    fn from(stored: &StoredFlow) -> Self {
        let FlowRecord { proto, originator, responder, service, .. } = &stored.item;
        let mut flow = FlowJson::from(&stored.item);
        if stored.many.is_some() {
            // Each of them has its own.
            flow.community_id = None;
        }
        Self {
            sensor: stored.sensor.clone(),
            service_name: service_name(*proto, [originator.port, responder.port], *service),
            flows: stored.many.as_ref().map_or(1, |many| many.flows),
            group: stored.many.as_ref().map(GroupJson::from),
            flow,
        }
    }
}

/// An anomaly, and who saw it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct AnomalyItem {
    /// Name of the sensor that saw it; null where it was not noted.
    sensor: Option<String>,
    /// Id of the window that decided (`window_start` to `window_end`), for `/api/metrics/{id}`; null where that window is not
    /// stored yet, was never stored or is stored no longer.
    window_id: Option<u64>,
    #[serde(flatten)]
    anomaly: AnomalyJson,
}

/// An alert, but for what people did about it.
pub(super) fn alert(stored: &StoredAlert) -> AlertJson {
    let judges = stored.opinions.iter().map(judge).collect();
    let [first_seen, last_seen] = stored.seen.unwrap_or([stored.first, stored.last]).map(|time| time.to_string());
    AlertJson {
        id: stored.id.clone(),
        kind: stored.kind.clone(),
        severity: stored.severity.word().to_owned(),
        score: stored.score,
        source: stored.source.clone(),
        destination: stored.destination.clone(),
        port: stored.port,
        state: stored.state.clone(),
        window_start: stored.first.to_string(),
        window_end: stored.last.to_string(),
        first_seen,
        last_seen,
        raised_at: stored.raised.to_string(),
        cleared_at: stored.cleared.map(|time| time.to_string()),
        clear_reason: stored.clear_reason.clone(),
        windows: stored.windows,
        findings_folded: stored.merged,
        detector: stored.finding.detector.clone(),
        detectors: stored.detectors.clone(),
        why: WhyJson { judges, ..why(&stored.kind, &stored.finding) },
    }
}

/// An anomaly.
pub(crate) fn anomaly(stored: &StoredAnomaly) -> AnomalyItem {
    let [window_start, window_end] = stored.finding.window().map(|time| time.to_string());
    let anomaly = AnomalyJson {
        id: stored.id,
        alert: Some(stored.alert.clone()),
        kind: stored.kind.clone(),
        severity: Some(stored.severity.word().to_owned()),
        score: stored.score,
        source: stored.source.clone(),
        destination: stored.destination.clone(),
        port: stored.port,
        detector: stored.finding.detector.clone(),
        window_start,
        window_end,
        why: why(&stored.kind, &stored.finding),
    };
    AnomalyItem { sensor: stored.sensor.clone(), window_id: stored.window.id(), anomaly }
}

fn why(kind: &str, finding: &FindingRecord) -> WhyJson {
    let [window_start, window_end] = finding.window().map(|time| time.to_string());
    // What a kind stands for is known by its name; a kind of another version may not be.
    let kind = AlertKind::named(kind);
    let technique = kind.and_then(AlertKind::technique);
    WhyJson {
        summary: finding.summary.clone(),
        measure: finding.measure.clone(),
        unit: finding.unit.clone(),
        observed: finding.observed,
        expected: finding.expected,
        threshold: finding.threshold,
        window_start,
        window_end,
        facts: finding.facts.iter().cloned().collect(),
        contributors: finding
            .contributors
            .iter()
            .map(|(what, amount)| ContributorJson { what: what.clone(), amount: *amount })
            .collect(),
        technique: technique.map(|(id, name)| TechniqueJson { id: id.to_owned(), name: name.to_owned() }),
        recommendation: kind.map_or_else(String::new, |kind| kind.recommendation().to_owned()),
        judges: Vec::new(),
    }
}

fn judge(opinion: &OpinionRecord) -> JudgeJson {
    JudgeJson {
        detector: opinion.detector.clone(),
        basis: opinion.basis.clone(),
        score: opinion.score,
        measure: opinion.measure.clone(),
        observed: opinion.observed,
        threshold: opinion.threshold,
        summary: opinion.summary.clone(),
    }
}
