//! `waldo verify`: checks every byte of a ring.

use crate::output::Output;
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use waldo::reader::verify::{self, Progress, VerifyError, VerifyReport};
use waldo_terminal::escape::harmless_lines;
use waldo_terminal::failure::Outcome;
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::notice;
use waldo_terminal::units;

/// Check every byte of a ring, from its files alone.
///
/// Reads every page and checks headers, records, payloads, the chain of sequence numbers, indexes and
/// footers. Changes nothing, and may run while a writer does. Reports the first damage with its file, page,
/// offset and record, and what `waldo repair` would do about it; the exit code is then 1.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  waldo verify /var/tmp/ring && echo all is well

Exit codes: 0 intact, or what a crash leaves and the writer mends when it starts (a note says so); 1 damaged, or it
cannot be checked; 2 wrong usage.")]
pub struct Args {
    /// Directory of the ring.
    home: PathBuf,
    /// Show no progress, and print nothing if the ring is intact.
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    let bar = if args.quiet { ProgressBar::hidden() } else { bar() };
    let (sender, progress) = std::sync::mpsc::channel();
    let home = args.home.clone();
    let started = Instant::now();
    // In a thread of its own, so that Ctrl-C need not wait for it: it only reads, and may be left alone.
    let thread = std::thread::spawn(move || {
        verify::verify(&home, &mut |progress| {
            // After Ctrl-C the receiver is gone.
            let _ = sender.send(progress);
        })
    });
    while let Some(progress) = next(&progress) {
        if let Some(signal) = interrupt.signal() {
            return Ok(Outcome::Interrupted(signal));
        }
        if let Some(progress) = progress {
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes_done);
            bar.set_message(format!("page {}", progress.page));
        }
    }
    bar.finish_and_clear();
    let Ok(result) = thread.join() else {
        anyhow::bail!("the check itself has failed; this is a bug in waldo")
    };
    match result {
        Ok(report) if args.quiet => drop(report),
        Ok(report) => {
            let text = describe(&args.home, &report, started.elapsed());
            Output::stdout(&interrupt)?.print(&harmless_lines(&text))?;
        }
        Err(error @ VerifyError::Damaged { .. }) => {
            if let Some(outlook) = super::repair::outlook(&args.home) {
                notice!("waldo: {outlook}");
            }
            return Err(error).context("DAMAGED");
        }
        Err(error) => return Err(error).context("cannot verify"),
    }
    Ok(Outcome::Done)
}

/// The newest progress, `Some(None)` if there is none for a moment, `None` at the end.
fn next(progress: &std::sync::mpsc::Receiver<Progress>) -> Option<Option<Progress>> {
    use std::sync::mpsc::RecvTimeoutError;
    match progress.recv_timeout(Duration::from_millis(50)) {
        Ok(first) => Some(Some(progress.try_iter().last().unwrap_or(first))),
        Err(RecvTimeoutError::Timeout) => Some(None),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{elapsed:>4} [{bar:40}] {bytes} of {total_bytes} {msg}");
    // The template is a constant that indicatif understands.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar
}

fn describe(home: &Path, report: &VerifyReport, time: Duration) -> String {
    let range = match (report.first_seq_no, report.last_seq_no) {
        (Some(first), Some(last)) => format!(", seq {first} to {last}"),
        _ => String::new(),
    };
    let mut text = format!(
        "{}: intact: {} records{range}, {} of payload in {} pages, checked in {}\n",
        home.display(),
        units::count(report.records),
        units::bytes(report.payload_bytes),
        report.pages,
        units::duration(time)
    );
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}
