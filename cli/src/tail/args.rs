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
/// Without options, prints all records of the ring. With --follow, prints new records as they come; with
/// --lines as well, the last N records first, as `tail` does.
///
/// Never disturbs the writer, and needs none: a ring whose writer has ended or crashed can be read as well.
/// Without --follow, the command ends at the record that was the newest when it started.
///
/// Damage is an error, with or without --follow: the records before it are printed, standard error names
/// file, offset and record, and the exit code is 1. The torn end of an append that a crash interrupted is
/// neither damage nor a record. Every record is checked before it is printed, see --check; `waldo verify`
/// also checks the rest of the files.
///
/// On a terminal, control characters in payloads are escaped, and matches of --grep are red. Pipes and files
/// get payloads unchanged: see --escape and --color.
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
    /// Only the last N of the selected records; `+N`: all from the record with number N on, as --from.
    #[arg(short = 'n', long, value_name = "[+]N", allow_hyphen_values = true)]
    pub lines: Option<Lines>,
    /// Only records from here on: `oldest`, `tip` (after the newest), a sequence number (inclusive), or a
    /// moment.
    #[arg(long, value_name = "PLACE")]
    pub from: Option<Place>,
    /// Only records that were appended at this moment or later, by the writer's clock: RFC 3339, `2026-01-31
    /// 12:00`, `10 min ago`, `@1769860800`, `yesterday`.
    #[arg(long, value_name = "MOMENT", value_parser = moment::parse, allow_hyphen_values = true, conflicts_with = "from")]
    pub since: Option<SystemTime>,
    /// Only records that were appended at this moment or earlier. With --follow, ends when that moment is
    /// past.
    #[arg(long, value_name = "MOMENT", value_parser = moment::parse, allow_hyphen_values = true)]
    pub until: Option<SystemTime>,
    /// End after this many records.
    #[arg(short = 'c', long, value_name = "N")]
    pub count: Option<u64>,
    /// Only records whose payload matches this regular expression, in Rust's syntax, on UTF-8 characters.
    /// `(?i)` ignores case. `(?-u)` matches bytes: `(?-u)\xff` is the byte 255, and `\xff` the character
    /// U+00FF.
    #[arg(short, long, value_name = "REGEX")]
    pub grep: Option<String>,
    /// Let --grep ignore case.
    #[arg(short, long, requires = "grep")]
    pub ignore_case: bool,
    /// Only records that --grep does not match.
    #[arg(long, requires = "grep")]
    pub invert_match: bool,
    /// Only records that are durable on the disk.
    #[arg(long)]
    pub durable: bool,
}

/// How long, and over which breaks.
#[derive(clap::Args)]
#[command(next_help_heading = "Following")]
pub struct Following {
    /// Print new records as they come, across restarts of the writer. Begins with the next record unless
    /// --lines, --from or --since says otherwise.
    #[arg(short, long)]
    pub follow: bool,
    /// Follow, even if the ring is removed and made again: continues with the first record of the new ring.
    /// Waits for a ring that does not exist yet.
    #[arg(short = 'F', long)]
    pub retry: bool,
    /// Wait for a ring that does not exist yet, without limit or for at most this long (`--wait=30s`). With
    /// --follow, such a ring is printed from its first record on.
    #[arg(long, value_name = "TIME", value_parser = parse_patience, num_args = 0..=1, require_equals = true,
          default_missing_value = "forever")]
    pub wait: Option<Patience>,
    /// Continue after the record that this file names, and update the file: it is made if it does not exist,
    /// and saved at the end and once a second, after all records up to that one have been written. Records
    /// written shortly before a kill -9 or a power cut are written again. Once the file exists, it takes
    /// precedence over --lines, --from and --since.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Write, and save the checkpoint, after every N records.
    #[arg(long, value_name = "N", requires = "checkpoint", value_parser = clap::value_parser!(u64).range(1..))]
    pub checkpoint_every: Option<u64>,
    /// Report this reader's progress to `waldo lag` under this name: writes a small file (see there), at most
    /// once a second and only after a change, and removes it at the end.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What to do when the ring has overtaken this reader: end with an error, or continue with the oldest
    /// record in the ring or with the next new one.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Lapped::Fail)]
    pub on_lapped: Lapped,
}

/// What is checked.
#[derive(clap::Args)]
pub struct Checking {
    /// What to check of each record before it is printed: `structure` (length, kind, the chain of sequence
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
    /// `text` (the payload and a newline), `json` (one object a line), `hex` (a dump), `raw` (the length,
    /// then the payload, as `waldo append --framed` reads it), or a template: '{seq} {time} {payload}'.
    #[arg(short = 'o', long, default_value = "text")]
    pub format: Format,
    /// Colours for matches of --grep, numbers and times of templates, and escapes.
    #[arg(long, alias = "colour", value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    pub color: When,
    /// Escape control characters in payloads, and bytes that are not UTF-8.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    pub escape: When,
    /// Hand the records to this command (sh -c) instead of standard output, batch by batch: each run gets the
    /// available records, up to about 1 MiB, on its standard input, and WALDO_HOME, WALDO_FIRST_SEQ,
    /// WALDO_LAST_SEQ and WALDO_RECORDS in its environment. The next run begins when the previous one has
    /// ended with 0; any other status ends `waldo tail` with exit code 1. With --checkpoint, a batch counts
    /// when its run has ended with 0. A signal is passed on to the run, which may then finish; after 5 s it
    /// is killed.
    #[arg(long, value_name = "CMD")]
    pub exec: Option<OsString>,
    /// At most N records for each run; with 1, one run for each record.
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
    /// Continue with the oldest record.
    Oldest,
    /// Continue with the next new record.
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
