//! The list of scenarios, varied by the seed: the same seed gives the same plan.

use fastrand::Rng;
use serde_json::{Value, json};

use super::attacks::{self, Attack};
use super::benign::{self, Load};
use super::busy;
use super::site::Site;

/// One capture to make.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// Of captured time.
    pub(crate) seconds: u32,
    pub(crate) site: Site,
    pub(crate) loads: Vec<Load>,
    /// In order of time; none in a benign scenario.
    pub(crate) attacks: Vec<Attack>,
}

/// Seconds of traffic before the first attack, at least: baselines and address tables need something to stand on.
const BEFORE: u32 = 15;
/// Seconds after the last attack's limit.
const AFTER: u32 = 10;
/// Between two attacks.
const BETWEEN: u32 = 12;

/// Every scenario of this seed, in the order of the manifest; the busy ones are at most `longest` seconds.
pub(crate) fn plan(seed: u64, longest: u32) -> Vec<Scenario> {
    let mut all = Vec::new();
    for recipe in attacks::RECIPES {
        for number in 1..=recipe.alone {
            all.push(attacked(seed, &format!("{}-{}-{number}", recipe.kind, recipe.tool), &[recipe], number));
        }
    }
    for (name, first, second) in attacks::PAIRS {
        let find = |(kind, tool): (&str, &str)| {
            attacks::RECIPES.iter().find(|one| one.kind == kind && one.tool == tool).copied()
        };
        let recipes: Vec<_> = [*first, *second].into_iter().filter_map(find).collect();
        all.push(attacked(seed, name, &recipes, 1));
    }
    for mix in benign::MIXES {
        for number in 1..=mix.count {
            let name = format!("benign-{}-{number}", mix.name);
            let mut rng = rng(seed, &name);
            let outside = rng.bool();
            let site = Site::draw(&mut rng, outside);
            let seconds = rng.u32(130..=200);
            let loads = benign::loads(&mut rng, &site, mix.loads, seconds);
            all.push(Scenario { name, seconds, site, loads, attacks: Vec::new() });
        }
    }
    for busy in busy::BUSY {
        let name = format!("busy-{}", busy.name);
        let mut rng = rng(seed, &name);
        let site = busy.site(&mut rng);
        let seconds = longest.min(busy::SECONDS);
        let loads = busy.loads(&mut rng, &site, seconds);
        all.push(Scenario { name, seconds, site, loads, attacks: Vec::new() });
    }
    all
}

/// Each scenario has its own sequence, so that one more in the list changes none of the others.
fn rng(seed: u64, name: &str) -> Rng {
    // FNV-1a: spreads similar names, and is the same everywhere.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    Rng::with_seed(hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn attacked(seed: u64, name: &str, recipes: &[&attacks::Recipe], number: u32) -> Scenario {
    let mut rng = rng(seed, name);
    // Who needs the LAN decides for all attacks of the scenario.
    let may_be_outside = recipes.iter().all(|recipe| recipe.may_come_from_outside);
    let outside = may_be_outside && rng.u8(0..3) == 0;
    let site = Site::draw(&mut rng, outside);
    let mut attacks = Vec::new();
    let mut at = BEFORE + rng.u32(0..20);
    for recipe in recipes {
        let attack = (recipe.make)(&mut rng, &site, number);
        let limit = attack.limit;
        attacks.push(Attack { at, ..attack });
        at += limit + BETWEEN;
    }
    let seconds = (at - BETWEEN + AFTER + rng.u32(0..20)).max(90);
    let mix = benign::around(&mut rng, recipes.iter().any(|recipe| recipe.kind == "arpspoof"));
    let loads = benign::loads(&mut rng, &site, &mix, seconds);
    Scenario { name: name.to_owned(), seconds, site, loads, attacks }
}

impl Scenario {
    /// For the manifest and `--list`.
    pub(crate) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "seconds": self.seconds,
            "site": self.site.json(),
            "loads": self.loads.iter().map(Load::json).collect::<Vec<_>>(),
            "attacks": self.attacks.iter().map(Attack::json).collect::<Vec<_>>(),
        })
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let link = &self.site.link;
        let loads: Vec<_> = self.loads.iter().map(|load| load.kind).collect();
        let mut line = format!(
            "{:<28} {:>4} s  {}.0/24{}  {} ms ±{} {}/10000 lost {} Mbit/s  [{}]",
            self.name,
            self.seconds,
            self.site.prefix(),
            if self.site.v6.is_some() { " +v6" } else { "" },
            link.delay_ms,
            link.jitter_ms,
            link.loss,
            link.mbit_s,
            loads.join(" "),
        );
        for attack in &self.attacks {
            line += &format!("\n    at {:>3} s, at most {} s: {}", attack.at, attack.limit, attack.line);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn a_seed_is_a_plan() {
        let texts = |seed| plan(seed, u32::MAX).iter().map(|one| one.json().to_string()).collect::<Vec<_>>();
        assert_eq!(texts(1), texts(1));
        assert!(texts(1).iter().zip(texts(2)).all(|(one, other)| *one != other));
    }

    #[test]
    fn a_plan_is_large_enough_and_names_are_unique() {
        for seed in 0..20 {
            let plan = plan(seed, u32::MAX);
            let names: BTreeSet<_> = plan.iter().map(|one| &one.name).collect();
            assert_eq!(names.len(), plan.len());
            assert!(plan.len() >= 60, "{}", plan.len());
            let seconds: u32 = plan.iter().map(|one| one.seconds).sum();
            assert!(seconds >= 7_200, "{seconds}");
        }
    }

    #[test]
    fn every_attack_has_two_tools_three_times_each_and_none_that_is_kept_for_testing() {
        let plan = plan(1, u32::MAX);
        let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for attack in plan.iter().flat_map(|one| &one.attacks) {
            *seen.entry((attack.kind, attack.tool)).or_default() += 1;
        }
        for kind in attacks::KINDS {
            let tools = seen.keys().filter(|(one, _)| *one == kind).count();
            assert!(tools >= 2, "{kind}: {tools} tools");
        }
        for ((kind, tool), count) in seen {
            assert!(count >= 3, "{kind} by {tool}: {count}");
        }
        for scenario in plan {
            let text = scenario.json().to_string();
            for kept in
                ["masscan", "medusa", "ettercap", "dns2tcp", "mausezahn", "netsniff", "slowloris.py", "-m slowloris"]
            {
                assert!(!text.contains(kept), "{}: {kept}", scenario.name);
            }
        }
    }

    #[test]
    fn attacks_lie_within_their_capture_one_after_another() {
        for scenario in plan(3, u32::MAX) {
            let mut free = 10;
            for attack in &scenario.attacks {
                assert!(attack.at >= free, "{}", scenario.name);
                free = attack.at + attack.limit;
            }
            assert!(free + 5 <= scenario.seconds, "{}", scenario.name);
        }
    }
}
