//! `waldo gc`: removes left-over segments, reports and unused rings.

use crate::lag::report_directory;
use crate::machine::{Search, homes_below, newest_time, state};
use crate::output::{Output, or_closed};
use crate::rm::{EXTRAS, describe, explain};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use waldo::protocol::{RingId, names};
use waldo::reader::{ReportError, Ring};
use waldo::writer::removal;
use waldo::writer::segments::{self, SegmentEntry};
use waldo_terminal::escape::harmless_lines;
use waldo_terminal::failure::Outcome;
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::{notice, units};

/// List left-over segments, reports and unused rings; remove them with --apply.
///
/// First, control segments in /dev/shm whose ring is gone. A segment stays if it belongs to another user, if
/// its ring may still exist, or if any process has it open or mapped, in this container or another one.
///
/// Second, reports of readers (`waldo tail --name`) that `waldo lag` does not show any more: of processes
/// that were killed more than an hour ago, or whose name another reader has, or of which nothing has been
/// heard for a day (a process in another container may still live). The readers of a ring remove such reports
/// by themselves, but a removed ring has no readers. Reports of other users stay.
///
/// Third, with --unused-for and directories to search: rings to which nothing has been appended for that
/// long. A ring stays if it has a live writer, if it belongs to another user, if it is damaged, or if it is a
/// backup made by `waldo repair`. Rings are removed as by `waldo rm`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo gc                                          what would be removed
  waldo gc --apply                                  left-over control segments and reports of readers
  waldo gc --unused-for 30days /var/lib/rings --apply

Exit codes: 0 done, or nothing to do; 1 something could not be removed or looked at; 2 wrong usage.

Another place for the reports of readers than /dev/shm: the variable WALDO_READERS.")]
pub struct Args {
    /// Directories to search for unused rings, with all directories below them.
    #[arg(requires = "unused_for")]
    dirs: Vec<PathBuf>,
    /// Also rings whose newest record is older than this: `30days`, `12h`.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "dirs")]
    unused_for: Option<Duration>,
    /// Remove them.
    #[arg(long)]
    apply: bool,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    let mut out = Output::stdout(&interrupt)?;
    let (mut found, mut whole) = (0_u64, true);
    // If the output cannot be written, the rest is removed nevertheless.
    let mut told = Ok(());
    for segment in segments::list().context("cannot read /dev/shm")?.iter().filter(|entry| is_garbage(entry))
    {
        if let Some(signal) = interrupt.signal() {
            return Ok(Outcome::Interrupted(signal));
        }
        match collect_segment(segment, args.apply) {
            Ok((text, removable)) => {
                told = told.and(out.print(&text));
                found += u64::from(removable);
            }
            Err(error) => {
                notice!("waldo: cannot remove /dev/shm/{}: {error}", segment.name);
                whole = false;
            }
        }
    }
    for collected in collect_reports(args.apply) {
        match collected {
            Ok(text) => {
                told = told.and(out.print(&text));
                found += 1;
            }
            Err(error) => {
                notice!("waldo: cannot look for reports of readers: {error}");
                whole = false;
            }
        }
    }
    if let Some(age) = args.unused_for {
        let Search { homes, unread } = homes_below(&args.dirs);
        for error in &unread {
            notice!("waldo: {error}");
            whole = false;
        }
        for home in homes {
            if let Some(signal) = interrupt.signal() {
                return Ok(Outcome::Interrupted(signal));
            }
            match collect_ring(&home, age, args.apply) {
                Ok(Some(text)) => {
                    told = told.and(out.print(&text));
                    found += 1;
                }
                Ok(None) => {}
                Err(error) => {
                    notice!("waldo: {}: left alone: {error:#}", home.display());
                    whole = false;
                }
            }
        }
    }
    let end = match (found, args.apply) {
        (0, _) => "nothing to remove\n",
        (_, false) => "nothing was removed; --apply does it\n",
        (_, true) => "",
    };
    or_closed(told.and(out.print(end)))?;
    Ok(if whole { Outcome::Done } else { Outcome::Bad })
}

fn is_garbage(segment: &SegmentEntry) -> bool {
    let ours = segment.owner == nix::unistd::geteuid().as_raw();
    ours && segment.content.as_ref().is_some_and(|content| content.is_gone)
}

