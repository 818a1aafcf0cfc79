//! Cutting a stream of bytes into records: lines, or pieces with their length in front.
//!
//! The bytes of one `read` become one batch: under load batches grow by themselves, and no record ever waits
//! for a batch to fill up. A record that the ring does not take is handled as [`Long`] says, and the
//! following records are still appended: many programs may write into one FIFO, and a mistake of one must not
//! affect the others.

mod source;

use clap::ValueEnum;
use std::fmt;
use std::io::Read;
use std::ops::Range;

pub use source::Source;

/// How the input is cut into records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A record is a line, without its newline. A last line without one counts too.
    Lines,
    /// A record is what follows its length, a little-endian `u32`.
    Lengths,
}

/// What becomes of a record that is longer than the ring takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Long {
    /// It is left out and reported, and the command's exit code is 3 at the end.
    Error,
    /// It becomes several records, each but the last one as long as possible.
    Split,
    /// Its beginning becomes a record, the rest is left out.
    Truncate,
}

/// Bytes of the length in front of a framed record.
pub const PREFIX_LEN: usize = 4;

/// Something in the input that could not be appended as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Number of the record in the input, counted from 1: its line number.
    pub number: u64,
    /// Offset of its first byte in the input.
    pub offset: u64,
    pub kind: TroubleKind,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// A line of more than `limit` bytes.
    LongLine { limit: usize, long: Long },
    /// A frame that says it is this long.
    LongFrame { len: u64, limit: usize, long: Long },
    /// The input ended, or whoever wrote it did, in the middle of a frame: so many bytes of it came, of so
    /// many.
    HalfFrame { got: u64, len: Option<u64> },
}

impl Trouble {
    /// Whether something was left out without being asked for.
    pub fn refused(&self) -> bool {
        match self.kind {
            TroubleKind::LongLine { long, .. } | TroubleKind::LongFrame { long, .. } => long == Long::Error,
            TroubleKind::HalfFrame { .. } => true,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trouble { number, offset, kind } = *self;
        let done = |long| match long {
            Long::Error => "it is refused; --long-lines split or truncate would keep it",
            Long::Split => "it becomes several records",
            Long::Truncate => "its end is left out",
        };
        match kind {
            TroubleKind::LongLine { limit, long } => write!(
                f,
                "line {number}, at byte {offset} of the input, is too long: a record of this ring takes at most {limit} \
                 bytes; {}",
                done(long)
            ),
            TroubleKind::LongFrame { len, limit, long } => write!(
                f,
                "record {number}, at byte {offset} of the input, says it is {len} bytes long, a record of this ring takes \
                 at most {limit}; {}. Is the input framed (u32 little-endian length, then the bytes)?",
                done(long)
            ),
            TroubleKind::HalfFrame { got, len } => {
                write!(f, "the input ends in the middle of record {number}, at byte {offset}: ")?;
                match len {
                    Some(len) => write!(f, "{got} of its {len} bytes came; it is refused"),
                    None => write!(f, "{got} of the {PREFIX_LEN} bytes of its length came; it is refused"),
                }
            }
        }
    }
}

/// Records being cut from `source`.
pub struct Input<R> {
    source: R,
    framing: Framing,
    long: Long,
    /// Longest payload accepted, in bytes.
    limit: usize,
    buffer: Vec<u8>,
    /// Offset in the input of the first byte of `buffer`.
    base: u64,
    /// Bytes of `buffer` that hold input.
    filled: usize,
    /// Where the first byte that has not been handed out is.
    start: usize,
    /// Where the search for the next newline goes on.
    searched: usize,
    /// Pieces of this batch, as ranges of the buffer.
    records: Vec<Range<usize>>,
    /// Records of the input that have ended.
    done: u64,
    /// `done` at the beginning of this batch.
    before: u64,
    /// In the middle of a record that is too long.
    over: Option<Over>,
    troubles: Vec<Trouble>,
    /// Bytes of payload that were left out.
    left_out: u64,
}

/// A record that is too long and has not ended.
#[derive(Clone, Copy, Debug)]
struct Over {
    /// Bytes of it that are still to come, if it has said how long it is.
    left: Option<u64>,
    /// The bytes that come next belong to a record of their own.
    keep: bool,
    /// Where it began in the input.
    offset: u64,
    /// How long it said it is.
    len: Option<u64>,
}

impl<R: Read> Input<R> {
    /// Reads `source` in pieces of at most `batch` bytes; payloads longer than `limit` bytes are dealt with
    /// as `long` says.
    pub fn new(source: R, framing: Framing, batch: usize, limit: usize, long: Long) -> Input<R> {
        Input {
            source,
            framing,
            long,
            limit,
            buffer: vec![0; batch.max(4096)],
            base: 0,
            filled: 0,
            start: 0,
            searched: 0,
            records: Vec::new(),
            done: 0,
            before: 0,
            over: None,
            troubles: Vec::new(),
            left_out: 0,
        }
    }

