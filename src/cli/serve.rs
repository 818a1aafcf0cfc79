//! `waldo serve`: a writer process that stays.

use super::append::Feed;
use super::failure::Outcome;
use super::interrupt::{Interrupt, Ready};
use super::writer_args::{WriterArgs, payload_limit};
use anyhow::{Context, bail};
use signal_hook::consts::SIGTERM;
use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use waldo::writer::Writer;

/// Run the writer of a ring until it is told to stop.
///
/// Like `append`, but stays alive when its input ends, so that readers see a live writer: for a service manager,
/// or beside programs that write their lines into a FIFO one after the other. Ends on SIGTERM (exit code 0) and
/// on Ctrl-C, with the ring closed and everything durable.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  journalctl -f | waldo serve /var/tmp/ring
  waldo serve --fifo /run/app/log.fifo /var/tmp/ring   and then, from anywhere: echo hello > /run/app/log.fifo")]
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
        Some(path) => open_fifo(path)?,
        None => {
            File::from(std::io::stdin().as_fd().try_clone_to_owned().context("cannot use standard input")?)
        }
    };
    let mut writer = args.writer.open(&args.home, true)?;
    let mut feed = Feed::new(&args.writer, payload_limit(&args.home));
    if !args.writer.quiet {
        eprintln!("waldo: serving {} until SIGTERM or Ctrl-C", args.home.display());
    }
    let result = serve(&mut feed, &mut writer, source, &interrupt);
    let closed = writer.close().context("cannot close the ring");
    feed.summary();
    let outcome = result?;
    closed?;
    Ok(outcome)
}

fn serve(
    feed: &mut Feed<'_>,
    writer: &mut Writer,
    source: File,
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

/// Opens for reading and writing, so that the FIFO does not end when the program that wrote into it does.
fn open_fifo(path: &Path) -> anyhow::Result<File> {
    match nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600)) {
        Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
        Err(errno) => {
            return Err(anyhow::Error::new(errno).context(format!("cannot make the FIFO {}", path.display())));
        }
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open the FIFO {}", path.display()))?;
    if !file.metadata()?.file_type().is_fifo() {
        bail!("{} is not a FIFO; remove it, or name another path with --fifo", path.display());
    }
    Ok(file)
}
