//! A reader process: follows the log, checks everything, says what it found.

use super::note::Note;
use super::tally::Tally;
use anyhow::{Context, anyhow};
use std::path::Path;
use std::time::{Duration, Instant};
use waldo::reader::{Cursor, Integrity, Reader, ReaderOptions, Ring, WaitStrategy};
use waldo_harness::processes::child::{Words, die_with, now_ns};
use waldo_harness::processes::event_log::EventWriter;
use waldo_harness::processes::memory::Memory;
use waldo_shm_protocol::limits::{RECORD_HEADER_LEN, align_record};

/// How long a reader looks for a ring that is not there yet.
const ATTACH_TIME: Duration = Duration::from_secs(60);

/// Entry point: parent, reader's number, bytes between two notes (0: none), end mark, board, home.
pub fn main(words: &mut Words) -> anyhow::Result<()> {
    die_with(words.word()?)?;
    let reader: usize = words.word()?;
    let pace: u64 = words.word()?;
    let end_mark: String = words.word()?;
    let (board, home) = (words.path().unwrap_or_default(), words.path().unwrap_or_default());
    let mut pin = EventWriter::open(&board)?;
    let note = match read_all(&mut pin, reader, pace, end_mark.as_bytes(), &home) {
        Ok(note) => note,
        Err(error) => Note::Failed { reader, error: format!("{error:#}") },
    };
    pin.post(&note.line())
}

fn read_all(
    pin: &mut EventWriter,
    reader: usize,
    pace: u64,
    end_mark: &[u8],
    home: &Path,
) -> anyhow::Result<Note> {
    let ring = attach(home)?;
    // With more readers than processors, spinning would only take time from the others.
    let options = ReaderOptions::default().integrity(Integrity::Payloads).wait(WaitStrategy::Park);
    let mut log = ring.reader_with(Cursor::Oldest, options)?;
    pin.post(&Note::Attached { reader }.line())?;
    let mut tally = Tally::new();
    let mut since_note = 0;
    loop {
        // The demo looks after readers that wait in vain.
        let Some(batch) = log.recv(None)? else { continue };
        for record in &batch {
            tally.follow(record.seq_no(), record.prev_seq_no(), record.data()).map_err(|e| anyhow!(e))?;
            if record.data() == end_mark {
                return finish(reader, &tally, &log);
            }
            since_note += align_record(RECORD_HEADER_LEN + record.data().len()) as u64;
        }
        if pace > 0 && since_note >= pace {
            since_note = 0;
            pin.post(&Note::Seen { reader, seq_no: tally.last_seq_no() }.line())?;
        }
    }
}

/// The ring may be made only after this process has been started.
fn attach(home: &Path) -> anyhow::Result<Ring> {
    let deadline = Instant::now() + ATTACH_TIME;
    loop {
        match Ring::attach(home) {
            Ok(ring) => return Ok(ring),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Takes the log so that it is still attached, with its pages mapped, when memory is measured.
fn finish(reader: usize, tally: &Tally, log: &Reader) -> anyhow::Result<Note> {
    let at_ns = now_ns();
    let memory = Memory::of("self").context("cannot measure memory")?;
    debug_assert_eq!(log.last_seq_no(), Some(tally.last_seq_no()));
    Ok(Note::Verified { reader, sum: tally.sum(), at_ns, memory })
}
