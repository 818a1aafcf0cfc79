//! The `waldo` command: append to a ring, follow it, look into it, verify it, and try the whole thing out.
//!
//! Exit codes: 0 fine, 1 failure, 2 wrong usage, 3 records of the input were refused, 128 + signal after an
//! interrupt (130 after Ctrl-C).

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Some commands start this program thousands of times: those processes skip everything they do not need.
    if let Some(code) = cli::crowd::child::child_main() {
        return code;
    }
    cli::main()
}
