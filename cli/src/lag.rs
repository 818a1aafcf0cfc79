//! `waldo lag`: how far behind the readers of a ring are.

pub mod readers;
pub mod standing;
pub mod table;

use crate::attach::settle;
use crate::output::{Output, or_closed};
use crate::repeat::Repeat;
use anyhow::{Context, bail};
use readers::{RingReaders, look};
use std::path::{Path, PathBuf};
use waldo::reader::{Checkpoint, ReportDirectory, Ring};
use waldo_terminal::escape::harmless;
use waldo_terminal::failure::Outcome;
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::{notice, units};

/// The variable that names another place than /dev/shm for the files of readers.
const PLACE: &str = "WALDO_READERS";

/// Show how far behind the readers of a ring are.
///
/// Shows only the readers that report themselves; nothing records who else reads a ring. A reader reports
/// itself with `waldo tail --name NAME`, or in a program with the library's `Reporter`. Checkpoint files that
/// you name are shown as well.
///
/// Such a reader keeps a small file in /dev/shm and rewrites it at most once a second, so the figures may be
/// a second old. The file of a killed reader stays for an hour, or until the next reader with the same name
/// starts. Nothing depends on these files. Everybody may read them, and any user can write some: the column
/// USER says whose they are.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo tail /var/tmp/ring -f --name indexer > /dev/null &
  waldo lag /var/tmp/ring
  waldo lag /var/tmp/ring --checkpoint progress --max-behind 100000 || page somebody
  waldo lag /var/tmp/ring --json | jq -r 'select(.behind > 1000) | .reader'

Columns: POSITION is the number of the last record that the reader has dealt with; BEHIND the newest record's number less
that one, which is a number of records where none is left out; WAITING how long the first record that it has not dealt
with has been there; REPORTED when it last moved, as it says.

States: live, dead (the process was killed), unknown (it is in another container, or hidden), saved (a checkpoint file),
overtaken (records behind its position have been dropped), rewound (the log ends before its position), diverged (another
record has that number now).

Another place for the files than /dev/shm, the same for readers and for this command: the variable WALDO_READERS.

Exit codes: 0 shown; 1 failure; 2 wrong usage; 4 with --max-behind: somebody is further behind, overtaken, rewound or
diverged (dead readers count); 128 + n ended by signal n.")]
pub struct Args {
    /// Directories of rings.
    #[arg(required = true, value_name = "RING")]
    rings: Vec<PathBuf>,
    /// Checkpoint files of readers of these rings.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    checkpoint: Vec<PathBuf>,
    /// End with exit code 4 if a reader is more than N records behind, or has been overtaken.
    #[arg(long, value_name = "N", conflicts_with = "watch")]
    max_behind: Option<u64>,
    /// Print one JSON object a line, for each reader.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    repeat: Repeat,
}

/// Where readers report.
pub fn report_directory() -> ReportDirectory {
    match std::env::var_os(PLACE) {
        Some(place) if !place.is_empty() => ReportDirectory::at(place),
        _ => ReportDirectory::default(),
    }
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    let mut rings = Vec::with_capacity(args.rings.len());
    for home in &args.rings {
        let ring = Ring::attach(home)?;
        settle(&ring, &interrupt)?;
        rings.push(ring);
    }
    let directory = report_directory();
    // What the dead have left is removed by whom it belongs to, and that may be us.
    for ring in &rings {
        directory.sweep(&ring.ring_id());
    }
    let mut out = Output::stdout(&interrupt)?;
    let mut is_first = true;
    loop {
        let found = look_at_all(&rings, &directory, &args.checkpoint)?;
        if is_first {
            found.iter().for_each(tell_what_is_missing);
        }
        let text = match args.json {
            true => table::to_json(&found),
            false => args.repeat.frame(table::to_table(&found), is_first),
        };
        let printed = out.print(&text);
        if !args.repeat.watch {
            // Whether anybody reads the table or not, the answer is in the exit code too.
            or_closed(printed)?;
            return Ok(judge(&found, args.max_behind));
        }
        printed?;
        is_first = false;
        if let Some(signal) = interrupt.sleep(args.repeat.interval())? {
            return Ok(Outcome::Interrupted(signal));
        }
    }
}

fn look_at_all(
    rings: &[Ring],
    directory: &ReportDirectory,
    files: &[PathBuf],
) -> anyhow::Result<Vec<RingReaders>> {
    let checkpoints = files.iter().map(|path| load(path)).collect::<anyhow::Result<Vec<_>>>()?;
    for (path, checkpoint) in files.iter().zip(&checkpoints) {
        if !rings.iter().any(|ring| ring.ring_id() == checkpoint.ring_id) {
            let id = units::hex(&checkpoint.ring_id);
            bail!("{}: the checkpoint is of another ring, {id}", path.display());
        }
    }
    rings
        .iter()
        .map(|ring| {
            let of_ring = files.iter().zip(&checkpoints).filter(|(_, found)| found.ring_id == ring.ring_id());
            look(ring, directory, of_ring)
        })
        .collect()
}

fn load(path: &Path) -> anyhow::Result<Checkpoint> {
    Checkpoint::load(path)?.with_context(|| format!("{}: there is no such file", path.display()))
}

fn tell_what_is_missing(found: &RingReaders) {
    if found.unusable > 0 {
        notice!(
            "waldo: {} files or directories are left out: they are no reports of readers, or not the user's whose \
             name they bear",
            units::count(found.unusable)
        );
    }
    if found.cut_short {
        notice!("waldo: a user has more files of readers than are looked at; not all are shown");
    }
}

fn judge(found: &[RingReaders], max_behind: Option<u64>) -> Outcome {
    let Some(max) = max_behind else { return Outcome::Done };
    let rows = || found.iter().flat_map(|ring| &ring.rows).filter(|row| row.standing.exceeds(max));
    let Some(worst) = rows().max_by_key(|row| row.rank()) else {
        return Outcome::Done;
    };
    let behind = || format!("{} behind", units::count(worst.standing.behind.unwrap_or(0)));
    let what = worst.lost().map_or_else(behind, str::to_owned);
    let name = harmless(&worst.name);
    notice!("waldo: {} of the readers exceed the limit; the worst is {name}: {what}", rows().count());
    Outcome::Exceeded
}
