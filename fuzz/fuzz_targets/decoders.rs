//! libFuzzer over everything that decodes bytes and does nothing else.
#![no_main]

#[path = "../../tests/fuzz/decoders.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|input: &[u8]| decoders::run(input));
