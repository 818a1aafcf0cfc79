//! libFuzzer over readers of a damaged ring and of a segment that changes.
#![no_main]
#![allow(dead_code, reason = "the other targets use the rest")]

#[path = "../../tests/fuzz/attach.rs"]
mod attach;
#[path = "../../tests/fuzz/damage.rs"]
mod damage;
#[path = "../../tests/power_cuts/dice.rs"]
mod dice;
#[path = "../../tests/power_cuts/payload.rs"]
mod payload;
#[path = "../../tests/fuzz/sample.rs"]
mod sample;

libfuzzer_sys::fuzz_target!(|input: &[u8]| attach::run(input));
