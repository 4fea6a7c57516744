//! Helpers that several test targets share.

pub mod netns;
