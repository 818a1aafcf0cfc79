//! `waldo snapshot`: makes a consistent copy of a ring while its writer runs.

mod archive;
mod directory;
mod page_reader;
mod place;
mod ring_image;

use crate::attach::{Patience, attach, parse_patience};
use crate::output::Output;
use ring_image::RingImage;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Instant;
use waldo::reader::AttachOptions;
use waldo_terminal::failure::{Outcome, Usage};
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::{notice, units};

/// Copy a ring as it is at this moment, into a directory or as a tar stream.
///
/// The writer runs on undisturbed: the command reads the ring as a reader does. (A plain `cp -a` of a live
/// ring gives a damaged copy.) The copy ends at the record that was the newest when the command started. It
/// is a ring that was closed in good order, with the same identity, numbers, times and checksums, so that
/// checkpoints of one ring are valid for the other. Every record is checked while it is copied, and damage
/// ends the copy.
///
/// The directory must not exist, or be empty. A new directory gets the permissions of the ring's, and its
/// name when the copy is complete; until then it is a hidden directory at the same place. In an existing
/// directory, ring.meta is made last, so that half a copy is not a ring. A copy that fails or is interrupted
/// is removed. When the command ends with 0, the copy is on the disk. A copy made by root belongs to the
/// ring's user.
///
/// The ring's pages are not recycled until they are copied, which may take disk space for as many new pages.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo snapshot /var/tmp/ring /backup/ring && waldo verify /backup/ring
  waldo snapshot /var/tmp/ring - | zstd > ring.tar.zst
  waldo snapshot /var/tmp/ring - | ssh host 'mkdir ring && tar -x -C ring'

Exit codes: 0 copied; 1 failure, damage to the ring and an archive that nobody took to its end included; 2 wrong
usage; 128 + n ended by signal n.")]
pub struct Args {
    /// Directory of the ring.
    home: PathBuf,
    /// Directory to make the copy in; `-` writes a tar archive to standard output, with the files at its top.
    to: PathBuf,
    /// Wait for a ring that does not exist yet, without limit or for at most this long (`--wait=30s`).
    #[arg(long, value_name = "TIME", value_parser = parse_patience, num_args = 0..=1, require_equals = true,
          default_missing_value = "forever")]
    wait: Option<Patience>,
    /// Do not report what was copied.
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let to_stdout = args.to.as_os_str() == "-";
    if to_stdout && std::io::stdout().is_terminal() {
        return Err(
            Usage("a tar archive is nothing for a terminal: send it into a pipe or a file".into()).into()
        );
    }
    let interrupt = Interrupt::install()?;
    let started = Instant::now();
    let ring = attach(&args.home, &AttachOptions::default(), args.wait, &interrupt, || Ok(()))?.ring;
    let mut image = RingImage::open(&ring, &interrupt)?;
    if to_stdout {
        archive::write(&mut image, Output::stdout(&interrupt)?, &interrupt)?;
    } else {
        directory::write(&mut image, &args.to, &interrupt)?;
    }
    let (first, last) = image.copied();
    if !args.quiet {
        let records = match first {
            Some(first) => format!("records {first} to {last}"),
            None => "a ring without records".to_owned(),
        };
        let time = units::duration(started.elapsed());
        notice!("copied {records}, {} pages, in {time}", image.pages());
    }
    Ok(Outcome::Done)
}
