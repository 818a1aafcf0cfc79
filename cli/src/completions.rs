//! `waldo completions`: the script with which a shell completes the command line.

use crate::output::Output;
use clap::Command;
use clap_complete::{Shell, generate};
use waldo_terminal::failure::Outcome;
use waldo_terminal::interrupt::Interrupt;

/// Print the completions for a shell.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo completions bash > ~/.local/share/bash-completion/completions/waldo
  waldo completions zsh > ~/.zfunc/_waldo               with ~/.zfunc in fpath, before compinit
  waldo completions fish > ~/.config/fish/completions/waldo.fish")]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command. `program` is the whole command line.
pub fn run(args: Args, program: &mut Command) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    let mut out = Output::stdout(&interrupt)?;
    generate(args.shell, program, "waldo", out.buffer());
    out.flush()?;
    Ok(Outcome::Done)
}
