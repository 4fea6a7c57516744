//! Baselines as they are stored and imported: whatever numbers they hold, what is taken can be judged with and is exported as
//! what can be read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nta_core::baseline::{BaselineConfig, Baselines, Export, Metric};
use nta_core::domain::Timestamp;

const HOUR_NS: u64 = 3_600_000_000_000;

fuzz_target!(|input: &[u8]| {
    let Ok(export) = serde_json::from_slice::<Export>(input) else { return };
    let mut baselines = Baselines::new(BaselineConfig { warm_up_windows: 1, ..BaselineConfig::default() });
    if baselines.import(export).is_err() {
        return;
    }
    for hour in [0, 1, 167, 168, 400_000, 5_000_000] {
        let time = Timestamp::from_nanos(hour * HOUR_NS);
        for metric in Metric::ALL {
            let expected = baselines.expect(metric, time);
            assert!(expected.is_none_or(|e| e.median.is_finite() && e.sigma.is_finite()), "{metric:?}: {expected:?}");
        }
        let _overview = baselines.overview(time);
    }
    let written = serde_json::to_vec(&baselines.export()).expect("serializable");
    let again: Export = serde_json::from_slice(&written).expect("its own text");
    let mut second = Baselines::new(BaselineConfig::default());
    second.import(again).expect("its own text");
    assert_eq!(serde_json::to_vec(&second.export()).expect("serializable"), written);
});
