//! How near a host came to what a detector looks for in a window: kept beside the window, so that it can be said later why there
//! was an alert, or none.

use std::borrow::Cow;
use std::net::IpAddr;

/// A measure is kept from this share of its threshold on.
pub const LEAST_SHARE: f64 = 0.25;
/// Measures that are kept of a window, those with the largest shares.
const MAX_KEPT: usize = 64;

/// What a detector measured of a host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostMeasure {
    /// The detector.
    pub detector: Cow<'static, str>,
    /// The host: who does it, of floods who gets it.
    pub host: IpAddr,
    /// What was measured.
    pub name: Cow<'static, str>,
    /// Its unit; `1` for ratios.
    pub unit: Cow<'static, str>,
    /// The value.
    pub observed: f64,
    /// From which value on it is reported, if all else is as the detector says.
    pub threshold: f64,
}

/// The measures of a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostMeasures {
    /// The nearest first.
    pub kept: Vec<HostMeasure>,
    /// How many more reached [`LEAST_SHARE`].
    pub left_out: u64,
    /// There were some, and the bounds of what is stored forced them out.
    pub is_forgotten: bool,
}

impl HostMeasure {
    /// Value / threshold.
    pub fn share(&self) -> f64 {
        self.observed / self.threshold
    }

    /// Whether it is near enough to be kept.
    pub fn is_near(&self) -> bool {
        self.threshold > 0.0 && self.threshold.is_finite() && self.share() >= LEAST_SHARE && self.observed.is_finite()
    }
}

impl HostMeasures {
    /// Of all that was measured the nearest, of each host and detector one of a kind.
    pub fn nearest(mut all: Vec<HostMeasure>) -> Self {
        fn kind(one: &HostMeasure) -> (IpAddr, &str, &str) {
            (one.host, &one.detector, &one.name)
        }
        all.retain(HostMeasure::is_near);
        all.sort_by(|a, b| kind(a).cmp(&kind(b)).then_with(|| b.share().total_cmp(&a.share())));
        all.dedup_by(|later, first| kind(later) == kind(first));
        all.sort_by(|a, b| b.share().total_cmp(&a.share()).then_with(|| kind(a).cmp(&kind(b))));
        let left_out = all.len().saturating_sub(MAX_KEPT) as u64;
        all.truncate(MAX_KEPT);
        Self { kept: all, left_out, is_forgotten: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(host: u32, observed: f64) -> HostMeasure {
        HostMeasure {
            detector: "syn_flood".into(),
            host: IpAddr::V4(host.into()),
            name: "futile_syns".into(),
            unit: "SYNs".into(),
            observed,
            threshold: 100.0,
        }
    }

    #[test]
    fn the_nearest_are_kept_each_once_and_the_rest_is_counted() {
        let far = measure(9, 24.9);
        let odd = HostMeasure { threshold: 0.0, ..measure(8, 50.0) };
        let twice = [measure(7, 30.0), measure(7, 1_000.0)];
        let many = (100..200).map(|host| measure(host, f64::from(host)));
        let kept = HostMeasures::nearest([far, odd].into_iter().chain(twice).chain(many).collect());
        assert_eq!((kept.kept.len(), kept.left_out), (MAX_KEPT, 101 - MAX_KEPT as u64));
        assert_eq!(kept.kept[0], measure(7, 1_000.0));
        assert_eq!(kept.kept[1], measure(199, 199.0));
        let few = HostMeasures::nearest(vec![measure(1, 25.0), measure(2, 24.9)]);
        assert_eq!(few, HostMeasures { kept: vec![measure(1, 25.0)], ..HostMeasures::default() });
    }
}
