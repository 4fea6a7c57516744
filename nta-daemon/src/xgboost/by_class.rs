//! The trees of one class of a model. The library computes contributions to all classes at once; who asks why a host was taken for
//! one of them needs the trees of that one, one in as many as there are classes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    learner: Learner<'a>,
    #[serde(borrow)]
    version: &'a RawValue,
}

#[derive(Deserialize)]
struct Learner<'a> {
    #[serde(borrow)]
    gradient_booster: Booster<'a>,
    learner_model_param: Param,
}

#[derive(Deserialize)]
struct Booster<'a> {
    #[serde(borrow)]
    model: Model<'a>,
}

#[derive(Deserialize)]
struct Model<'a> {
    #[serde(borrow)]
    cats: &'a RawValue,
    tree_info: Vec<usize>,
    #[serde(borrow)]
    trees: Vec<BTreeMap<&'a str, &'a RawValue>>,
}

#[derive(Deserialize)]
struct Param {
    num_feature: String,
}

/// For each class a model of one number that has its trees; `json` is that of a whole model, which was checked.
pub(super) fn models(json: &[u8], classes: usize) -> serde_json::Result<Vec<String>> {
    let File { learner, version } = serde_json::from_slice(json)?;
    let Learner { gradient_booster: Booster { model }, learner_model_param: Param { num_feature } } = learner;
    let of_class = |class: usize| {
        let of_class = model.trees.iter().zip(&model.tree_info).filter(|(_, of)| **of == class);
        let trees: Vec<String> = of_class.enumerate().map(|(at, (tree, _))| numbered(tree, at)).collect();
        let (count, info) = (trees.len(), vec!["0"; trees.len()].join(","));
        let ends = (0..=count).map(|at| at.to_string()).collect::<Vec<_>>().join(",");
        let (cats, trees) = (model.cats, trees.join(","));
        format!(
            r#"{{"learner":{{"attributes":{{}},"feature_names":[],"feature_types":[],"gradient_booster":{{"model":{{"cats":{cats},"gbtree_model_param":{{"num_parallel_tree":"1","num_trees":"{count}"}},"iteration_indptr":[{ends}],"tree_info":[{info}],"trees":[{trees}]}},"name":"gbtree"}},"learner_model_param":{{"base_score":"[0E0]","boost_from_average":"0","num_class":"0","num_feature":"{num_feature}","num_target":"1"}},"objective":{{"name":"reg:squarederror","reg_loss_param":{{"scale_pos_weight":"1"}}}}}},"version":{version}}}"#
        )
    };
    Ok((0..classes).map(of_class).collect())
}

/// A tree as it was, under a number of its own.
fn numbered(tree: &BTreeMap<&str, &RawValue>, at: usize) -> String {
    let mut text = String::from("{");
    for (name, value) in tree.iter().filter(|(name, _)| **name != "id") {
        let _infallible = write!(text, r#""{name}":{value},"#);
    }
    text + &format!(r#""id":{at}}}"#)
}
