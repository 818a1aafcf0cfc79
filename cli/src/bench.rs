//! `waldo bench`, which has moved: the measurements are a program of their own.

use std::ffi::OsString;
use waldo_terminal::failure::{Outcome, Usage};

/// The measurements are the program `waldo-suite` now.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// Whatever it was asked for.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Says where the measurements went.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let words = args.args.iter().map(|word| word.to_string_lossy());
    let words: Vec<_> = ["cargo run --release -p waldo-suite --".into()].into_iter().chain(words).collect();
    let command = words.join(" ");
    Err(Usage(format!(
        "the measurements are a program of their own now, in a checkout of Waldo: `{command}`"
    ))
    .into())
}
