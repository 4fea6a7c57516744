//! The structure of a model's JSON, walked through before the library sees it: libxgboost follows indices in it without
//! a look. What XGBoost 3.4 writes is accepted and nothing else; a field that is not known here is refused.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The newest version whose models the library reads.
const NEWEST: [u32; 3] = [3, 4, 1];
/// Trees of a model.
const MAX_TREES: usize = 20_000;
/// Splits from a tree's root to a leaf.
const MAX_DEPTH: usize = 32;
/// A child that is none: its node is a leaf.
const NONE: i64 = -1;
/// The parent of a root.
const ROOTS_PARENT: i64 = i32::MAX as i64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    learner: Learner,
    version: [u32; 3],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Learner {
    #[serde(rename = "attributes")]
    _attributes: IgnoredAny,
    feature_names: Vec<String>,
    feature_types: Vec<String>,
    gradient_booster: GradientBooster,
    learner_model_param: LearnerParam,
    objective: Objective,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GradientBooster {
    model: Model,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    cats: Categories,
    gbtree_model_param: TreesParam,
    iteration_indptr: Vec<usize>,
    tree_info: Vec<usize>,
    trees: Vec<Tree>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Categories {
    enc: Vec<IgnoredAny>,
    feature_segments: Vec<IgnoredAny>,
    sorted_idx: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TreesParam {
    num_parallel_tree: String,
    num_trees: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LearnerParam {
    base_score: String,
    boost_from_average: String,
    num_class: String,
    num_feature: String,
    num_target: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Objective {
    name: String,
    softmax_multiclass_param: SoftmaxParam,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SoftmaxParam {
    num_class: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tree {
    base_weights: Vec<f32>,
    categories: Vec<IgnoredAny>,
    categories_nodes: Vec<IgnoredAny>,
    categories_segments: Vec<IgnoredAny>,
    categories_sizes: Vec<IgnoredAny>,
    default_left: Vec<u8>,
    id: usize,
    left_children: Vec<i64>,
    loss_changes: Vec<f32>,
    parents: Vec<i64>,
    right_children: Vec<i64>,
    split_conditions: Vec<f32>,
    split_indices: Vec<usize>,
    split_type: Vec<u8>,
    sum_hessian: Vec<f32>,
    tree_param: TreeParam,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TreeParam {
    num_deleted: String,
    num_feature: String,
    num_nodes: String,
    size_leaf_vector: String,
}

/// What the cuts of each input gained in training, of a model that was checked; each its share of all.
pub(super) fn importance(json: &[u8], inputs: usize) -> Result<Vec<f64>, String> {
    let file: File = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let mut gains = vec![0.0; inputs];
    for tree in &file.learner.gradient_booster.model.trees {
        let nodes = tree.left_children.iter().zip(&tree.split_indices).zip(&tree.loss_changes);
        // A leaf has no child, and cuts nothing.
        for ((_, input), gain) in nodes.filter(|((left, _), _)| **left >= 0) {
            *gains.get_mut(*input).ok_or_else(|| format!("input {input} of {inputs}"))? += f64::from(*gain);
        }
    }
    let all: f64 = gains.iter().sum();
    if all > 0.0 {
        gains.iter_mut().for_each(|gain| *gain /= all);
    }
    Ok(gains)
}

/// Whether this is a model with so many inputs and classes that the library can be given; if not, why not.
pub(super) fn structure(json: &[u8], inputs: usize, classes: usize) -> Result<(), String> {
    let file: File = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let File { learner, version } = file;
    if version > NEWEST {
        return Err(format!("it is of version {version:?}, newer than {NEWEST:?}"));
    }
    let Learner { learner_model_param: param, objective, gradient_booster, .. } = &learner;
    is("objective", &objective.name, "multi:softprob")?;
    is("booster", &gradient_booster.name, "gbtree")?;
    let (inputs_word, classes_word) = (inputs.to_string(), classes.to_string());
    is("num_feature", &param.num_feature, &inputs_word)?;
    is("num_class", &param.num_class, &classes_word)?;
    is("num_class", &objective.softmax_multiclass_param.num_class, &classes_word)?;
    is("num_target", &param.num_target, "1")?;
    is_flag("boost_from_average", &param.boost_from_average)?;
    base_score(&param.base_score, classes)?;
    if ![0, inputs].contains(&learner.feature_names.len()) || ![0, inputs].contains(&learner.feature_types.len()) {
        return Err("names or types of features that are not its inputs".to_owned());
    }
    let model = &gradient_booster.model;
    forest(model, classes)?;
    for (place, tree) in model.trees.iter().enumerate() {
        let walked =
            if tree.id == place { nodes(tree, inputs) } else { Err(format!("it says it is tree {}", tree.id)) };
        walked.map_err(|reason| format!("tree {place}: {reason}"))?;
    }
    Ok(())
}

fn is(what: &str, found: &str, expected: &str) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found:?}, not {expected:?}")) }
}

fn is_flag(what: &str, found: &str) -> Result<(), String> {
    if matches!(found, "0" | "1") { Ok(()) } else { Err(format!("{what} is {found:?}, not 0 or 1")) }
}

/// One number for all classes, or one each in brackets.
fn base_score(text: &str, classes: usize) -> Result<(), String> {
    let list = text.trim_start_matches('[').trim_end_matches(']');
    let numbers: Option<Vec<f32>> = list.split(',').map(|number| number.parse().ok()).collect();
    match numbers {
        Some(numbers) if [1, classes].contains(&numbers.len()) && numbers.iter().all(|n| n.is_finite()) => Ok(()),
        _ => Err(format!("base_score is {text:?}")),
    }
}

/// How the trees belong to rounds and classes.
fn forest(model: &Model, classes: usize) -> Result<(), String> {
    let Model { cats, gbtree_model_param: param, iteration_indptr, tree_info, trees } = model;
    if !(cats.enc.is_empty() && cats.feature_segments.is_empty() && cats.sorted_idx.is_empty()) {
        return Err("it has categorical features".to_owned());
    }
    is("num_parallel_tree", &param.num_parallel_tree, "1")?;
    is("num_trees", &param.num_trees, &trees.len().to_string())?;
    if trees.is_empty() || trees.len() > MAX_TREES || !trees.len().is_multiple_of(classes) {
        return Err(format!("{} trees for {classes} classes", trees.len()));
    }
    if tree_info.len() != trees.len() || tree_info.iter().enumerate().any(|(i, class)| *class != i % classes) {
        return Err("the trees' classes are out of order".to_owned());
    }
    let rounds = (0..=trees.len() / classes).map(|round| round * classes);
    if !iteration_indptr.iter().copied().eq(rounds) {
        return Err("the rounds' trees are out of order".to_owned());
    }
    Ok(())
}

/// Walks from the root: every node is met once, every index is in range.
fn nodes(tree: &Tree, inputs: usize) -> Result<(), String> {
    let count = tree.left_children.len();
    let lengths = [
        tree.base_weights.len(),
        tree.default_left.len(),
        tree.loss_changes.len(),
        tree.parents.len(),
        tree.right_children.len(),
        tree.split_conditions.len(),
        tree.split_indices.len(),
        tree.split_type.len(),
        tree.sum_hessian.len(),
    ];
    if count == 0 || lengths.iter().any(|length| *length != count) {
        return Err("its lists differ in length".to_owned());
    }
    let TreeParam { num_deleted, num_feature, num_nodes, size_leaf_vector } = &tree.tree_param;
    is("num_deleted", num_deleted, "0")?;
    is("num_feature", num_feature, &inputs.to_string())?;
    is("num_nodes", num_nodes, &count.to_string())?;
    is("size_leaf_vector", size_leaf_vector, "1")?;
    let categories = [&tree.categories, &tree.categories_nodes, &tree.categories_segments, &tree.categories_sizes];
    if categories.iter().any(|list| !list.is_empty()) || tree.split_type.iter().any(|kind| *kind != 0) {
        return Err("it splits by categories".to_owned());
    }
    if tree.split_indices.iter().any(|index| *index >= inputs) || tree.default_left.iter().any(|flag| *flag > 1) {
        return Err("a split by an input that there is not".to_owned());
    }
    let numbers = [&tree.base_weights, &tree.loss_changes, &tree.split_conditions, &tree.sum_hessian];
    if numbers.iter().any(|list| list.iter().any(|number| !number.is_finite())) {
        return Err("a number without end".to_owned());
    }
    let mut met = vec![false; count];
    let mut next = vec![(0_usize, ROOTS_PARENT, 0_usize)];
    while let Some((node, parent, depth)) = next.pop() {
        if depth > MAX_DEPTH || std::mem::replace(&mut met[node], true) || tree.parents[node] != parent {
            return Err(format!("node {node} is in the wrong place"));
        }
        let children = [tree.left_children[node], tree.right_children[node]];
        if children == [NONE; 2] {
            continue;
        }
        for child in children {
            let place = usize::try_from(child).ok().filter(|place| *place < count);
            let Some(place) = place else { return Err(format!("node {node} has no child {child}")) };
            next.push((place, node as i64, depth + 1));
        }
    }
    if met.contains(&false) { Err("nodes that no path leads to".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::structure;

    /// Trained by XGBoost's Python package on made-up rows: 4 inputs, 3 classes, one round.
    const SMALL: &str = include_str!("small.json");

    #[test]
    fn what_xgboost_writes_is_accepted() {
        assert_eq!(structure(SMALL.as_bytes(), 4, 3), Ok(()));
    }

    #[test]
    fn what_the_library_would_follow_into_nowhere_is_refused() {
        for (good, bad) in [
            ("\"left_children\":[1,", "\"left_children\":[0,"),
            ("\"left_children\":[1,", "\"left_children\":[99,"),
            ("\"left_children\":[1,", "\"left_children\":[-7,"),
            ("\"parents\":[2147483647,0", "\"parents\":[2147483647,1"),
            ("\"split_indices\":[0", "\"split_indices\":[4"),
            ("\"tree_info\":[0,1", "\"tree_info\":[0,7"),
            ("\"iteration_indptr\":[0,3", "\"iteration_indptr\":[0,9"),
            ("\"num_nodes\":\"3\"", "\"num_nodes\":\"5\""),
            ("\"num_trees\":\"3\"", "\"num_trees\":\"900000000\""),
            ("\"num_class\":\"3\"", "\"num_class\":\"2\""),
            ("\"num_feature\":\"4\"", "\"num_feature\":\"400000000\""),
            ("[3,4,1]", "[4,0,0]"),
            ("\"trees\"", "\"treez\""),
            ("multi:softprob", "rank:pairwise"),
            ("\"gbtree\"", "\"dart\""),
        ] {
            assert!(SMALL.contains(good), "{good}");
            assert!(structure(SMALL.replace(good, bad).as_bytes(), 4, 3).is_err(), "{bad}");
        }
        assert!(structure(&SMALL.as_bytes()[..SMALL.len() / 2], 4, 3).is_err());
        assert!(structure(SMALL.as_bytes(), 5, 3).is_err());
    }
}
