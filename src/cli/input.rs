//! Cutting a stream of bytes into records: lines, or pieces with their length in front.
//!
//! What one `read` brought becomes one batch: under load batches grow by themselves, and nothing ever waits
//! for a batch to fill up.

use anyhow::bail;
use std::io::Read;
use std::ops::Range;

/// How records are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A record is a line, without its newline. A last line without one counts too.
    Lines,
    /// A record is what follows its length, a little-endian `u32`.
    Lengths,
}

/// Bytes of the length in front of a framed record.
pub const PREFIX_LEN: usize = 4;

/// Records being cut from `source`.
pub struct Input<R> {
    source: R,
    framing: Framing,
    /// Longest payload accepted, in bytes.
    limit: usize,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that hold input.
    filled: usize,
    /// Where the first byte that has not been handed out is.
    start: usize,
    /// Where the search for the next newline goes on.
    searched: usize,
    /// Records of this batch, as ranges of the buffer.
    records: Vec<Range<usize>>,
    /// Records handed out in earlier batches.
    before: u64,
    ended: bool,
}

impl<R: Read> Input<R> {
    /// Reads `source` in pieces of at most `batch` bytes; payloads longer than `limit` bytes are refused.
    pub fn new(source: R, framing: Framing, batch: usize, limit: usize) -> Input<R> {
        Input {
            source,
            framing,
            limit,
            buffer: vec![0; batch.max(4096)],
            filled: 0,
            start: 0,
            searched: 0,
            records: Vec::new(),
            before: 0,
            ended: false,
        }
    }

    /// Reads once and cuts what came. Afterwards [`Input::batch`] has the records, perhaps none; `false` when
    /// the input has ended.
    ///
    /// # Errors
    /// A record that is too long or cut short, or whatever `read` gave. Records before the bad one are in
    /// [`Input::batch`] even so.
    pub fn read(&mut self) -> anyhow::Result<bool> {
        self.drop_batch();
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let got = match self.source.read(&mut self.buffer[self.filled..]) {
            Ok(got) => got,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(anyhow::Error::new(error).context("cannot read the input")),
        };
        self.ended = got == 0;
        self.filled += got;
        match self.framing {
            Framing::Lines => self.cut_lines()?,
            Framing::Lengths => self.cut_lengths()?,
        }
        Ok(!self.ended)
    }

    /// The payloads of this batch.
    pub fn batch(&self) -> Vec<&[u8]> {
        self.records.iter().map(|range| &self.buffer[range.clone()]).collect()
    }

    /// Number of the first record of this batch, counted from 1: its line number.
    pub fn first_number(&self) -> u64 {
        self.before + 1
    }

    /// Bytes that have been read but are no complete record yet.
    pub fn unfinished(&self) -> usize {
        self.filled - self.start
    }

    fn drop_batch(&mut self) {
        self.before += self.records.len() as u64;
        self.records.clear();
        self.buffer.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.searched -= self.start;
        self.start = 0;
    }

    fn number(&self) -> u64 {
        self.before + self.records.len() as u64 + 1
    }

    fn cut_lines(&mut self) -> anyhow::Result<()> {
        while let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..self.filled]) {
            let end = self.searched + at;
            self.push_line(end)?;
            self.start = end + 1;
            self.searched = self.start;
        }
        self.searched = self.filled;
        if self.unfinished() > self.limit {
            return self.too_long(self.filled);
        }
        if self.ended && self.unfinished() > 0 {
            self.push_line(self.filled)?;
            self.start = self.filled;
        }
        Ok(())
    }

    fn push_line(&mut self, end: usize) -> anyhow::Result<()> {
        if end - self.start > self.limit {
            return self.too_long(end);
        }
        self.records.push(self.start..end);
        Ok(())
    }

    fn too_long(&self, end: usize) -> anyhow::Result<()> {
        bail!(
            "line {} is too long: {} bytes or more, a record of this ring takes at most {}; \
             the lines before it have been appended. Break long lines up first (`fold -b -w {}`)",
            self.number(),
            end - self.start,
            self.limit,
            self.limit
        )
    }

    fn cut_lengths(&mut self) -> anyhow::Result<()> {
        loop {
            let rest = &self.buffer[self.start..self.filled];
            let Some((prefix, payload)) = rest.split_first_chunk::<PREFIX_LEN>() else { break };
            let len = u32::from_le_bytes(*prefix) as usize;
            if len > self.limit {
                bail!(
                    "record {} of the input says it is {len} bytes long, a record of this ring takes at most {}; \
                     the records before it have been appended. Is the input framed (u32 little-endian length, then the bytes)?",
                    self.number(),
                    self.limit
                );
            }
            if payload.len() < len {
                break;
            }
            let begin = self.start + PREFIX_LEN;
            self.records.push(begin..begin + len);
            self.start = begin + len;
        }
        self.searched = self.start;
        if self.ended && self.unfinished() > 0 {
            bail!(
                "the input ends in the middle of record {}: {} bytes are left over; the records before it have been appended",
                self.number(),
                self.unfinished()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
