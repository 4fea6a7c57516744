//! Learned judges of hosts: trained elsewhere, read from files, asked by detectors.

pub mod forest;
