//! libFuzzer over a writer that opens a damaged ring.
#![no_main]
#![allow(dead_code, reason = "the other targets use the rest")]

#[path = "../../tests/fuzz/recovery.rs"]
mod recovery;
#[path = "../../tests/fuzz/damage.rs"]
mod damage;
#[path = "../../tests/power_cuts/dice.rs"]
mod dice;
#[path = "../../tests/power_cuts/payload.rs"]
mod payload;
#[path = "../../tests/fuzz/sample.rs"]
mod sample;

libfuzzer_sys::fuzz_target!(|input: &[u8]| recovery::run(input));
