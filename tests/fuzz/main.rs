//! Hostile bytes: random changes of inputs that are in order, and of inputs that were interesting once.
//!
//! ```text
//! # some seconds
//! cargo test --test fuzz
//! # so many for the decoders, fewer of the slow ones
//! WALDO_FUZZ=100000000 cargo test --release --test fuzz -- --nocapture
//! # libFuzzer, guided by coverage
//! cd fuzz && ./run decoders
//! ```
//!
//! The command over damaged rings has a test of its own, `cli/tests/fuzz`, with the same inputs and options.
//! `WALDO_FUZZ_SEED=N` tries the same inputs again. An input that fails is printed, and kept under
//! `target/tmp`; put it into `fuzz/corpus/TARGET/` once it is mended, and every run tries it first.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attach;
mod damage;
mod decoders;
#[path = "../power_cuts/dice.rs"]
#[allow(dead_code, reason = "no times are thrown here")]
mod dice;
mod inputs;
#[path = "../power_cuts/payload.rs"]
mod payload;
mod recovery;
mod sample;

use inputs::Target;

/// The repository.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn decoders_take_any_bytes() {
    Target { name: "decoders", run: decoders::run, seeds: decoders::seeds(), few: 400_000, one_in: 1 }.go();
}

#[test]
fn recovery_takes_any_files() {
    Target { name: "recovery", run: recovery::run, seeds: inputs::damages(), few: 400, one_in: 1_000 }.go();
}

#[test]
fn readers_take_any_segment() {
    Target { name: "attach", run: attach::run, seeds: inputs::damages(), few: 800, one_in: 1_000 }.go();
}
