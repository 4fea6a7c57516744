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
    /// Writes a family. A unit stands at the end of its name.
    fn write(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        write: impl FnOnce(MetricEncoder<'_>) -> std::fmt::Result,
    ) -> std::fmt::Result {
        let units = [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)];
        let found = units.iter().find_map(|(end, unit)| Some((name.strip_suffix(end)?, unit)));
        let (stem, unit) = found.map_or((name, None), |(stem, unit)| (stem, Some(unit)));
        let stem = format!("{}{stem}", self.prefix);
        write(self.encoder.encode_descriptor(&stem, help, unit, kind)?)
    }

    /// A metric that counts by itself.
    pub(super) fn own(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> std::fmt::Result {
        self.write(name, help, metric.metric_type(), |encoder| metric.encode(encoder))
    }

    /// A histogram of whose buckets `(upper bound, count)` are given, the last one without a bound.
    pub(super) fn histogram(&mut self, name: &str, help: &str, sum: f64, buckets: &[(f64, u64)]) -> std::fmt::Result {
        let count = buckets.iter().map(|(_, count)| count).sum();
        self.write(name, help, MetricType::Histogram, |mut encoder| {
            encoder.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
        })
    }

    pub(super) fn one(&mut self, name: &str, help: &str, kind: MetricType, value: f64) -> std::fmt::Result {
        self.write(name, help, kind, |mut encoder| write_value(&mut encoder, kind, value))
    }

    pub(super) fn family<'a>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        rows: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) -> std::fmt::Result {
        self.write(name, help, kind, |mut family| {
            rows.into_iter()
                .try_for_each(|(labels, value)| write_value(&mut family.encode_family(&labels)?, kind, value))
        })
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
