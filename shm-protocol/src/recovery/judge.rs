//! The decisions: the end of the log, a torn write, or damage.
//!
//! ```text
//! what a walk through the records of a page stopped at  | below durable | at the durable position or above
//! ------------------------------------------------------+---------------+---------------------------------
//! A a bad record, and the next page follows the last one | torn seal     | torn seal: written again
//! B a bad record, or bytes of an earlier life            | damage        | end of the log: cut
//!
//! what stands under the name of a page                   | begins below  | begins at it or above
//! -------------------------------------------------------+---------------+---------------------------------
//! C no file, and there is an older and a newer page      | damage        | damage
//! D no file, and none that is newer                      | damage        | the log ends before
//! E a header that was not flushed: none, in part, of an  | damage        | left over; damage if records
//!   earlier page, retired, or too short a file           |               | prove a header
//! F a header of another ring, a later page, or version   | damage        | damage
//! ```
//!
//! C holds because names come and go in order: a page gets its name after the page before it, and recovery
//! takes names away from the newest down. A power cut takes back the latest changes of names, never one of
//! them alone.
//!
//! With F an exception: a writer that lets pages leave before what takes their place is durable uses the file
//! of a page that never was durable again at once. A power cut can bring the old name back then, with a later
//! page under it: row E.
//!
//! "Records prove a header": a writer with durable appends flushes the header of a page before the page gets
//! its name, so a record of the page proves that the header had been durable. The header of the oldest page
//! had been durable in any case, unless the writer lets pages leave before what takes their place is durable.

use crate::Position;
use crate::page::PageFault;

/// What a walk through the records of a page came to when it stopped before a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopVerdict {
    /// Every record is there, only the seal is not.
    TornSeal,
    /// The log ends here. What stands here was never acknowledged as durable.
    End,
    /// Something that had been durable is gone.
    Damage,
}

/// Judges a stop at `at`, where no good record and no good seal stands. `next_goes_on`: the first record of
/// the next page names the last record before the stop as its predecessor.
pub fn stop(at: Position, durable: Position, next_goes_on: bool) -> StopVerdict {
    match (next_goes_on, at < durable) {
        (true, _) => StopVerdict::TornSeal,
        (false, true) => StopVerdict::Damage,
        (false, false) => StopVerdict::End,
    }
}

/// What a file under a page's name is, if its header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderVerdict {
    /// A page that was about to be made, or lost its header in a power cut before anything in it was durable.
    LeftOver,
    /// A page that had been durable.
    Damage,
}

/// How a header fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderState {
    /// What a file holds whose header was written and never flushed.
    Unflushed,
    /// No crash leaves this.
    Spoiled,
}

impl HeaderState {
    /// What the fault says about the file. `trims_early`: the last writer let pages leave before what took
    /// their place was durable, and then did not wait for their names to be gone before it used the files
    /// again.
    pub fn of(fault: &PageFault, trims_early: bool) -> HeaderState {
        match fault {
            PageFault::WrongPage { .. } if trims_early => HeaderState::Unflushed,
            // Nothing of the header, a part of it, or what stood there before.
            PageFault::TooShort { .. }
            | PageFault::Magic
            | PageFault::Checksum { .. }
            // There is no such version.
            | PageFault::Version { found: 0, .. }
            | PageFault::Retired => HeaderState::Unflushed,
            // The file got its name, and the length that it was given before was lost.
            PageFault::FileLen { stored, actual } if actual < stored => HeaderState::Unflushed,
            // A file becomes a page of a higher id than it was before, never of a lower one.
            PageFault::WrongPage { found, expected } if found < expected => HeaderState::Unflushed,
            _ => HeaderState::Spoiled,
        }
    }
}

/// Judges the file of page `id`. `proven`: the header had been durable, whatever else is known. Either the
/// last writer flushed headers before pages got their names and there is a record of this page in the file,
/// or this is the oldest page.
pub fn header(id: u64, state: HeaderState, durable: Position, proven: bool) -> HeaderVerdict {
    match state {
        HeaderState::Spoiled => HeaderVerdict::Damage,
        HeaderState::Unflushed if proven || Position::start_of(id) < durable => HeaderVerdict::Damage,
        HeaderState::Unflushed => HeaderVerdict::LeftOver,
    }
}

/// Whether it is damage that there is no file of page `id`, into which the log should go on, and none that is
/// newer.
pub fn end_is_damage(id: u64, durable: Position) -> bool {
    // A page is there, empty, before the log is durable up to its start.
    Position::start_of(id) < durable
}

/// What becomes of a complete page whose footer or index is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FooterVerdict {
    /// There is no footer that counts. The page is walked over, and the writer makes one.
    None,
    /// It is whole, and says what cannot be.
    Damage,
}

/// Judges a footer, or the index under a whole one, by what is wrong with it.
///
/// Both are written after the seal and flushed by nobody: the log goes on before they are on the disk, and so
/// does a clean close. However much is known to be durable, a power cut may leave a page with neither, with
/// one of them, or with a part of one. No crash leaves what has its checksum and cannot be.
pub fn footer(fault: &PageFault) -> FooterVerdict {
    match fault {
        PageFault::Magic | PageFault::Checksum { .. } => FooterVerdict::None,
        _ => FooterVerdict::Damage,
    }
}

/// Whether a footer that is whole counts for nothing, in a page whose records were found to end at
/// `found_end`. A close in the middle of a page leaves one, the log goes on behind that, and a crash may come
/// before the next one is written.
pub fn footer_is_stale(records_end: u64, found_end: u64) -> bool {
    records_end < found_end
}
