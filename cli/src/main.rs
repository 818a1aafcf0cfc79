//! The `waldo` command: append to a ring, follow it, look into it, verify it, and try the whole thing out.
//!
//! Exit codes: 0 success, 1 failure, 2 wrong usage, 3 records of the input were refused, 4 a given limit is
//! exceeded, 128 + signal after an interrupt (130 after Ctrl-C).

mod append;
mod attach;
mod bench;
mod capacity_args;
mod commands;
mod completions;
mod demo;
mod descriptors;
mod gc;
mod input;
mod inspect;
mod lag;
mod ls;
mod machine;
mod man;
mod moment;
mod output;
mod plain_file;
mod repair;
mod repeat;
mod replay;
mod resize;
mod rm;
mod serve;
mod snapshot;
mod stat;
mod tail;
mod top;
mod verify;
mod version;
mod writer_args;

use std::process::ExitCode;
use waldo_harness::processes::child::{Role, child_main};

/// What this program is in the processes that `waldo demo` starts.
const ROLES: [Role; 2] = [(demo::READER, demo::reader_main), (demo::WRITER, demo::writer_main)];

fn main() -> ExitCode {
    // The demo starts this program thousands of times: those processes skip everything they do not need.
    child_main(&ROLES).unwrap_or_else(commands::main)
}
