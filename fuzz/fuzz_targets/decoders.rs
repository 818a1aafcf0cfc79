//! libFuzzer over everything that decodes bytes and does nothing else.
#![no_main]
#![allow(dead_code, reason = "seeds are for the test of the same name")]

#[path = "../../tests/fuzz/decoders.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|input: &[u8]| decoders::run(input));
