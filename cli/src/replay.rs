//! `waldo replay`: appends the records of one ring to another.

use crate::attach::{Patience, attach, parse_patience, settle};
use crate::tail::range::Place;
use crate::writer_args::ring_meta;
use anyhow::{Context, bail};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use waldo::protocol::Log;
use waldo::reader::{
    AttachOptions, Batch, Cursor, Integrity, ReadError, Reader, ReaderOptions, Ring, RingStatus,
};
use waldo::writer::{Durability, Writer, WriterOptions};
use waldo_shm_protocol::limits::RING_SIZE_MAX;
use waldo_terminal::failure::{Outcome, Usage};
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::units::{self, parse_size};
use waldo_terminal::{notice, units::count};

/// Append the records of one ring to another, with their numbers and times.
///
/// TO is made if it does not exist, with the geometry of FROM unless the options say otherwise. If TO holds
/// records already, its newest record must be the same as in FROM: the command continues after that record,
/// so that it can be interrupted and run again. It ends at the record that was the newest of FROM when it
/// started, and all appended records are then on the disk.
///
/// With --pace, records are appended as far apart as they were, and get the time at which they are appended
/// to TO. Use this to try out a program on recorded events.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo replay /var/tmp/ring /var/tmp/bigger --ring-size 64   the same records in a bigger ring
  waldo replay /var/tmp/ring /var/tmp/again --pace=10         ten times as fast as they came

Exit codes: 0 appended; 1 failure, damage to the ring included; 2 wrong usage; 128 + n ended by signal n, with what was
appended in good order.")]
pub struct Args {
    /// Directory of the ring that is read.
    from_home: PathBuf,
    /// Directory of the ring that is appended to.
    to_home: PathBuf,
    /// Begin here if TO is empty: `oldest`, a sequence number (inclusive), or a moment, as in `waldo tail`.
    #[arg(long, value_name = "PLACE", default_value = "oldest")]
    from: Place,
    /// Append at the original pace, or this many times as fast.
    #[arg(long, value_name = "TIMES", num_args = 0..=1, require_equals = true, default_missing_value = "1",
          value_parser = parse_pace)]
    pace: Option<f64>,
    /// Pages of TO, if TO is made [default: as many as FROM has].
    #[arg(long, value_name = "PAGES", value_parser = clap::value_parser!(u32).range(1..=i64::from(RING_SIZE_MAX)))]
    ring_size: Option<u32>,
    /// Bytes of a page of TO, if TO is made [default: as in FROM].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    page_size: Option<u64>,
    /// Wait for FROM if it does not exist yet, without limit or for at most this long (`--wait=30s`).
    #[arg(long, value_name = "TIME", value_parser = parse_patience, num_args = 0..=1, require_equals = true,
          default_missing_value = "forever")]
    wait: Option<Patience>,
    /// Do not report what was appended.
    #[arg(short, long)]
    quiet: bool,
}

fn parse_pace(text: &str) -> Result<f64, String> {
    let times: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if times.is_finite() && times > 0.0 { Ok(times) } else { Err("the pace must be above 0".to_owned()) }
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    let started = Instant::now();
    let from = attach(&args.from_home, &AttachOptions::default(), args.wait, &interrupt, || Ok(()))?.ring;
    let status = settle(&from, &interrupt)?;
    let mut writer = open(&args, &status)?;
    let result = start(&args, &from, &writer).and_then(|reader| {
        let mut replay = Replay { reader, pace: args.pace.map(Pace::new), records: 0, first: None };
        let outcome = replay.run(&from, &mut writer, status.tip_seq_no.unwrap_or(0), &interrupt);
        outcome.map(|outcome| (outcome, replay.records, replay.first))
    });
    let last = writer.tip().unwrap_or(0);
    let closed = writer.close().context("cannot close the ring");
    let (outcome, records, first) = result?;
    closed?;
    if !args.quiet {
        let range = first.map(|first| format!(", seq {first} to {last}")).unwrap_or_default();
        let time = units::duration(started.elapsed());
        notice!("appended {} records{range}, in {time}", count(records));
    }
    Ok(outcome)
}

