//! The command over damaged rings: inputs and options are those of `tests/fuzz`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command;
#[path = "../../../tests/fuzz/damage.rs"]
#[allow(dead_code, reason = "the other targets use the rest")]
mod damage;
#[path = "../../../tests/power_cuts/dice.rs"]
#[allow(dead_code, reason = "no times are thrown here")]
mod dice;
#[path = "../../../tests/fuzz/inputs.rs"]
mod inputs;
#[path = "../../../tests/power_cuts/payload.rs"]
#[allow(dead_code, reason = "the other targets use the rest")]
mod payload;
#[path = "../../../tests/fuzz/sample.rs"]
#[allow(dead_code, reason = "the other targets use the rest")]
mod sample;

use inputs::Target;

/// The repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn the_command_takes_any_ring() {
    Target { name: "command", run: command::run, seeds: inputs::damages(), few: 40, one_in: 20_000 }.go();
}
