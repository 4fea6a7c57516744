//! The exposition, family by family.

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// Names and values of labels.
pub(super) type Labels<'a> = Vec<(&'a str, &'a str)>;

/// The exposition, written family by family.
pub(super) struct Page<'e> {
    pub(super) encoder: DescriptorEncoder<'e>,
    /// What the name of each family begins with.
    pub(super) prefix: &'static str,
}

impl Page<'_> {
    /// Begins a family. A unit stands at the end of its name.
    fn descriptor(&mut self, name: &str, help: &str, kind: MetricType) -> Result<MetricEncoder<'_>, std::fmt::Error> {
        let prefix = self.prefix;
        let units = [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)];
        match units.iter().find_map(|(end, unit)| Some((name.strip_suffix(end)?, unit))) {
            Some((stem, unit)) => self.encoder.encode_descriptor(&format!("{prefix}{stem}"), help, Some(unit), kind),
            None => self.encoder.encode_descriptor(&format!("{prefix}{name}"), help, None, kind),
        }
    }

    /// A metric that counts by itself.
    pub(super) fn own(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> std::fmt::Result {
        let kind = metric.metric_type();
        metric.encode(self.descriptor(name, help, kind)?)
    }

    /// A histogram of whose buckets `(upper bound, count)` are given, the last one without a bound.
    pub(super) fn histogram(&mut self, name: &str, help: &str, sum: f64, buckets: &[(f64, u64)]) -> std::fmt::Result {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut encoder = self.descriptor(name, help, MetricType::Histogram)?;
        encoder.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }

    pub(super) fn one(&mut self, name: &str, help: &str, kind: MetricType, value: f64) -> std::fmt::Result {
        write_value(&mut self.descriptor(name, help, kind)?, kind, value)
    }

    pub(super) fn family<'a>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        rows: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) -> std::fmt::Result {
        let mut family = self.descriptor(name, help, kind)?;
        for (labels, value) in rows {
            write_value(&mut family.encode_family(&labels)?, kind, value)?;
        }
        Ok(())
    }
}

fn write_value(metric: &mut MetricEncoder<'_>, kind: MetricType, value: f64) -> std::fmt::Result {
    match kind {
        MetricType::Counter => metric.encode_counter::<NoLabelSet, f64, f64>(&value, None),
        _ => metric.encode_gauge(&value),
    }
}

pub(super) const COUNTER: MetricType = MetricType::Counter;
pub(super) const GAUGE: MetricType = MetricType::Gauge;
