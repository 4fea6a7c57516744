//! What an analysis learns of hosts' scores, and what it keeps of who came near to a threshold.

use super::*;
use crate::domain::HostMeasure;
use crate::model::forest;

/// What a site's hosts score is learned while nothing else is wrong with them: a forest that finds them all odd is no reason.
#[test]
fn scores_are_learned_but_for_hosts_under_another_alert() {
    let rows: Vec<Vec<f64>> = (0..50).map(|row| vec![f64::from(row) * 1e-6; crate::features::FEATURES.len()]).collect();
    let forest = forest::train(&rows, &forest::Params::default()).expect("a forest");
    let models = Models { forest: Some(forest.into()), ..Models::default() };
    // From a quarter past the hour on, so that one is over and counted before the flood's alert has become usual.
    let hour = std::iter::repeat_n(5_000, 720);
    let (found, analysis) = run_with(&models, 5_000, hour, Load { attack: Attack::Syns, rate: 4.0 });
    assert!(found.iter().any(|(kind, ..)| *kind == AlertKind::SynFlood), "{found:?}");
    assert!(found.iter().any(|(kind, ..)| *kind == AlertKind::HostAnomaly), "{found:?}");
    let scores = serde_json::to_value(analysis.baselines().scores()).expect("serializable");
    let counted = |kind: &str| -> f64 {
        let steps = scores["roles"][kind].as_object().unwrap_or_else(|| panic!("{kind}: {scores}"));
        steps.values().filter_map(serde_json::Value::as_f64).sum()
    };
    // Of three pairs one is a flooder and its victim.
    assert!((counted("client") - 2.0).abs() < 1e-9 && (counted("server") - 2.0).abs() < 1e-9, "{scores}");
    let state = analysis.baselines().state().unusual;
    assert!(state.len() == 3 && state.iter().all(|role| (role.hours - 0.75).abs() < 0.02), "{state:?}");
}

/// Why there was no alert can be said of who came near to one: half of a threshold is kept with the window, a tenth is not.
#[test]
fn windows_keep_who_came_near_to_a_threshold() {
    let near = |rate: f64| {
        let load = Load { attack: Attack::Syns, rate };
        let mut kept = Vec::new();
        let (found, _) = run_seen(&Models::default(), 5_000, regular(5_000), load, &mut |window| {
            let flooded = |near: &&HostMeasure| near.detector == "syn_flood" && near.host == victim();
            kept.extend(window.near.kept.iter().filter(flooded).cloned());
        });
        (found, kept)
    };
    let (threshold, kind) = Attack::Syns.threshold();
    let (found, kept) = near(threshold / 2.0);
    assert_eq!(found, Found::new());
    let most = kept.iter().map(HostMeasure::share).fold(0.0, f64::max);
    assert!((0.4..1.0).contains(&most), "{most}: {kept:?}");
    assert_eq!((&*kept[0].name, &*kept[0].unit), ("futile_syns", "SYNs"));
    let (found, kept) = near(threshold * 2.0);
    assert!(found.iter().any(|(found, ..)| Some(*found) == kind), "{found:?}");
    assert!(kept.iter().any(|near| near.share() >= 1.0), "what is reported is kept as well");
    let (_, kept) = near(threshold / 10.0);
    assert_eq!(kept, []);
}

fn victim() -> IpAddr {
    IpAddr::from(std::net::Ipv4Addr::from(LAN + 31))
}