/// What was done about a segment, and whether it can go.
fn collect_segment(segment: &SegmentEntry, apply: bool) -> std::io::Result<(String, bool)> {
    let home = segment.content.as_ref().map(|content| content.home.display().to_string());
    let about = format!(
        "the segment /dev/shm/{}, {}: its ring {} is gone",
        segment.name,
        units::bytes(segment.bytes),
        home.unwrap_or_default()
    );
    let removable = match apply {
        true => segments::remove_left_over(&segment.name)?,
        false => segments::is_left_over(&segment.name)?,
    };
    let text = match (apply, removable) {
        (true, true) => format!("removed {about}\n"),
        (false, true) => format!("would remove {about}\n"),
        (true, false) => format!("left {about}, but a process still has it\n"),
        (false, false) => format!("would leave {about}, but a process still has it\n"),
    };
    Ok((harmless_lines(&text), removable))
}

/// What was done about reports of readers that nobody looks at any more, of each ring.
fn collect_reports(apply: bool) -> Vec<Result<String, ReportError>> {
    let directory = report_directory();
    let collect = |ring_id: &RingId| -> Result<Option<String>, ReportError> {
        let Some(left) = directory.left_over(ring_id)? else { return Ok(None) };
        let (verb, files) = match apply {
            true => ("removed", directory.sweep(ring_id)),
            false => ("would remove", left.files),
        };
        let about = format!("in {}, which `waldo lag` does not show any more", left.path.display());
        Ok((files > 0).then(|| harmless_lines(&format!("{verb} {} of readers {about}\n", count_of(files)))))
    };
    match directory.rings() {
        Ok(rings) => rings.iter().filter_map(|ring_id| collect(ring_id).transpose()).collect(),
        Err(error) => vec![Err(error)],
    }
}

fn count_of(reports: u64) -> String {
    if reports == 1 { "1 report".to_owned() } else { format!("{} reports", units::count(reports)) }
}

/// What was done about a ring, if anything had to be.
fn collect_ring(home: &Path, age: Duration, apply: bool) -> anyhow::Result<Option<String>> {
    let mut answer = unused(home, age);
    if !matches!(answer, Ok(Some(_))) {
        return answer.map(|_| None);
    }
    let removed = match apply {
        // A writer may have come, appended and gone since, so the answer that counts is one with its lock
        // held.
        true => removal::remove_if(home, &EXTRAS, || {
            answer = unused(home, age);
            matches!(answer, Ok(Some(_)))
        }),
        false => removal::plan(home, &EXTRAS).map(Some),
    };
    let removed = removed.map_err(|error| anyhow::anyhow!(explain(&error)))?;
    let (Some(idle), Some(removed)) = (answer?, removed) else { return Ok(None) };
    let mut text = describe(&removed, home, !apply);
    text.insert_str(
        text.find('\n').unwrap_or(text.len()),
        &format!("; unused for {}", units::duration(idle)),
    );
    Ok(Some(text))
}

/// For how long nothing has been appended to the ring, if that is long enough, and if it is one to be
/// removed at all.
fn unused(home: &Path, age: Duration) -> anyhow::Result<Option<Duration>> {
    use std::os::unix::fs::MetadataExt;
    let stat = std::fs::symlink_metadata(home)?;
    if stat.uid() != nix::unistd::geteuid().as_raw() || is_backup(home) {
        return Ok(None);
    }
    let ring = Ring::attach(home)?;
    let status = ring.status()?;
    let newest = match newest_time(&ring, &status)? {
        Some(time_ns) => SystemTime::UNIX_EPOCH + Duration::from_nanos(time_ns),
        None => std::fs::symlink_metadata(home.join(names::META))?.modified()?,
    };
    let idle = SystemTime::now().duration_since(newest).unwrap_or_default();
    let lives = ["live", "recovering"].contains(&state(&status));
    Ok((idle >= age && !lives).then_some(idle))
}

/// Whether `waldo repair` has made it: it puts what it removes beside the ring.
fn is_backup(home: &Path) -> bool {
    let name = home.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.rsplit_once("-backup-").is_some_and(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()))
}
