//! `waldo append`: appends standard input to a ring, directly or through the service that owns the ring.

mod bell;
mod feed;
mod remote;
mod sink;

use crate::input::Source;
use crate::writer_args::{WriterArgs, payload_limit};
use anyhow::Context;
use std::path::PathBuf;
use waldo_terminal::failure::{Outcome, Usage};
use waldo_terminal::interrupt::Interrupt;

pub use feed::{CHECK, Feed};
pub use sink::{RingSink, Sink, Stored};

/// Append standard input to a ring, one record a line.
///
/// Makes the ring if there is none. Numbers continue after the newest record. The records of one read are
/// appended together, so that records of a slow producer are visible at once, and those of a fast one travel
/// in large batches.
///
/// Every line is a record, without its newline, whatever bytes the line holds; `waldo tail` prints a newline
/// after each record, so that text comes out as it went in. (If the input does not end in a newline, the
/// output has one more.) For records that contain newlines use --framed.
///
/// A line that is too long for the ring, or half a frame at the end, is left out and reported with its offset
/// in the input; everything else is appended, and the exit code is 3. --long-lines changes that. When a
/// signal ends the command, the bytes that a pipe held by then are appended first.
///
/// A ring has one writer: while a service (waldo-service, `waldo serve --socket`) has the ring, append with
/// --socket. The service acknowledges each batch when the batch survives the service's death, or power loss,
/// as the ring is set up; with --durable always when it survives power loss. When the service goes away and
/// comes back, the command continues by itself.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  git log -p | waldo append /var/tmp/ring            one record a line
  waldo tail A --format raw | waldo append --framed B  copy the records of one ring into another
  tail -F app.log | waldo append --socket /run/waldo/ring.sock --wait forever
  waldo append --socket /run/waldo/ring.sock --producer import-7 --resume < records   once each, however often it is run
  seq 1000000 | waldo append --no-sync --ring-size 4 --page-size 16M /var/tmp/ring

Exit codes: 0 everything is appended (and acknowledged, with --socket); 1 failure; 2 wrong usage; 3 appended but for records that were refused; 128 + n
ended by signal n, with the ring closed in good order.")]
pub struct Args {
    /// Directory of the ring.
    #[arg(required_unless_present = "socket")]
    home: Option<PathBuf>,
    #[command(flatten)]
    remote: remote::RemoteArgs,
    #[command(flatten)]
    writer: WriterArgs,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    if let Some(socket) = args.remote.socket()? {
        return remote::run(&args.remote, &args.writer, socket);
    }
    let home = args.home.ok_or_else(|| Usage("name the ring, or a socket with --socket".to_owned()))?;
    let interrupt = Interrupt::install()?;
    let writer = args.writer.open(&home, false)?;
    let mut feed = Feed::new(&args.writer, payload_limit(&home));
    let mut sink = RingSink { writer, stored: Stored::default() };
    let result = Source::stdin().and_then(|stdin| feed.pump(&mut sink, stdin, &interrupt));
    let closed = sink.writer.close().context("cannot close the ring");
    feed.summary(&sink.stored);
    let outcome = result?;
    closed?;
    Ok(feed.judge(outcome))
}
