//! A process that does nothing: what a process costs before it reads.

use super::note::Note;
use crate::cli::crowd::board::Pin;
use crate::cli::crowd::child::{Words, die_with};
use std::io::Read;

/// Entry point: parent, board. Ends when standard input does.
pub fn main(words: &mut Words) -> anyhow::Result<()> {
    die_with(words.next()?)?;
    Pin::open(&words.path().unwrap_or_default())?.post(&Note::Idle.line())?;
    wait_for_gate();
    Ok(())
}

/// Waits until standard input, a pipe that all processes share, has been closed at its other end.
pub fn wait_for_gate() {
    // An error opens the gate as well: whoever would wait for it has gone then.
    let _ = std::io::stdin().read(&mut [0]);
}
