//! `waldo resize`: changes the size of a ring that has no writer.

mod words;

use crate::capacity_args::CapacityArgs;
use crate::output::{Output, or_closed};
use crate::writer_args::ring_meta;
use anyhow::Context;
use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use waldo::writer::OpenError;
use waldo::writer::resize::{self, Resize, ResizeError, RingGeometry};
use waldo_harness::ring::geometry;
use waldo_terminal::escape::harmless_lines;
use waldo_terminal::failure::{Ended, Outcome, Usage};
use waldo_terminal::interrupt::{Interrupt, Ready};
use waldo_terminal::units::parse_size;

/// Longest answer that is read.
const ANSWER_MAX: usize = 256;

/// Change the size of a ring that no writer has open.
///
/// Shows the old and the new size, how much disk the ring takes, and which records are dropped if it gets
/// smaller: whole pages, the oldest first. Then it asks; without a terminal it needs --yes. Records that stay
/// keep their numbers, times and pages. An existing page keeps its length until it is trimmed, so after a
/// change of --page-size the ring has pages of both lengths.
///
/// Readers may stay attached. A reader that has not read the dropped records yet is lapped, as by any writer.
///
/// When the command returns, the change survives power loss. If it is interrupted, the ring still opens, with
/// its old size or its new one; run the command again then. If a writer opened the ring between the question
/// and the answer, nothing is changed.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo resize --ring-size 32 --dry-run /var/tmp/ring       what would change; changes nothing
  waldo resize --size 10G /var/tmp/ring
  waldo resize --keep 6h --rate 10MB --yes /var/tmp/ring    as large as that takes
  systemctl stop waldo && waldo resize --size 10G --yes /var/lib/waldo/ring && systemctl start waldo

Exit codes: 0 changed, or nothing to change; 1 not changed, or the answer was no; 2 wrong usage; 128 + n ended by signal n.")]
pub struct Args {
    /// Directory of the ring.
    home: PathBuf,
    #[command(flatten)]
    capacity: CapacityArgs,
    /// Bytes of a new page file, a multiple of 4 KiB from 16 KiB to 2 GiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    page_size: Option<u64>,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    /// Only say what would change.
    #[arg(short = 'n', long, conflicts_with = "yes")]
    dry_run: bool,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    let to = wanted(&args)?;
    let refused = |error: ResizeError| anyhow::Error::msg(explain(&error));
    let plan = resize::plan(&args.home, to).map_err(refused)?;
    let mut out = Output::stdout(&interrupt)?;
    // If the output cannot be written, the change is still made, and its outcome still decides the exit code.
    or_closed(out.print(&harmless_lines(&words::describe(&args.home, &plan))))?;
    let (text, outcome) = if plan.changes_nothing() {
        ("It has that size: nothing is to be changed.\n".to_owned(), Outcome::Done)
    } else if args.dry_run {
        ("Nothing has been changed.\n".to_owned(), Outcome::Done)
    } else if !args.yes && !is_agreed_to(&plan, &mut out, &interrupt)? {
        ("Nothing has been changed.\n".to_owned(), Outcome::Bad)
    } else if let Some(signal) = interrupt.signal() {
        return Ok(Outcome::Interrupted(signal));
    } else {
        resize::apply(&args.home, &plan).map_err(refused)?;
        (words::done(&plan), Outcome::Done)
    };
    or_closed(out.print(&text))?;
    Ok(outcome)
}

/// The sizes that the arguments name; the ring's own where they name none.
fn wanted(args: &Args) -> anyhow::Result<RingGeometry> {
    if args.page_size.is_none() && args.capacity.is_empty() {
        return Err(Usage(
            "say what is to change: --ring-size, --size, --keep with --rate, or --page-size".into(),
        )
        .into());
    }
    let Some(meta) = ring_meta(&args.home) else {
        // The same words as for every other directory without a ring, or whatever is wrong with this one.
        waldo::reader::Ring::attach(&args.home)?;
        anyhow::bail!("{}: the metadata of the ring cannot be read", args.home.display());
    };
    let own = RingGeometry::of(&meta);
    let page_len = args.page_size.unwrap_or(own.page_len);
    let page = if page_len == own.page_len { meta.geometry } else { geometry(page_len)? };
    Ok(RingGeometry {
        ring_size: args.capacity.pages(page)?.unwrap_or(own.ring_size),
        page_len,
        index_capacity: page.index_capacity(),
    })
}

/// Asks the user.
fn is_agreed_to(plan: &Resize, out: &mut Output<'_>, interrupt: &Interrupt) -> anyhow::Result<bool> {
    let mut stdin = std::io::stdin().lock();
    if !stdin.is_terminal() || !std::io::stdout().is_terminal() {
        let text = "there is no terminal to ask on: say --yes to change the ring, or --dry-run to only look";
        return Err(Usage(text.to_owned()).into());
    }
    out.print(words::question(plan))?;
    // Signals do not end the process any more, so a read may only begin when there is something to read.
    match interrupt.wait_readable(Some(stdin.as_fd()), None)? {
        Ready::Signal(signal) => {
            out.print("\n")?;
            Err(Ended(signal).into())
        }
        _ => {
            // A terminal gives a line at a time.
            let mut answer = [0; ANSWER_MAX];
            let len = stdin.read(&mut answer).context("cannot read the answer")?;
            let answer = String::from_utf8_lossy(&answer[..len]).trim().to_ascii_lowercase();
            Ok(matches!(answer.as_str(), "y" | "yes"))
        }
    }
}

/// The error, in the words of this command where its remedy is another one.
fn explain(error: &ResizeError) -> String {
    match error {
        ResizeError::Open(OpenError::Locked { path, holder }) => {
            let home = path.parent().unwrap_or(path);
            format!(
                "{} is not changed: {holder} is writing it, and a ring changes its size only while nobody does. End that \
                 writer (Ctrl-C, `systemctl stop`), run this again, and start it again",
                home.display()
            )
        }
        ResizeError::Changed(home) => format!(
            "{} is not changed: a writer has used it since it was looked at, so other records might go than those that \
             were named. Run this again",
            home.display()
        ),
        ResizeError::Owner { home, owner } => format!(
            "{} is not changed: it belongs to user {owner}, whose writer could not use what another user makes there. \
             Run this as that user (`sudo -u '#{owner}' waldo resize ...`)",
            home.display()
        ),
        other => other.to_string(),
    }
}
