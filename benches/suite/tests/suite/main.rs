//! The measurements as a user meets them: real processes, real files.
#![allow(clippy::unwrap_used, reason = "a test, helpers included, fails by panicking")]

mod fanout;
mod measurements;
#[path = "../../../../cli/tests/cli/support.rs"]
#[allow(dead_code, reason = "nothing is appended or followed by hand here")]
mod support;

const PROGRAM: &str = env!("CARGO_BIN_EXE_waldo-suite");
