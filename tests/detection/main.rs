//! What detection is built on, against what other tools compute.

mod features;
