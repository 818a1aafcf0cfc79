//! `waldo serve`: a writer process that runs until it is stopped.

mod service;

use crate::append::{CHECK, Feed, RingSink, Sink, Stored};
use crate::input::Source;
use crate::writer_args::{WriterArgs, payload_limit};
use anyhow::Context;
use signal_hook::consts::SIGTERM;
use std::path::PathBuf;
use waldo_terminal::failure::{Outcome, Usage};
use waldo_terminal::interrupt::{Interrupt, Ready};
use waldo_terminal::{notice, units};

/// Run the writer of a ring until it is told to stop.
///
/// Like `append`, but stays alive when its input ends, so that readers see a live writer: for a service
/// manager, or for programs that write their lines into a FIFO one after the other. Ends on SIGTERM (exit
/// code 0) and on Ctrl-C, after it has appended the bytes that its pipe held by then, made everything durable
/// and closed the ring.
///
/// No input from one of those programs ends the service for the others. A line that is too long for the ring,
/// or half a frame, is left out and reported with its offset in the input; the exit code is then 3.
/// --long-lines changes that. A line without its newline, or half a frame, ends when the last program that
/// has the FIFO open closes it. The service runs on even if nobody reads its standard error.
///
/// With --socket, any number of programs append over a Unix socket instead, with acknowledgements (`waldo
/// append --socket`, the library's `waldo::client`). For that, this command replaces itself by the program
/// waldo-service, whose --help says more.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  journalctl -f | waldo serve /var/tmp/ring
  waldo serve --fifo /run/app/log.fifo /var/tmp/ring   and then, from anywhere: echo hello > /run/app/log.fifo
  waldo serve --socket /run/app/log.sock /var/tmp/ring
  waldo serve --config /etc/waldo/service.toml --check

Exit codes: 0 after SIGTERM, with everything appended; 1 failure; 2 wrong usage; 3 appended but for records that were
refused; 130 after Ctrl-C, 129 after a hangup. SIGINT, SIGTERM and SIGHUP stay ignored if they were at the start (nohup).")]
pub struct Args {
    /// Directory of the ring.
    #[arg(required_unless_present = "config")]
    home: Option<PathBuf>,
    /// Read from this FIFO instead of standard input; made if it does not exist. Any number of programs may
    /// write into it, one after the other or together (lines up to 4096 bytes stay whole).
    #[arg(long, value_name = "PATH")]
    fifo: Option<PathBuf>,
    #[command(flatten)]
    service: service::ServiceArgs,
    #[command(flatten)]
    writer: WriterArgs,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    if args.service.is_wanted() {
        return Err(args.service.become_it(args.home.as_deref(), &args.writer));
    }
    let home = args.home.ok_or_else(|| Usage("name the ring".to_owned()))?;
    let interrupt = Interrupt::install()?;
    let source = match &args.fifo {
        Some(path) => Source::fifo(path)?,
        None => Source::stdin()?,
    };
    let writer = args.writer.open(&home, true)?;
    let mut feed = Feed::new(&args.writer, payload_limit(&home));
    if !args.writer.quiet {
        notice!("waldo: serving {} until SIGTERM or Ctrl-C", home.display());
    }
    let mut sink = RingSink { writer, stored: Stored::default() };
    let result = serve(&mut feed, &mut sink, source, &interrupt, args.writer.quiet);
    let closed = sink.writer.close().context("cannot close the ring");
    feed.summary(&sink.stored);
    let outcome = result?;
    closed?;
    Ok(feed.judge(outcome))
}

fn serve(
    feed: &mut Feed<'_>,
    sink: &mut RingSink,
    source: Source,
    interrupt: &Interrupt,
    quiet: bool,
) -> anyhow::Result<Outcome> {
    let signal = match feed.pump(sink, source, interrupt)? {
        Outcome::Interrupted(signal) => signal,
        _ => {
            if !quiet {
                let records = units::count(sink.stored.records);
                notice!(
                    "waldo: the input has ended after {records} records; readers go on to see a live writer"
                );
            }
            loop {
                match interrupt.wait_readable(None, Some(CHECK))? {
                    Ready::Signal(signal) => break signal,
                    Ready::Input | Ready::TimedOut => sink.check()?,
                }
            }
        }
    };
    Ok(if signal == SIGTERM { Outcome::Done } else { Outcome::Interrupted(signal) })
}
