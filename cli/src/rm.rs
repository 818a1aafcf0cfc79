//! `waldo rm`: removes rings, and nothing else.

use crate::output::{Output, or_closed};
use std::path::PathBuf;
use waldo::writer::OpenError;
use waldo::writer::removal::{self, Removal, RemovalError};
use waldo_terminal::escape::harmless_lines;
use waldo_terminal::failure::Outcome;
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::{notice, units};

/// What a service keeps beside a ring: the numbers of its producers.
pub const EXTRAS: [&str; 2] = ["producers.journal", "producers.journal.new"];

/// Remove rings: their files, their control segments, and their directories if nothing else is in them.
///
/// Refuses a ring with a live writer, another user's ring, and a path that is a symbolic link. Removes only
/// files of the ring: its pages, metadata, lock and link, scratch files, and the journal of its producers.
/// All other files stay, and are listed.
///
/// The metadata is removed first, so that there is a whole ring or none, even if the command is interrupted;
/// run it again then to remove the rest. Attached readers read on in the pages that they have mapped, and are
/// told that the ring is gone.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo rm --dry-run /var/tmp/ring                  what would be removed
  waldo rm /var/tmp/ring

Exit codes: 0 removed; 1 not removed, or not all of it; 2 wrong usage.")]
pub struct Args {
    /// Directories of the rings.
    #[arg(required = true)]
    homes: Vec<PathBuf>,
    /// Only say what would be removed.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not report what was removed.
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    let mut out = Output::stdout(&interrupt)?;
    let mut outcome = Outcome::Done;
    // If the output cannot be written, the rest is removed nevertheless.
    let mut told = Ok(());
    for home in &args.homes {
        if let Some(signal) = interrupt.signal() {
            return Ok(Outcome::Interrupted(signal));
        }
        let result = if args.dry_run { removal::plan(home, &EXTRAS) } else { removal::remove(home, &EXTRAS) };
        match result {
            Ok(_) if args.quiet => {}
            Ok(removal) => told = told.and(out.print(&describe(&removal, home, args.dry_run))),
            Err(error) => {
                // The others are removed all the same.
                notice!("waldo: {}", explain(&error));
                outcome = Outcome::Bad;
            }
        }
    }
    or_closed(told)?;
    Ok(outcome)
}

/// What was removed, in words.
pub fn describe(removal: &Removal, home: &std::path::Path, planned: bool) -> String {
    let verb = if planned { "would remove" } else { "removed" };
    let what = if removal.is_ring { "the ring" } else { "the remains of a ring" };
    let mut text = format!(
        "{verb} {what} {}: {} files, {}\n",
        home.display(),
        removal.files.len(),
        units::bytes(removal.bytes)
    );
    if !removal.left.is_empty() {
        let left = removal.left.join(", ");
        text.push_str(&format!("  {left}: no file of this ring, and stays\n"));
    }
    harmless_lines(&text)
}

/// The error, in the words of this command where its remedy is another one.
pub fn explain(error: &RemovalError) -> String {
    match error {
        RemovalError::Open(OpenError::Locked { path, holder }) => {
            let home = path.parent().unwrap_or(path);
            format!("{} is not removed: {holder} is writing it; stop that writer first", home.display())
        }
        other => other.to_string(),
    }
}
