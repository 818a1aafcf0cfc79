//! How bytes get from the appending thread into a page file.
//!
//! An [`Engine`] owns the write buffers. The writer fills one at a time and sends it; with io_uring several
//! are in flight, and they are reported complete in the order they were sent.

mod buffer;
#[cfg(test)]
mod engine_override;
mod gather;
mod kind;
pub(crate) mod probe;
mod reap;
#[cfg(test)]
mod tests;
mod uring;

use crate::error::OpenError;
use crate::options::{Io, WriterOptions};
use crate::page::Page;
use buffer::Buffers;
#[cfg(test)]
pub(crate) use engine_override::EngineOverride;
pub(crate) use gather::Gather;
pub use kind::EngineKind;
use probe::InPlace;
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;
use uring::Uring;

/// Bytes that are encoded and written at a time where every write is in place: they are still in the
/// second-level cache when the kernel copies them (docs/PERFORMANCE.md, "Smaller pieces").
const PIECE_IN_PLACE: usize = 256 << 10;

/// A piece of the log that is being written.
struct Piece<T> {
    /// `None` once it is written and the buffer has been taken for something else.
    buffer: Option<usize>,
    page: Arc<Page>,
    offset: u64,
    len: usize,
    /// Bytes of it that are written.
    done: usize,
    complete: bool,
    /// Since when the kernel has not begun with it.
    refused: Option<Instant>,
    token: T,
}

/// `T` is the value that the writer gets back when a piece is written.
pub(crate) struct Engine<T> {
    uring: Option<Uring>,
    in_place: InPlace,
    queue_depth: usize,
    pieces: VecDeque<Piece<T>>,
    /// Number of the piece at the front of `pieces`, counted from the first ever sent.
    front: u64,
    free: Vec<usize>,
    filling: Option<(usize, usize)>,
    /// Bytes of a buffer that are used, at most.
    piece_len: usize,
    // Behind the ring, so that it goes first: the kernel may read the buffers as long as there is one.
    buffers: Buffers,
}

fn without_uring(error: &io::Error) {
    tracing::warn!("io_uring is not available here ({error}); using pwrite and fdatasync");
}

impl<T> Engine<T> {
    /// Sets up buffers and, where wanted and possible, io_uring.
    pub(crate) fn open(
        options: &WriterOptions,
        lock: RawFd,
        scratch: Option<&Arc<dyn crate::disk::DiskFile>>,
    ) -> Result<Engine<T>, OpenError> {
        // More of a buffer is only used where writes go through the ring. Memory takes most of the time that
        // opening takes.
        let in_place = options.io != Io::Uring && !options.huge_buffers;
        let len = if in_place { options.buffer_len.min(PIECE_IN_PLACE) } else { options.buffer_len };
        let buffers = Buffers::allocate(options.buffers as usize, len, options.huge_buffers)?;
        let depth = options.queue_depth.min(u32::from(options.buffers));
        let uring = match options.io {
            Io::Pwrite => None,
            Io::Uring => {
                Some(Uring::open(depth, &buffers, lock).map_err(|source| OpenError::Uring { source })?)
            }
            Io::Auto if scratch.is_none_or(|file| file.fd().is_none()) => None,
            Io::Auto => Uring::open(depth, &buffers, lock).inspect_err(without_uring).ok(),
        };
        let mut engine = Engine {
            uring,
            in_place: InPlace { alone: 0, streams: false },
            queue_depth: depth as usize,
            pieces: VecDeque::new(),
            front: 0,
            free: (0..options.buffers as usize).collect(),
            filling: None,
            piece_len: len,
            buffers,
        };
        if let (Io::Auto, Some(scratch), Some(uring)) = (options.io, scratch, &mut engine.uring) {
            match probe::measure(uring, &engine.buffers, scratch, depth as usize) {
                Ok(in_place) => engine.in_place = in_place,
                Err(error) => {
                    without_uring(&error);
                    uring.drain();
                    engine.uring = None;
                }
            }
        }
        if !engine.gathers() && len < options.buffer_len {
            engine.use_whole_buffers(options, depth, lock)?;
        }
        #[cfg(test)]
        if let Some(wanted) = EngineOverride::in_force().filter(|_| options.io == Io::Uring) {
            engine.act_as(wanted);
        }
        if engine.gathers() {
            engine.piece_len = engine.piece_len.min(PIECE_IN_PLACE);
        }
        Ok(engine)
    }

