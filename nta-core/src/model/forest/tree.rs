//! One tree of the forest: grown from a sample, walked by a row, and as a list that a file can hold.

use rand::{Rng, RngExt as _};

/// Euler's constant.
const EULER: f64 = 0.577_215_664_901_532_9;

/// Nodes in pre-order: the left child of a cut is the next node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Node {
    /// Rows of the sample that came here.
    rows: u32,
    /// Cuts that are still expected at this node: c of its rows.
    expected: f64,
    /// `None` where no cut follows.
    cut: Option<Cut>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Cut {
    feature: u16,
    /// Rows up to this value go left.
    value: f32,
    /// Place of the right child, always behind this node.
    right: u32,
}

/// A node as a file has it, in pre-order, so that no list of them can have a cycle or a node twice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Entry {
    /// A cut; its left subtree follows, then its right one.
    Cut(u16, f32),
    /// The end of a path, with so many rows of the sample.
    Leaf(u32),
}

/// c(n) of the paper's equation 1: cuts that isolating one of n rows takes on average. 0 for one row, 1 for two, as
/// equation 2 of its extended version (TKDD 2012) has it.
pub(super) fn expected_cuts(rows: u32) -> f64 {
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let n = f64::from(rows);
            2.0 * ((n - 1.0).ln() + EULER) - 2.0 * (n - 1.0) / n
        }
    }
}

/// Cuts after which a tree of so many rows is not grown further: the height that a balanced one has.
pub(super) const fn max_depth(samples: u32) -> u32 {
    if samples <= 1 { 0 } else { (samples - 1).ilog2() + 1 }
}

impl Tree {
    /// Grows a tree from rows of one width.
    pub(super) fn grow(rows: &mut [&[f32]], random: &mut impl Rng) -> Self {
        let mut tree = Self { nodes: Vec::with_capacity(rows.len() * 2) };
        let depth = max_depth(rows.len() as u32);
        let mut features: Vec<u16> = (0..rows.first().map_or(0, |row| row.len()) as u16).collect();
        tree.grow_below(rows, depth, &mut features, random);
        tree
    }

    fn grow_below(&mut self, rows: &mut [&[f32]], depth: u32, features: &mut [u16], random: &mut impl Rng) {
        let at = self.nodes.len();
        self.nodes.push(Node::of(rows.len() as u32));
        if depth == 0 || rows.len() <= 1 {
            return;
        }
        let Some((feature, value)) = draw(rows, features, random) else { return };
        let left = partition(rows, |row| row[usize::from(feature)] <= value);
        let (left, right) = rows.split_at_mut(left);
        self.grow_below(left, depth - 1, features, random);
        self.nodes[at].cut = Some(Cut { feature, value, right: self.nodes.len() as u32 });
        self.grow_below(right, depth - 1, features, random);
    }

    /// Cuts until the row is alone, those expected below a leaf with several rows included.
    pub(super) fn cuts(&self, row: &[f32]) -> f64 {
        let (mut at, mut depth) = (0, 0.0);
        while let Some(cut) = self.nodes[at].cut {
            at = cut.next(at, row);
            depth += 1.0;
        }
        depth + self.nodes[at].expected
    }

    /// As [`Self::cuts`], and adds to each feature the cuts that it saved.
    pub(super) fn credit(&self, row: &[f32], saved: &mut [f64]) -> f64 {
        let (mut at, mut depth) = (0, 0.0);
        while let Some(cut) = self.nodes[at].cut {
            let next = cut.next(at, row);
            saved[usize::from(cut.feature)] += self.nodes[at].expected - 1.0 - self.nodes[next].expected;
            at = next;
            depth += 1.0;
        }
        depth + self.nodes[at].expected
    }

    /// Counts the cuts of each feature.
    pub(super) fn count_cuts(&self, by_feature: &mut [u64]) {
        for cut in self.nodes.iter().filter_map(|node| node.cut) {
            if let Some(cuts) = by_feature.get_mut(usize::from(cut.feature)) {
                *cuts += 1;
            }
        }
    }

    /// The nodes in pre-order.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let entry = |node: &Node| match node.cut {
            Some(cut) => Entry::Cut(cut.feature, cut.value),
            None => Entry::Leaf(node.rows),
        };
        self.nodes.iter().map(entry).collect()
    }
}

impl Cut {
    fn next(&self, at: usize, row: &[f32]) -> usize {
        if row[usize::from(self.feature)] <= self.value { at + 1 } else { self.right as usize }
    }
}