    /// Reads once and cuts what came. Afterwards [`Input::batch`] has the records, perhaps none; `false` when
    /// the input has ended. It may be read on after that, if more can come: a new record begins then.
    ///
    /// # Errors
    /// Whatever `read` gave.
    pub fn read(&mut self) -> std::io::Result<bool> {
        self.drop_batch();
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let got = match self.source.read(&mut self.buffer[self.filled..]) {
            Ok(got) => got,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::Interrupted | std::io::ErrorKind::WouldBlock
                ) =>
            {
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        self.filled += got;
        match self.framing {
            Framing::Lines => self.cut_lines(),
            Framing::Lengths => self.cut_lengths(),
        }
        if got == 0 {
            self.end();
        }
        Ok(got > 0)
    }

    /// Where the bytes come from.
    pub fn source(&mut self) -> &mut R {
        &mut self.source
    }

    /// The payloads of this batch.
    pub fn batch(&self) -> Vec<&[u8]> {
        self.records.iter().map(|range| &self.buffer[range.clone()]).collect()
    }

    /// Number of the first record of the input that this batch may hold a part of, counted from 1: its line
    /// number.
    pub fn first_number(&self) -> u64 {
        self.before + 1
    }

    /// What could not be appended as it is, since the last call.
    pub fn troubles(&mut self) -> Vec<Trouble> {
        std::mem::take(&mut self.troubles)
    }

    /// Bytes of payload that were left out so far.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Bytes that have been read.
    pub fn received(&self) -> u64 {
        self.base + self.filled as u64
    }

    /// Bytes that have been read but are no complete record yet.
    pub fn unfinished(&self) -> usize {
        self.filled - self.start
    }

    fn drop_batch(&mut self) {
        self.before = self.done;
        self.records.clear();
        self.buffer.copy_within(self.start..self.filled, 0);
        self.base += self.start as u64;
        self.filled -= self.start;
        self.searched = self.searched.saturating_sub(self.start);
        self.start = 0;
    }

    fn trouble(&mut self, offset: u64, kind: TroubleKind) {
        self.troubles.push(Trouble { number: self.done + 1, offset, kind });
    }

    /// Where the next byte to be cut stands in the input.
    fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// Takes `len` bytes, as a record or as something that is left out.
    fn take(&mut self, len: usize, keep: bool) {
        if keep {
            self.records.push(self.start..self.start + len);
        } else {
            self.left_out += len as u64;
        }
        self.start += len;
        self.searched = self.searched.max(self.start);
    }

    /// The record that begins here is too long.
    fn begin_over(&mut self, offset: u64, len: Option<u64>) {
        let (limit, long) = (self.limit, self.long);
        let kind = match len {
            None => TroubleKind::LongLine { limit, long },
            Some(len) => TroubleKind::LongFrame { len, limit, long },
        };
        self.trouble(offset, kind);
        self.over = Some(Over { left: len, keep: long != Long::Error, offset, len });
    }

    /// Takes from a record that is too long what has come of it: `here` bytes, which is the rest of it with
    /// `last`.
    fn go_over(&mut self, mut over: Over, mut here: usize, last: bool) {
        // A piece of its own is taken when it is known to be followed by another, or to be the last one.
        while over.keep && (here > self.limit || (last && here > 0)) {
            let piece = here.min(self.limit);
            self.take(piece, true);
            here -= piece;
            over.left = over.left.map(|left| left - piece as u64);
            over.keep = self.long == Long::Split;
        }
        if !over.keep {
            self.take(here, false);
            over.left = over.left.map(|left| left - here as u64);
        }
        self.over = (!last).then_some(over);
        self.done += u64::from(last);
    }

    fn cut_lines(&mut self) {
        loop {
            let newline = memchr::memchr(b'\n', &self.buffer[self.searched..self.filled]);
            let end = newline.map_or(self.filled, |at| self.searched + at);
            let here = end - self.start;
            match self.over {
                Some(over) => self.go_over(over, here, newline.is_some()),
                None if here > self.limit => {
                    self.begin_over(self.offset(), None);
                    self.searched = end;
                    continue;
                }
                None if newline.is_some() => {
                    self.take(here, true);
                    self.done += 1;
                }
                None => {}
            }
            if newline.is_none() {
                self.searched = self.filled;
                return;
            }
            self.start = end + 1;
            self.searched = self.start;
        }
    }

    fn cut_lengths(&mut self) {
        loop {
            if let Some(over) = self.over {
                let here = self
                    .unfinished()
                    .min(over.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX)));
                let last = over.left.is_some_and(|left| left == here as u64);
                self.go_over(over, here, last);
                if last {
                    continue;
                }
                return;
            }
            let rest = &self.buffer[self.start..self.filled];
            let Some((prefix, payload)) = rest.split_first_chunk::<PREFIX_LEN>() else { return };
            let len = u32::from_le_bytes(*prefix) as usize;
            let came = payload.len();
            if len > self.limit {
                let offset = self.offset();
                self.start += PREFIX_LEN;
                self.begin_over(offset, Some(len as u64));
            } else if came < len {
                return;
            } else {
                self.start += PREFIX_LEN;
                self.take(len, true);
                self.done += 1;
            }
        }
    }

    /// Nothing more comes, or not from whoever began the record that is unfinished.
    fn end(&mut self) {
        let here = self.unfinished();
        match (self.framing, self.over.take()) {
            (Framing::Lines, Some(over)) => self.go_over(over, here, true),
            (Framing::Lines, None) if here > 0 => {
                self.take(here, true);
                self.done += 1;
            }
            (Framing::Lengths, Some(over)) => {
                let left = over.left.unwrap_or(0);
                let got = over.len.unwrap_or(0).saturating_sub(left) + here as u64;
                self.trouble(over.offset, TroubleKind::HalfFrame { got, len: over.len });
                self.take(here, false);
                self.done += 1;
            }
            (Framing::Lengths, None) if here > 0 => {
                let rest = &self.buffer[self.start..self.filled];
                let prefix = rest.first_chunk::<PREFIX_LEN>().map(|prefix| u32::from_le_bytes(*prefix));
                let got = here as u64 - if prefix.is_some() { PREFIX_LEN as u64 } else { 0 };
                self.trouble(self.offset(), TroubleKind::HalfFrame { got, len: prefix.map(u64::from) });
                self.take(here, false);
                self.done += 1;
            }
            (_, None) => {}
        }
        self.searched = self.start;
    }
}

#[cfg(test)]
mod tests;
