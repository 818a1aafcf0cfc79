//! `waldo serve`: a writer process that stays.

use crate::append::Feed;
use crate::input::Source;
use crate::writer_args::{WriterArgs, payload_limit};
use anyhow::Context;
use signal_hook::consts::SIGTERM;
use std::path::PathBuf;
use waldo::writer::Writer;
use waldo_terminal::failure::Outcome;
use waldo_terminal::interrupt::{Interrupt, Ready};
use waldo_terminal::notice;

/// Run the writer of a ring until it is told to stop.
///
/// Like `append`, but stays alive when its input ends, so that readers see a live writer: for a service
/// manager, or beside programs that write their lines into a FIFO one after the other. Ends on SIGTERM (exit
/// code 0) and on Ctrl-C, with what its pipe held by then appended, the ring closed and everything durable.
///
/// Nothing that one of those programs sends ends the service for the others. A line that is longer than the
/// ring takes, or half a frame, is left out and reported with its offset in the input; the exit code is 3 in
/// the end. --long-lines chooses otherwise. A line without its newline, or half a frame, ends when the last
/// program that has the FIFO open goes away. Nor does it matter to the service whether anybody reads its
/// standard error.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  journalctl -f | waldo serve /var/tmp/ring
  waldo serve --fifo /run/app/log.fifo /var/tmp/ring   and then, from anywhere: echo hello > /run/app/log.fifo

Exit codes: 0 after SIGTERM, with everything appended; 1 failure; 2 wrong usage; 3 appended but for records that were
refused; 130 after Ctrl-C, 129 after a hangup. SIGINT, SIGTERM and SIGHUP stay ignored if they were at the start (nohup).")]
pub struct Args {
    /// Directory of the ring.
    home: PathBuf,
    /// Read from this FIFO instead of standard input; made if it does not exist. Any number of programs may
    /// write into it, one after the other or together (lines up to 4096 bytes stay whole).
    #[arg(long, value_name = "PATH")]
    fifo: Option<PathBuf>,
    #[command(flatten)]
    writer: WriterArgs,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    let source = match &args.fifo {
        Some(path) => Source::fifo(path)?,
        None => Source::stdin()?,
    };
    let mut writer = args.writer.open(&args.home, true)?;
    let mut feed = Feed::new(&args.writer, payload_limit(&args.home));
    if !args.writer.quiet {
        notice!("waldo: serving {} until SIGTERM or Ctrl-C", args.home.display());
    }
    let result = serve(&mut feed, &mut writer, source, &interrupt);
    let closed = writer.close().context("cannot close the ring");
    feed.summary();
    let outcome = result?;
    closed?;
    Ok(feed.judge(outcome))
}

fn serve(
    feed: &mut Feed<'_>,
    writer: &mut Writer,
    source: Source,
    interrupt: &Interrupt,
) -> anyhow::Result<Outcome> {
    let signal = match feed.pump(writer, source, interrupt)? {
        Outcome::Interrupted(signal) => signal,
        _ => loop {
            if let Ready::Signal(signal) = interrupt.wait_readable(None, None)? {
                break signal;
            }
        },
    };
    Ok(if signal == SIGTERM { Outcome::Done } else { Outcome::Interrupted(signal) })
}
