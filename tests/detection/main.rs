//! Detection: bundled cases, labelled captures, synthetic days, and what it is built on, against what other tools compute.

mod cases;
mod day;
mod evaluate;
mod facts;
mod features;
mod times;
mod traffic;
