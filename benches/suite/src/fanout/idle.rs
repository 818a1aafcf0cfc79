//! A process that does nothing, to measure what a process costs before it reads.

use super::note::Note;
use std::io::Read;
use waldo_harness::processes::child::{Words, die_with};
use waldo_harness::processes::event_log::EventWriter;

/// Entry point: parent, board. Ends when standard input does.
pub fn main(words: &mut Words) -> anyhow::Result<()> {
    die_with(words.word()?)?;
    EventWriter::open(&words.path().unwrap_or_default())?.post(&Note::Idle.line())?;
    wait_for_gate();
    Ok(())
}

/// Waits until standard input, a pipe that all processes share, has been closed at its other end.
pub fn wait_for_gate() {
    // An error opens the gate as well: whoever would wait for it has gone then.
    let _ = std::io::stdin().read(&mut [0]);
}
