//! `waldo repair`: a damaged ring made usable again, if that is asked for.

use crate::output::{Output, or_closed};
use anyhow::Context;
use clap::ValueEnum;
use std::path::PathBuf;
use waldo::writer::repair::{self, Keep, Repair};
use waldo_terminal::escape::harmless_lines;
use waldo_terminal::failure::Outcome;
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::units;

/// Say what it would take to make a damaged ring usable again, and do it with --apply.
///
/// A writer refuses a ring in which something that had been durable is damaged, and changes nothing; nor does
/// this command, unless it is told to. What a crash leaves is no damage: the writer deals with that when it
/// starts, and there is nothing to repair.
///
/// What is damage is what `waldo verify` calls damage: every record counts, its payload too. A record whose
/// payload is damaged is named with page, offset and number; nothing gives it back.
///
/// What is still good falls into runs of records that follow one another. A ring is one run, so one stays and
/// the others go: the one with most records, or the one that --keep names. A header that is damaged is made
/// again, and no record goes with it; pages under one another's names get their own; footers are made again;
/// and ring.meta, if both of its copies are gone, is made from the headers of the pages (the ring size is
/// then the number of pages there are). If losing one side of a damaged payload is too much, leave the
/// ring as it is: `waldo tail --check headers` prints past it, with the damaged record among the others.
///
/// With --apply everything that is removed or changed is first put into a new directory beside the ring,
/// HOME-backup-1 or the next free number. It needs the ring's writer to be stopped. If it is interrupted, run
/// it again with the same --keep.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo repair /var/tmp/ring                        what is damaged, and what would be done; changes nothing
  waldo repair /var/tmp/ring --apply                do it
  waldo repair /var/tmp/ring --keep older --apply   keep what comes before the damage, however little that is

Exit codes: 0 the ring is in order, or is so now; 1 it is damaged (without --apply), or cannot be repaired; 2 wrong usage.")]
pub struct Args {
    /// Directory of the ring.
    home: PathBuf,
    /// Do it.
    #[arg(long)]
    apply: bool,
    /// Which run of records stays.
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Which::Longest)]
    keep: Which,
    /// Make the backup in this directory, instead of beside the ring.
    #[arg(long, value_name = "DIR")]
    backup: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    /// The one with most records.
    Longest,
    /// What comes before the first damage.
    Older,
    /// What comes behind the last damage.
    Newer,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    let keep = match args.keep {
        Which::Longest => Keep::Longest,
        Which::Older => Keep::Older,
        Which::Newer => Keep::Newer,
    };
    let looked = || format!("cannot look at {}", args.home.display());
    let planned = repair::plan(&args.home, keep).with_context(looked)?;
    let mut out = Output::stdout(&interrupt)?;
    // Whether anybody reads them or not, the answer is in the exit code, and the repair is wanted.
    or_closed(out.print(&harmless_lines(&describe(&args, &planned))))?;
    if planned.damage.is_none() {
        return Ok(Outcome::Done);
    }
    if !args.apply {
        or_closed(out.print("Nothing has been changed. `waldo repair --apply` does it.\n"))?;
        return Ok(Outcome::Bad);
    }
    if let Some(signal) = interrupt.signal() {
        return Ok(Outcome::Interrupted(signal));
    }
    let done = repair::apply(&args.home, keep, args.backup.as_deref())
        .with_context(|| format!("the repair of {} is not complete: run it again", args.home.display()))?;
    let after = repair::plan(&args.home, keep).with_context(looked)?;
    if let Some(damage) = after.damage {
        anyhow::bail!("{} is still damaged after the repair: {damage}", args.home.display());
    }
    if let Some(backup) = done.backup {
        let text = format!("Done. What was removed or changed is in {}.\n", backup.display());
        or_closed(out.print(&harmless_lines(&text)))?;
    }
    Ok(Outcome::Done)
}

fn describe(args: &Args, repair: &Repair) -> String {
    let Some(damage) = &repair.damage else {
        return format!("{}: in order, nothing to repair\n", args.home.display());
    };
    let mut text = format!("damage: {damage}\n");
    for (last, next) in &repair.lost {
        text.push_str(&format!("lost:   what came after record {last}, up to record {next}\n"));
    }
    text.push_str(&match &repair.kept {
        Some(kept) => format!("stays:  {kept}\n"),
        None => "stays:  nothing, no good record was found\n".into(),
    });
    for dropped in &repair.dropped {
        text.push_str(&format!("goes:   {dropped}\n"));
    }
    if let Some(other) = repair.dropped.iter().max_by_key(|span| span.records) {
        let which = if repair.kept.is_some_and(|kept| other.first_seq_no < kept.first_seq_no) {
            "older"
        } else {
            "newer"
        };
        text.push_str(&format!(
            "        (--keep {which} would keep {} records)\n",
            units::count(other.records)
        ));
    }
    for action in &repair.actions {
        text.push_str(&format!("{}   {action}\n", if args.apply { "step:" } else { "would:" }));
    }
    text
}

/// What a repair would do about damage that verification has found, in one line; `None` if that cannot be
/// told.
pub fn outlook(home: &std::path::Path) -> Option<String> {
    let repair = repair::plan(home, Keep::Longest).ok()?;
    repair.damage.as_ref()?;
    let goes: u64 = repair.dropped.iter().map(|span| span.records).sum();
    let kept = match &repair.kept {
        Some(kept) => format!("keep records {} to {}", kept.first_seq_no, kept.last_seq_no),
        None => "keep nothing".into(),
    };
    Some(format!(
        "`waldo repair` would {kept}, and move {} good records to a backup, in {} steps; without --apply it changes nothing",
        units::count(goes),
        repair.actions.len()
    ))
}
