//! The arguments of `waldo tail`.

use crate::attach::{Patience, parse_patience};
use crate::moment;
use crate::tail::format::Format;
use crate::tail::paint::When;
use crate::tail::range::{Lines, Place};
use crate::tail::template;
use clap::ValueEnum;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;
use waldo::reader::{Integrity, OnLapped};

const EXAMPLES: &str = "\
Examples:
  waldo tail /var/tmp/ring                          everything that is still there
  waldo tail /var/tmp/ring -n 10                    the last ten
  waldo tail /var/tmp/ring -f                       what comes from now on
  waldo tail /var/tmp/ring -f -n 10 -g 'ERR|WARN'   the last ten that match, and those that come
  waldo tail /var/tmp/ring -g '(?-u)\\x00\\xff'       those with these two bytes, which are no text
  waldo tail /var/tmp/ring --since '10 min ago' -o json
  waldo tail /var/tmp/ring --from 1000 --count 10   ten records from number 1000 on
  waldo tail /var/tmp/ring -F --checkpoint progress --exec 'curl -sf --data-binary @- http://host/logs'
  waldo tail A --format raw | waldo append --framed B";

const CODES: &str = "\
Exit codes: 0 everything asked for is printed, or nobody reads it any more; 1 failure, damage to the ring and a
command of --exec that failed included; 2 wrong usage; 128 + n ended by signal n (130 after Ctrl-C).";

/// Print the records of a ring, and follow it.
///
/// Without options, everything that is there. With --follow, what comes from now on; with --lines as well,
/// the last so many records first, as `tail` does.
///
/// Never disturbs the writer, and needs none: a ring whose writer has ended or crashed can be read just
/// the same. Without --follow it ends at the record that was the newest when it started.
///
/// Damage is an error, with or without --follow: what lies before it is printed, standard error names file,
/// offset and record, and the exit code is 1. The torn end of an append that a crash interrupted is no
/// damage, and no record. Every record is checked before it is printed, see --check; `waldo verify` checks
/// the rest of the files, too.
///
/// On a terminal, control characters of payloads are escaped, and what --grep has found is red. Into pipes
/// and files payloads go as they are: see --escape and --color.
#[derive(clap::Args)]
#[command(
    after_help = format!("{EXAMPLES}\n\n{CODES} --help says more about moments and templates."),
    after_long_help = format!("{EXAMPLES}\n\n{}\n\n{}\n\n{CODES}", moment::FORMS, template::FIELDS)
)]
pub struct Args {
    /// Directory of the ring.
    pub home: PathBuf,
    #[command(flatten)]
    pub which: Selection,
    #[command(flatten)]
    pub following: Following,
    #[command(flatten)]
    pub checking: Checking,
    #[command(flatten)]
    pub printing: Printing,
}

/// Selection records.
#[derive(clap::Args)]
#[command(next_help_heading = "Selection records")]
pub struct Selection {
    /// The last N of those wanted; `+N`: all from the record with number N on, as --from.
    #[arg(short = 'n', long, value_name = "[+]N", allow_hyphen_values = true)]
    pub lines: Option<Lines>,
    /// Those from here on: `oldest`, `tip` (behind the newest), a sequence number (inclusive), or a moment.
    #[arg(long, value_name = "PLACE")]
    pub from: Option<Place>,
    /// Those that were appended at this moment or later, by the writer's clock: RFC 3339, `2026-01-31 12:00`,
    /// `10 min ago`, `@1769860800`, `yesterday`.
    #[arg(long, value_name = "MOMENT", value_parser = moment::parse, allow_hyphen_values = true, conflicts_with = "from")]
    pub since: Option<SystemTime>,
    /// Those that were appended at this moment or earlier. With --follow it ends when that moment is over.
    #[arg(long, value_name = "MOMENT", value_parser = moment::parse, allow_hyphen_values = true)]
    pub until: Option<SystemTime>,
    /// End after so many records.
    #[arg(short = 'c', long, value_name = "N")]
    pub count: Option<u64>,
    /// Those whose payload holds what this regular expression describes: that of Rust, of characters in
    /// UTF-8. `(?i)` takes upper and lower case for the same. `(?-u)` makes it one of bytes: `(?-u)\xff` is
    /// the byte 255, and `\xff` the character U+00FF.
    #[arg(short, long, value_name = "REGEX")]
    pub grep: Option<String>,
    /// --grep takes upper and lower case for the same.
    #[arg(short, long, requires = "grep")]
    pub ignore_case: bool,
    /// Those that --grep does not find.
    #[arg(long, requires = "grep")]
    pub invert_match: bool,
    /// Those that have reached the disk.
    #[arg(long)]
    pub durable: bool,
}

