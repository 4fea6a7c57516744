//! Detection live: attacks with the tools that people use for them, and recordings that say the same as the live run.
//!
//! Each test makes its own network namespaces, and they run one after another.

#![expect(clippy::print_stdout, reason = "how soon each attack was reported")]

mod attacks;
mod fleet;
mod page;
mod same;

mod net;
