//! A reader process that follows the log from its tip, until it is killed.

use std::hint::black_box;
use waldo::reader::{Cursor, OnLapped, ReaderOptions, Ring, WaitStrategy};
use waldo_harness::processes::child::{Words, die_with};
use waldo_harness::processes::event_log::EventWriter;

/// First argument of such a process.
pub const TAIL: &str = "bench-tail";
/// What it says when it follows.
pub const READY: &str = "ready";

/// Entry point: parent, board, home.
pub fn tail_main(words: &mut Words) -> anyhow::Result<()> {
    die_with(words.word()?)?;
    let mut board = EventWriter::open(&words.path().unwrap_or_default())?;
    let ring = Ring::attach(words.path().unwrap_or_default())?;
    let options = ReaderOptions::default().wait(WaitStrategy::Park).on_lapped(OnLapped::Oldest);
    let mut reader = ring.reader_with(Cursor::Tip, options)?;
    board.post(READY)?;
    loop {
        for record in reader.recv(None)?.iter().flatten() {
            black_box(record.data());
        }
    }
}
