//! Where traffic comes from.

pub mod capture;
