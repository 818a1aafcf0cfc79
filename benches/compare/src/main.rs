//! Waldo's fan-out compared with what people use for that today: the same records go to 1, 10, 100 and 1,000
//! subscriber processes on one machine, through each system in turn. README.md says what is compared, how,
//! and what is unfair about it.
//!
//! Reading order: `args`; `peers`, where each system is one file behind two small traits; then `harness`,
//! which is the same for all of them.

mod args;
mod harness;
mod peers;
mod system;

use clap::Parser;
use harness::round::Interrupted;
use std::process::ExitCode;
use waldo_terminal::failure::{Outcome, exit_code};
use waldo_terminal::notice;

fn main() -> ExitCode {
    // Before clap, so that a subscriber process costs little more than subscribing does.
    if let Some(code) = harness::role::main() {
        return code;
    }
    let outcome = harness::scenario::run(&args::Args::parse()).map(|()| Outcome::Done);
    exit_code(outcome.or_else(|error| match error.downcast_ref::<Interrupted>() {
        Some(Interrupted(signal)) => {
            notice!("waldo-compare: {error}");
            Ok(Outcome::Interrupted(*signal))
        }
        None => Err(error),
    }))
}