impl Node {
    fn of(rows: u32) -> Self {
        Self { rows, expected: expected_cuts(rows), cut: None }
    }
}

/// A feature in which the rows differ, each with the same chance, and a value between its least and its greatest.
/// `None` where all rows are alike.
fn draw(rows: &[&[f32]], features: &mut [u16], random: &mut impl Rng) -> Option<(u16, f32)> {
    for drawn in 0..features.len() {
        features.swap(drawn, random.random_range(drawn..features.len()));
        let feature = features[drawn];
        let values = || rows.iter().map(|row| row[usize::from(feature)]);
        let (least, most) = (values().fold(f32::MAX, f32::min), values().fold(f32::MIN, f32::max));
        if least < most {
            let value = f64::from(least) + random.random::<f64>() * (f64::from(most) - f64::from(least));
            // Rounding must not leave the right side empty.
            let value = value as f32;
            return Some((feature, if value < most { value } else { least }));
        }
    }
    None
}

/// Moves the rows for which it is true to the front, and says how many they are.
fn partition<'a>(rows: &mut [&'a [f32]], is_left: impl Fn(&'a [f32]) -> bool) -> usize {
    let mut left = 0;
    for at in 0..rows.len() {
        if is_left(rows[at]) {
            rows.swap(at, left);
            left += 1;
        }
    }
    left
}

/// Why a list of entries is no tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// It ends before the tree does.
    #[error("it ends in the middle of a path")]
    Short,
    /// The tree ends before it does.
    #[error("{0} entries belong to no path")]
    Long(usize),
    /// A path has more cuts than a tree of this sample can.
    #[error("a path has more than {0} cuts")]
    Deep(u32),
    /// A feature that there is not.
    #[error("a cut by feature {0}, there are {1}")]
    Feature(u16, usize),
    /// A value that no cut has.
    #[error("a cut at a value that is not finite")]
    Value,
    /// Leaves whose rows are not those of the sample.
    #[error("the leaves hold {0} rows, the sample had {1}")]
    Rows(u64, u32),
}

impl Tree {
    /// The tree that a list of entries describes.
    pub(super) fn from_entries(entries: &[Entry], width: usize, samples: u32) -> Result<Self, TreeError> {
        let mut nodes: Vec<Node> = Vec::with_capacity(entries.len().min(2 * samples as usize));
        // Cuts on the path to the next entry, each with its place, and whether it goes on to the right.
        let mut path: Vec<(usize, bool)> = Vec::new();
        let deepest = max_depth(samples);
        for (at, entry) in entries.iter().enumerate() {
            if at > 0 && path.is_empty() {
                return Err(TreeError::Long(entries.len() - at));
            }
            match *entry {
                Entry::Cut(feature, _) if usize::from(feature) >= width => {
                    return Err(TreeError::Feature(feature, width));
                }
                Entry::Cut(_, value) if !value.is_finite() => return Err(TreeError::Value),
                Entry::Cut(..) if path.len() >= deepest as usize => return Err(TreeError::Deep(deepest)),
                Entry::Cut(feature, value) => {
                    nodes.push(Node { cut: Some(Cut { feature, value, right: 0 }), ..Node::of(0) });
                    path.push((at, false));
                }
                Entry::Leaf(rows) => {
                    nodes.push(Node::of(rows));
                    // This ends its own path, and those to whose right it lies.
                    while let Some((_, true)) = path.last() {
                        path.pop();
                    }
                    if let Some((cut, is_right)) = path.last_mut() {
                        *is_right = true;
                        let right = nodes.len() as u32;
                        if let Some(cut) = &mut nodes[*cut].cut {
                            cut.right = right;
                        }
                    }
                }
            }
        }
        if nodes.is_empty() || !path.is_empty() {
            return Err(TreeError::Short);
        }
        let rows = sum_up(&mut nodes);
        if rows != u64::from(samples) {
            return Err(TreeError::Rows(rows, samples));
        }
        Ok(Self { nodes })
    }
}

/// Gives every cut the rows of its children, and says how many the tree has.
fn sum_up(nodes: &mut [Node]) -> u64 {
    for at in (0..nodes.len()).rev() {
        if let Some(cut) = nodes[at].cut {
            // Children stand behind their parent, so they are summed up already.
            let rows = nodes[at + 1].rows.saturating_add(nodes[cut.right as usize].rows);
            nodes[at] = Node { cut: Some(cut), ..Node::of(rows) };
        }
    }
    nodes.first().map_or(0, |root| root.rows.into())
}
