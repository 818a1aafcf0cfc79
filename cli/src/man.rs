//! `waldo man`: the manual pages.

use crate::output::Output;
use anyhow::Context;
use clap::Command;
use clap_mangen::Man;
use std::io;
use std::path::{Path, PathBuf};
use waldo_terminal::failure::Outcome;
use waldo_terminal::interrupt::Interrupt;

/// Write the manual pages: one for `waldo`, and one for each of its commands.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo man ~/.local/share/man/man1 && man waldo-tail
  waldo man | man -l -")]
pub struct Args {
    /// Directory for the pages, made if it does not exist. Without it, the page for `waldo` goes to standard
    /// output.
    dir: Option<PathBuf>,
}

/// Runs the command. `program` is the whole command line.
pub fn run(args: &Args, program: Command) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    // The page is about this version; which commit that was is for bug reports.
    let version = env!("CARGO_PKG_VERSION");
    let mut program = program.version(version).long_version(version).disable_help_subcommand(true);
    program.build();
    let Some(dir) = &args.dir else {
        let mut out = Output::stdout(&interrupt)?;
        out.buffer().extend(page(&Man::new(program))?);
        out.flush()?;
        return Ok(Outcome::Done);
    };
    std::fs::create_dir_all(dir)
        .and_then(|()| write_all(program, dir))
        .with_context(|| format!("cannot write the manual pages to {}", dir.display()))?;
    Ok(Outcome::Done)
}

fn write_all(command: Command, dir: &Path) -> io::Result<()> {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        write_all(inner.clone(), dir)?;
    }
    let man = Man::new(command);
    std::fs::write(dir.join(man.get_filename()), page(&man)?)
}

/// One page. The examples and tables under the options keep their lines, which roff would run together.
fn page(man: &Man) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    man.render(&mut text)?;
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    let Some((before, extra)) = text.split_once(".SH EXTRA\n") else { return Ok(text.into_bytes()) };
    let (extra, after) = extra.split_once("\n.SH").map_or((extra, ""), |(extra, after)| (extra, after));
    let after = if after.is_empty() { String::new() } else { format!("\n.SH{after}") };
    Ok(format!("{before}.SH NOTES\n.nf\n{}\n.fi{after}\n", extra.trim_end()).into_bytes())
}