    /// Sets up the ring again, with buffers as long as they may be.
    fn use_whole_buffers(
        &mut self,
        options: &WriterOptions,
        depth: u32,
        lock: RawFd,
    ) -> Result<(), OpenError> {
        self.uring = None;
        self.buffers = Buffers::allocate(options.buffers as usize, options.buffer_len, options.huge_buffers)?;
        self.piece_len = options.buffer_len;
        self.uring = Uring::open(depth, &self.buffers, lock).inspect_err(without_uring).ok();
        Ok(())
    }

    #[cfg(test)]
    fn act_as(&mut self, wanted: EngineOverride) {
        match wanted {
            EngineOverride::Unregistered => self.uring.iter_mut().for_each(Uring::unregister),
            EngineOverride::SmallInPlace => self.in_place = InPlace { alone: 512, streams: false },
            EngineOverride::AllInPlace => self.in_place = InPlace { alone: usize::MAX, streams: true },
        }
    }

    pub(crate) fn kind(&self) -> EngineKind {
        match &self.uring {
            Some(uring) => {
                let InPlace { alone, streams } = self.in_place;
                EngineKind::Uring {
                    inline_max: alone,
                    streams: !streams,
                    registered: uring.buffers_registered(),
                }
            }
            None => EngineKind::Pwrite,
        }
    }