/// Opens the ring that is appended to.
fn open(args: &Args, status: &RingStatus) -> anyhow::Result<Writer> {
    let (to, from) = (&args.to_home, &args.from_home);
    // By its number: one directory may have several paths, links and mounts apart.
    let object = |home: &PathBuf| std::fs::metadata(home).ok().map(|stat| (stat.dev(), stat.ino()));
    if object(to).is_some_and(|to| object(from) == Some(to)) {
        return Err(Usage("a ring cannot be appended to itself".to_owned()).into());
    }
    let own = ring_meta(to);
    if own.is_some() && (args.ring_size.is_some() || args.page_size.is_some()) {
        return Err(Usage(format!(
            "{} is there, and --ring-size and --page-size are for a ring that is made",
            to.display()
        ))
        .into());
    }
    let page_len = args.page_size.unwrap_or(status.page_len);
    let model = own.or_else(|| ring_meta(from).filter(|meta| meta.geometry.page_len() == page_len));
    let mut options = WriterOptions::default().durability(Durability::PageCache);
    options = match (own, model) {
        (Some(own), _) => options.ring_size(own.ring_size).page_len(own.geometry.page_len()),
        (None, _) => options.ring_size(args.ring_size.unwrap_or(status.ring_size)).page_len(page_len),
    };
    options = options.index_capacity(match model {
        Some(model) => model.geometry.index_capacity(),
        None => waldo_harness::ring::index_capacity(page_len)?,
    });
    let opened = Writer::open(to, options.remove_control(true));
    opened.with_context(|| format!("cannot open the ring {} for writing", to.display()))
}

/// A reader of the records that are still to be appended.
fn start(args: &Args, from: &Ring, writer: &Writer) -> anyhow::Result<Reader> {
    let options = ReaderOptions::default().integrity(Integrity::Payloads);
    let Some(tip) = writer.tip() else { return Ok(from.reader_with(args.from.0, options)?) };
    let newest = |ring: &Ring| -> anyhow::Result<Option<(u64, u32, usize)>> {
        let mut reader = ring.reader_with(Cursor::From(tip), options.clone().batch_bytes(1))?;
        let record = |batch: Batch| batch.iter().next().map(|r| (r.seq_no(), r.data_hash(), r.data().len()));
        Ok(reader.poll()?.and_then(record))
    };
    let to = Ring::attach(&args.to_home)?;
    if newest(from)? != newest(&to)? {
        bail!(
            "{} holds another record {tip} than {}: it is not a part of the same log, and nothing was appended",
            args.to_home.display(),
            args.from_home.display()
        );
    }
    Ok(from.reader_with(Cursor::After(tip), options)?)
}

struct Replay {
    reader: Reader,
    pace: Option<Pace>,
    records: u64,
    first: Option<u64>,
}

impl Replay {
    /// Appends everything up to record `end`.
    fn run(
        &mut self,
        from: &Ring,
        writer: &mut Writer,
        end: u64,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Outcome> {
        let mut settled = false;
        while self.reader.last_seq_no().unwrap_or(0) < end {
            if let Some(signal) = interrupt.signal() {
                return Ok(Outcome::Interrupted(signal));
            }
            let Some(batch) = self.reader.poll()? else {
                if settled {
                    break;
                }
                // Another writer may have begun to open the ring since, so there is a second look.
                settle(from, interrupt)?;
                settled = true;
                continue;
            };
            if let Some(signal) = self.append(writer, &batch, end, interrupt)? {
                return Ok(Outcome::Interrupted(signal));
            }
        }
        // The newest good record is not the end of the log if what stands behind it is damaged.
        match self.reader.poll() {
            Ok(_) | Err(ReadError::Lapped { .. }) => Ok(Outcome::Done),
            Err(error) => Err(error.into()),
        }
    }

    /// Appends a batch, those with the same time together. Gives a signal that came meanwhile.
    fn append(
        &mut self,
        writer: &mut Writer,
        batch: &Batch,
        end: u64,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Option<i32>> {
        let mut records = batch.iter().filter(|record| record.seq_no() <= end).peekable();
        let mut logs: Vec<Log<'_>> = Vec::new();
        while let Some(record) = records.next() {
            self.first.get_or_insert(record.seq_no());
            logs.push(record.log());
            let time_ns = record.time_ns();
            if records.peek().is_some_and(|next| next.time_ns() == time_ns) {
                continue;
            }
            if let Some(pace) = &mut self.pace {
                if let Some(signal) = interrupt.sleep(pace.until(time_ns))? {
                    return Ok(Some(signal));
                }
                writer.append(&logs)?;
            } else {
                writer.append_at(time_ns, &logs)?;
            }
            self.records += logs.len() as u64;
            logs.clear();
        }
        Ok(None)
    }
}

/// When records are due.
struct Pace {
    times: f64,
    /// The first record's time, and when it was appended.
    begin: Option<(u64, Instant)>,
}

impl Pace {
    fn new(times: f64) -> Pace {
        Pace { times, begin: None }
    }

    /// How long it is until the record of this time is due.
    fn until(&mut self, time_ns: u64) -> Duration {
        let (first_ns, started) = *self.begin.get_or_insert((time_ns, Instant::now()));
        let after = Duration::from_nanos(time_ns.saturating_sub(first_ns)).as_secs_f64() / self.times;
        // Longer than a clock can say is for ever.
        let due = Duration::try_from_secs_f64(after).unwrap_or(Duration::MAX);
        due.saturating_sub(started.elapsed())
    }
}
