//! What analysis emits between two batches, as rows for the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::spans::Spans;
use super::{Anomaly, FeatureRow, Store, WindowBatch};
use nta_core::domain::{Alert, AlertChange, AlertId};
use nta_core::features::{self, Extent, SCHEMA_VERSION};
use nta_core::window::{HostStats, Lengths, Snapshot, Span, Window};

/// Hosts named by alerts whose features are stored at most, as a multiple of the most active ones.
const NAMED_FACTOR: usize = 10;

/// Longer windows, alerts, anomalies and features on their way into a batch.
#[derive(Debug)]
pub struct Found {
    store: Store,
    /// Hosts of a window whose features are stored for being active.
    active_hosts: usize,
    longer: Vec<(u64, Window)>,
    spans: Spans,
    alerts: BTreeMap<AlertId, Alert>,
    anomalies: Vec<Anomaly>,
    features: Vec<FeatureRow>,
    /// Parties of alerts that go on; as many as the alerting layer keeps.
    open: BTreeMap<AlertId, [Option<IpAddr>; 2]>,
    anomalies_emitted: u64,
}

impl Found {
    /// Nothing yet; `active_hosts` says of how many hosts a window's features are stored.
    pub fn new(store: Store, active_hosts: usize) -> Self {
        let (longer, anomalies, features) = (Vec::new(), Vec::new(), Vec::new());
        let (alerts, open) = (BTreeMap::new(), BTreeMap::new());
        let spans = Spans::new(Lengths::default());
        Self { store, active_hosts, spans, longer, alerts, anomalies, features, open, anomalies_emitted: 0 }
    }

    /// Makes longer windows of these lengths.
    #[must_use]
    pub fn with_lengths(mut self, lengths: Lengths) -> Self {
        self.spans = Spans::new(lengths);
        self
    }

    /// Takes a window that closed.
    pub fn window(&mut self, snapshot: &Snapshot) {
        if snapshot.span == Span::Base {
            self.spans.add(&snapshot.window, &mut self.longer);
        } else {
            self.longer.push((snapshot.span.factor(), snapshot.window.clone()));
        }
    }

    /// Takes an alert that changed.
    pub fn alert(&mut self, change: AlertChange, alert: &Alert) {
        if change == AlertChange::Cleared {
            self.open.remove(&alert.id);
        } else {
            self.open.insert(alert.id, [alert.key.source.host(), alert.key.destination.host()]);
            self.anomalies_emitted += 1;
            self.anomalies.push(Anomaly {
                number: self.anomalies_emitted,
                alert: alert.id,
                severity: alert.severity,
                finding: alert.latest.clone(),
            });
        }
        self.alerts.insert(alert.id, alert.clone());
    }

    /// Takes the features of a window whose alerts were emitted: of its most active hosts, and of those that alerts name.
    pub fn judged(&mut self, snapshot: &Snapshot) {
        let mut hosts: Vec<&HostStats> = snapshot.hosts.iter().collect();
        let order = |host: &&HostStats| (std::cmp::Reverse(host.packets()), host.address);
        let active = self.active_hosts.min(hosts.len());
        if active < hosts.len() {
            hosts.select_nth_unstable_by_key(active, order);
        }
        let named: BTreeSet<IpAddr> = self.open.values().flatten().flatten().copied().collect();
        let is_active: BTreeSet<IpAddr> = hosts[..active].iter().map(|host| host.address).collect();
        let known = snapshot.hosts.len();
        hosts.truncate(active);
        hosts.sort_unstable_by_key(order);
        let named = named.iter().filter(|address| !is_active.contains(address));
        hosts.extend(named.filter_map(|a| snapshot.hosts.get(a)).take(self.active_hosts * NAMED_FACTOR));
        self.store.count_features_left_out((known - hosts.len()) as u64);
        let extent = Extent { seconds: snapshot.seconds(), base_windows: snapshot.span.factor() as f64 };
        self.features.extend(hosts.into_iter().map(|host| FeatureRow {
            start: snapshot.window.start,
            end: snapshot.window.end,
            span_ns: snapshot.window.span_ns(),
            host: host.address,
            schema_version: SCHEMA_VERSION,
            vector: features::extract(host, extent).into(),
        }));
    }

    /// Closes the windows that are open: the run ends.
    pub fn finish(&mut self) {
        self.spans.finish(&mut self.longer);
    }

    /// Moves everything into a batch.
    pub fn move_into(&mut self, batch: &mut WindowBatch) {
        batch.longer = std::mem::take(&mut self.longer);
        batch.alerts = std::mem::take(&mut self.alerts).into_values().collect();
        batch.anomalies = std::mem::take(&mut self.anomalies);
        batch.features = std::mem::take(&mut self.features);
    }
}
