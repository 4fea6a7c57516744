//! What a row weighs: captures with many rows say little more than those with few, rare classes are learned as well as
//! common ones, and harmless traffic weighs as much as all attacks together.

use std::collections::BTreeMap;

/// The weight of each row, by its capture and class; 1 on average. Class 0 is harmless.
pub(super) fn weights(rows: &[(usize, u16)]) -> Vec<f32> {
    let mut counts: BTreeMap<(usize, u16), f64> = BTreeMap::new();
    for row in rows {
        *counts.entry(*row).or_default() += 1.0;
    }
    // A row weighs one over the root of its capture's rows, so the capture weighs their root.
    let mut sums: BTreeMap<u16, f64> = BTreeMap::new();
    for ((_, class), rows) in &counts {
        *sums.entry(*class).or_default() += rows.sqrt();
    }
    let attacks: f64 = sums.iter().filter(|(class, _)| **class != 0).map(|(_, sum)| sum.sqrt()).sum();
    let half = rows.len() as f64 / 2.0;
    let weight = |(capture, class): &(usize, u16)| {
        let (rows, sum) = (counts[&(*capture, *class)], sums[class]);
        let of_class = if *class == 0 { half } else { half * sum.sqrt() / attacks };
        (of_class / sum / rows.sqrt()) as f32
    };
    rows.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::weights;

    #[test]
    fn captures_classes_and_harmless_rows_weigh_by_their_roots() {
        // Harmless: 16 rows of capture 0. Class 1: 9 rows of capture 1 and 1 of capture 2. Class 2: 1 row of capture 3.
        let rows = [vec![(0, 0); 16], vec![(1, 1); 9], vec![(2, 1)], vec![(3, 2)]].concat();
        let weights: Vec<f64> = weights(&rows).into_iter().map(f64::from).collect();
        let sum = |from: usize, to: usize| weights[from..to].iter().sum::<f64>();
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-4, "{a} is not {b}");
        near(sum(0, 27), 27.0);
        near(sum(0, 16), sum(16, 27));
        // Nine times the rows, three times the weight.
        near(sum(16, 25), 3.0 * weights[25]);
        // Four times the sum of roots, twice the weight.
        near(sum(16, 26), 2.0 * weights[26]);
    }
}