    /// Copies as much of `bytes` as fits into the buffer being filled; returns how much. 0 means that the
    /// buffer is full and has to be sent. Waits for a buffer if all are in flight.
    #[inline]
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (buffer, len) = match self.filling {
            Some(filling) => filling,
            None => (self.take_buffer()?, 0),
        };
        let room = &mut self.buffers.get_mut(buffer)[len..self.piece_len];
        let n = room.len().min(bytes.len());
        room[..n].copy_from_slice(&bytes[..n]);
        self.filling = Some((buffer, len + n));
        Ok(n)
    }

    /// The next `len` bytes of the buffer being filled, to be written by the caller; `None` if there is no
    /// such buffer yet or it has not that much room.
    #[inline]
    pub(crate) fn space(&mut self, len: usize) -> Option<&mut [u8]> {
        let (buffer, filled) = self.filling?;
        let used = &mut self.buffers.get_mut(buffer)[..self.piece_len];
        let space = used.get_mut(filled..filled + len)?;
        self.filling = Some((buffer, filled + len));
        Some(space)
    }

    /// What is left of the buffer being filled, or an empty one; nothing if none is free.
    #[inline]
    pub(crate) fn rest(&mut self) -> &mut [u8] {
        if self.filling.is_none() {
            self.filling = self.free.pop().map(|buffer| (buffer, 0));
        }
        match self.filling {
            Some((buffer, filled)) => {
                self.buffers.get_mut(buffer).get_mut(filled..self.piece_len).unwrap_or_default()
            }
            None => &mut [],
        }
    }

    /// The first `len` bytes of [`Engine::rest`] are filled.
    #[inline]
    pub(crate) fn advance(&mut self, len: usize) {
        if let Some((_, filled)) = &mut self.filling {
            *filled += len;
        }
    }

    /// Bytes in the buffer being filled.
    pub(crate) fn filled(&self) -> usize {
        self.filling.map_or(0, |(_, len)| len)
    }

    /// Forgets what is in the buffer being filled.
    pub(crate) fn discard(&mut self) {
        if let Some((buffer, _)) = self.filling.take() {
            self.free.push(buffer);
        }
    }

    fn take_buffer(&mut self) -> io::Result<usize> {
        loop {
            if let Some(buffer) = self.free.pop() {
                return Ok(buffer);
            }
            if let Some(uring) = &mut self.uring
                && !self.pieces.iter().any(|piece| piece.complete && piece.buffer.is_some())
            {
                Self::reap(uring, &mut self.pieces, self.front, &self.buffers, true)?;
            }
            // Written pieces keep their place until the writer asks for them, but need no buffer any more.
            self.free.extend(self.pieces.iter_mut().filter(|p| p.complete).filter_map(|p| p.buffer.take()));
        }
    }

    /// Sends the buffer being filled to `page` at `offset`. The buffer is written in place if it is small
    /// enough and nothing is in flight, otherwise in the background.
    pub(crate) fn send(&mut self, page: &Arc<Page>, offset: u64, last: bool, token: T) -> io::Result<()> {
        let Some((buffer, len)) = self.filling.take() else { return Ok(()) };
        let piece = Piece {
            buffer: Some(buffer),
            page: Arc::clone(page),
            offset,
            len,
            done: 0,
            complete: false,
            refused: None,
            token,
        };
        self.pieces.push_back(piece);
        let alone = self.pieces.iter().filter(|piece| !piece.complete).count() == 1;
        let number = self.front + self.pieces.len() as u64 - 1;
        let InPlace { alone: alone_max, streams } = self.in_place;
        let in_place = self.uring.is_none() || (alone && len <= alone_max && (last || streams));
        let bytes = &self.buffers.get(buffer)[..len];
        if in_place {
            page.file.write_all_at(bytes, offset)?;
            if let Some(piece) = self.pieces.back_mut() {
                piece.complete = true;
            }
            return Ok(());
        }
        if let Some(uring) = &mut self.uring {
            while uring.in_flight() >= self.queue_depth {
                Self::reap(uring, &mut self.pieces, self.front, &self.buffers, true)?;
            }
            uring.write(&page.file, buffer, &self.buffers, 0..len, offset, number)?;
        }
        Ok(())
    }

    /// Pieces that the kernel may still be reading from the buffers.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.uring.as_ref().map_or(0, Uring::in_flight)
    }

    /// Whether payloads can be written from where they are: only if everything is written in place.
    pub(crate) fn gathers(&self) -> bool {
        self.uring.is_none() || (self.in_place.streams && self.in_place.alone == usize::MAX)
    }

    /// Writes the buffer being filled and the payloads in between to `page` at `offset`.
    pub(crate) fn send_gathered(
        &mut self,
        page: &Arc<Page>,
        offset: u64,
        gather: &mut Gather<'_>,
        token: T,
    ) -> io::Result<()> {
        let Some((buffer, len)) = self.filling.take() else { return Ok(()) };
        let bytes = &self.buffers.get(buffer)[..len];
        let outcome = gather.write(bytes, |parts| page.file.write_all_parts_at(parts, offset));
        self.free.push(buffer);
        outcome?;
        let page = Arc::clone(page);
        self.pieces.push_back(Piece {
            buffer: None,
            page,
            offset,
            len,
            done: len,
            complete: true,
            refused: None,
            token,
        });
        Ok(())
    }

    /// Writes the buffer being filled and makes it durable, in one call. For a single piece.
    pub(crate) fn write_durable(&mut self, page: &Arc<Page>, offset: u64) -> io::Result<()> {
        let Some((buffer, len)) = self.filling.take() else { return Ok(()) };
        let outcome = page.file.write_all_durable_at(&self.buffers.get(buffer)[..len], offset);
        self.free.push(buffer);
        outcome
    }

    /// Whether a durable piece of `len` bytes should go through [`Engine::write_durable`].
    pub(crate) fn durable_in_place(&self) -> bool {
        self.pieces.is_empty() && (self.uring.is_none() || self.in_place.alone > 0)
    }

    /// The next piece that is completely written, in the order of sending; with `wait`, waits for it. `None`
    /// if nothing is in flight, or without `wait`, nothing is complete.
    pub(crate) fn next_done(&mut self, wait: bool) -> io::Result<Option<T>> {
        let Some(front) = self.pieces.front() else { return Ok(None) };
        if !front.complete {
            if wait {
                self.await_front()?;
            } else if let Some(uring) = &mut self.uring {
                Self::reap(uring, &mut self.pieces, self.front, &self.buffers, false)?;
            }
        }
        match self.pieces.front() {
            Some(front) if front.complete => Ok(self.pop_front()),
            _ => Ok(None),
        }
    }

    fn pop_front(&mut self) -> Option<T> {
        let piece = self.pieces.pop_front()?;
        self.front += 1;
        self.free.extend(piece.buffer);
        Some(piece.token)
    }

    fn await_front(&mut self) -> io::Result<()> {
        while self.pieces.front().is_some_and(|piece| !piece.complete) {
            let Some(uring) = &mut self.uring else { return Ok(()) };
            Self::reap(uring, &mut self.pieces, self.front, &self.buffers, true)?;
        }
        Ok(())
    }

    /// Makes everything written to `page` durable. Nothing may be in flight.
    pub(crate) fn sync(&mut self, page: &Page) -> io::Result<()> {
        match &mut self.uring {
            Some(uring) if self.in_place.alone == 0 => match uring.sync(&page.file) {
                // It has not begun, so nothing of its outcome is lost.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EAGAIN)) => {
                    page.file.sync_data()
                }
                outcome => outcome,
            },
            _ => page.file.sync_data(),
        }
    }

    /// Waits until the kernel is done with every buffer, whatever the outcome.
    pub(crate) fn abandon(&mut self) {
        if let Some(uring) = &mut self.uring {
            uring.drain();
        }
        self.discard();
        while self.pop_front().is_some() {}
    }
}

impl<T> Drop for Engine<T> {
    fn drop(&mut self) {
        if let Some(uring) = &mut self.uring {
            uring.drain();
        }
    }
}