/// How long, and over which breaks.
#[derive(clap::Args)]
#[command(next_help_heading = "Following")]
pub struct Following {
    /// Go on with new records as they come, also when the writer is started anew. Begins with the next record
    /// unless --lines, --from or --since says otherwise.
    #[arg(short, long)]
    pub follow: bool,
    /// Follow, also when the ring is removed and made anew: goes on with the first record of the next ring.
    /// Waits for a ring that is not there yet.
    #[arg(short = 'F', long)]
    pub retry: bool,
    /// Wait for a ring that is not made yet, for ever or no longer than this (`--wait=30s`). With --follow,
    /// one that had to be waited for is printed from its first record on.
    #[arg(long, value_name = "TIME", value_parser = parse_patience, num_args = 0..=1, require_equals = true,
          default_missing_value = "forever")]
    pub wait: Option<Patience>,
    /// Go on behind the record that this file names, and keep it up to date: made if it is not there, saved
    /// when everything before has been written, at the end and once a second. What was written shortly before
    /// a kill -9 or a power cut is written again. Goes before --lines, --from and --since once it is there.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Write, and save the checkpoint, after every so many records.
    #[arg(long, value_name = "N", requires = "checkpoint", value_parser = clap::value_parser!(u64).range(1..))]
    pub checkpoint_every: Option<u64>,
    /// Show `waldo lag` how far this reader has come, under this name: writes a small file for that (see
    /// there), once a second at most and only if there is news, and removes it at the end.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What to do when the ring has overtaken this reader: end with an error, or go on from the oldest record
    /// still there or with the newest.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Lapped::Fail)]
    pub on_lapped: Lapped,
}

/// What is checked.
#[derive(clap::Args)]
pub struct Checking {
    /// What is checked of each record before it is printed: `structure` (length, kind, the chain of sequence
    /// numbers), `headers` (also the header's checksum and epoch), `payloads` (also every byte of the
    /// payload).
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Check::Payloads)]
    check: Check,
    /// The same as --check payloads, which is the default.
    #[arg(long, conflicts_with = "check")]
    verify: bool,
}

/// How, and where to.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
pub struct Printing {
    /// `text` (the payload and a newline), `json` (an object a line), `hex` (a dump), `raw` (the payload
    /// behind its length, as `waldo append --framed` reads it), or a template: '{seq} {time} {payload}'.
    #[arg(short = 'o', long, default_value = "text")]
    pub format: Format,
    /// Colours: what --grep has found, numbers and times of templates, escapes.
    #[arg(long, alias = "colour", value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    pub color: When,
    /// Escapes control characters in payloads, and what is no UTF-8.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    pub escape: When,
    /// Hand the records to this command (sh -c) instead of standard output, batch by batch: one run gets on
    /// its standard input what is there, up to about 1 MiB, and WALDO_HOME, WALDO_FIRST_SEQ, WALDO_LAST_SEQ
    /// and WALDO_RECORDS in its environment. The next one begins when it has ended with 0; anything else ends
    /// this command, with exit code 1. With --checkpoint, a batch counts when its run has ended with 0. A
    /// signal is handed on, and the run may end; after 5 s it is killed.
    #[arg(long, value_name = "CMD")]
    pub exec: Option<OsString>,
    /// No more than N records a run; with 1, a run a record.
    #[arg(long, value_name = "N", requires = "exec", value_parser = clap::value_parser!(u64).range(1..))]
    pub exec_batch: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Check {
    Structure,
    Headers,
    Payloads,
}

/// The value of `--on-lapped`.
#[derive(Clone, Copy, ValueEnum)]
pub enum Lapped {
    /// End.
    Fail,
    /// Go on with the oldest record.
    Oldest,
    /// Go on with the next one.
    Tip,
}

impl Checking {
    /// The same for the library.
    pub fn integrity(&self) -> Integrity {
        match self.check {
            _ if self.verify => Integrity::Payloads,
            Check::Structure => Integrity::Structure,
            Check::Headers => Integrity::Headers,
            Check::Payloads => Integrity::Payloads,
        }
    }
}

impl From<Lapped> for OnLapped {
    fn from(lapped: Lapped) -> OnLapped {
        match lapped {
            Lapped::Fail => OnLapped::Fail,
            Lapped::Oldest => OnLapped::Oldest,
            Lapped::Tip => OnLapped::Tip,
        }
    }
}
