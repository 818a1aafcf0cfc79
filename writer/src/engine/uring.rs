//! io_uring: registered buffers and files where the kernel allows them, plain ones where not.

#![allow(unsafe_code, reason = "submitting to io_uring promises the kernel that buffers stay valid")]

use super::buffer::Buffers;
use crate::disk::{DiskFile, file_length, with_room};
use crossbeam_utils::Backoff;
use io_uring::{IoUring, opcode, squeue, types};
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the kernel may lack the resources for a system call.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the kernel has not started a piece of work, because it had no thread (ECANCELED) or no memory for
/// it.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EAGAIN | libc::ENOMEM))
}

/// Registered file slots: 0 holds the lock, the others pages.
const FILE_SLOTS: usize = 4;
const LOCK_SLOT: u32 = 0;
/// `user_data` of a flush; pieces are numbered from 0 and never get there.
const SYNC: u64 = u64::MAX;

pub(super) struct Uring {
    ring: IoUring,
    in_flight: usize,
    registered_buffers: bool,
    /// Which file is in which slot; empty where files could not be registered. The Arc keeps the descriptor
    /// open as long as the kernel may use it.
    slots: Vec<Option<Arc<dyn DiskFile>>>,
    next_slot: usize,
    synced: Option<io::Result<usize>>,
}

impl Uring {
    /// Sets up io_uring and tests it with one operation: where a process may set it up, it may still not be
    /// allowed to use it.
    pub(super) fn open(depth: u32, buffers: &Buffers, lock: RawFd) -> io::Result<Uring> {
        // Not for a single issuer: a writer may be handed from thread to thread.
        let ring = with_room(|| IoUring::new(depth.max(2)))?;
        let mut probe = io_uring::Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [opcode::Write::CODE, opcode::WriteFixed::CODE, opcode::Fsync::CODE];
        if !needed.iter().all(|code| probe.is_supported(*code)) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the kernel's io_uring lacks write or fsync",
            ));
        }
        let parts: Vec<libc::iovec> = (0..buffers.count())
            .map(|index| {
                let part = buffers.get(index);
                libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() }
            })
            .collect();
        // SAFETY: the parts stay mapped until the engine is dropped, which drops the ring first.
        let registered_buffers = match unsafe { ring.submitter().register_buffers(&parts) } {
            Ok(()) => true,
            Err(error) => {
                tracing::info!(
                    "write buffers are not registered with io_uring ({error}); raise RLIMIT_MEMLOCK"
                );
                false
            }
        };
        let mut table = [-1; FILE_SLOTS];
        table[LOCK_SLOT as usize] = lock;
        let slots = match ring.submitter().register_files(&table) {
            Ok(()) => vec![None; FILE_SLOTS],
            Err(error) => {
                tracing::info!("files are not registered with io_uring ({error})");
                Vec::new()
            }
        };
        let mut uring = Uring { ring, in_flight: 0, registered_buffers, slots, next_slot: 1, synced: None };
        uring.attempt()?;
        Ok(uring)
    }

    /// Has a thread of the kernel do nothing, and waits for it.
    fn attempt(&mut self) -> io::Result<()> {
        let entry = opcode::Nop::new().build().flags(squeue::Flags::ASYNC).user_data(0);
        self.push(&entry)?;
        self.await_any().map_err(|error| match is_refusal(&error) {
            true => io::Error::new(
                error.kind(),
                "no thread can be started for its work (RLIMIT_NPROC, or a control group's pids.max)",
            ),
            false => error,
        })
    }

    /// As if the kernel had refused to register anything.
    #[cfg(test)]
    pub(super) fn unregister(&mut self) {
        self.registered_buffers = false;
        self.slots.clear();
    }

    pub(super) fn buffers_registered(&self) -> bool {
        self.registered_buffers
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The slot of `file`, registering it if need be in place of the one that was registered longest ago.
    fn slot(&mut self, file: &Arc<dyn DiskFile>) -> io::Result<Option<types::Fixed>> {
        if self.slots.is_empty() {
            return Ok(None);
        }
        let held =
            |slot: &Option<Arc<dyn DiskFile>>| slot.as_ref().is_some_and(|held| Arc::ptr_eq(held, file));
        if let Some(slot) = self.slots.iter().position(held) {
            return Ok(Some(types::Fixed(slot as u32)));
        }
        let slot = self.next_slot;
        let fd = file.fd().ok_or(io::ErrorKind::Unsupported)?;
        // The kernel keeps a replaced file open until the requests on it are done.
        self.ring.submitter().register_files_update(slot as u32, &[fd])?;
        self.slots[slot] = Some(Arc::clone(file));
        self.next_slot = if slot + 1 == FILE_SLOTS { 1 } else { slot + 1 };
        Ok(Some(types::Fixed(slot as u32)))
    }

    pub(super) fn write(
        &mut self,
        file: &Arc<dyn DiskFile>,
        buffer: usize,
        buffers: &Buffers,
        range: Range<usize>,
        offset: u64,
        number: u64,
    ) -> io::Result<()> {
        let bytes = &buffers.get(buffer)[range];
        let (ptr, len) = (bytes.as_ptr(), bytes.len() as u32);
        let fixed = self.slot(file)?;
        let entry = match (fixed, self.registered_buffers) {
            (Some(fd), true) => opcode::WriteFixed::new(fd, ptr, len, buffer as u16).offset(offset).build(),
            (Some(fd), false) => opcode::Write::new(fd, ptr, len).offset(offset).build(),
            (None, registered) => {
                let fd = types::Fd(file.fd().ok_or(io::ErrorKind::Unsupported)?);
                if registered {
                    opcode::WriteFixed::new(fd, ptr, len, buffer as u16).offset(offset).build()
                } else {
                    opcode::Write::new(fd, ptr, len).offset(offset).build()
                }
            }
        };
        self.push(&entry.user_data(number))?;
        self.submit(false)
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the entry's buffer belongs to `Buffers`, which outlives the ring and is neither freed nor
        // written while the piece is in flight (the engine's free list); its file is kept open by the piece.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.submit(false)?;
        }
        self.in_flight += 1;
        Ok(())
    }

    /// Hands what was pushed to the kernel; with `wait`, returns when there is a completion.
    pub(super) fn submit(&mut self, wait: bool) -> io::Result<()> {
        // Some of the work is done on this thread at once.
        file_length::block_signal();
        let want = usize::from(wait && self.in_flight > 0 && self.ring.completion().is_empty());
        let mut first_refused = None;
        let backoff = Backoff::new();
        loop {
            match self.ring.submit_and_wait(want) {
                Ok(_) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                // The completion queue is full, or memory is short for the moment: completions make room.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) => {
                    if !self.ring.completion().is_empty() {
                        return Ok(());
                    }
                    if first_refused.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                        return Err(error);
                    }
                    backoff.snooze();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A completed piece: its number, and bytes written or the error.
    pub(super) fn completion(&mut self) -> Option<(u64, io::Result<usize>)> {
        loop {
            let entry = self.ring.completion().next()?;
            self.in_flight -= 1;
            let result = match entry.result() {
                n if n >= 0 => Ok(n as usize),
                errno => Err(io::Error::from_raw_os_error(-errno)),
            };
            if entry.user_data() == SYNC {
                self.synced = Some(result);
            } else {
                return Some((entry.user_data(), result));
            }
        }
    }

    /// fdatasync. Nothing else is in flight.
    pub(super) fn sync(&mut self, file: &Arc<dyn DiskFile>) -> io::Result<()> {
        loop {
            let flags = types::FsyncFlags::DATASYNC;
            let entry = match self.slot(file)? {
                Some(fd) => opcode::Fsync::new(fd).flags(flags).build(),
                None => {
                    let fd = types::Fd(file.fd().ok_or(io::ErrorKind::Unsupported)?);
                    opcode::Fsync::new(fd).flags(flags).build()
                }
            };
            self.push(&entry.user_data(SYNC))?;
            let outcome = loop {
                self.submit(true)?;
                // Only the flush is in flight, so no piece can come out here.
                let _ = self.completion();
                if let Some(outcome) = self.synced.take() {
                    break outcome;
                }
            };
            match outcome {
                Ok(_) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until nothing is in flight, whatever the outcome.
    pub(super) fn drain(&mut self) {
        while self.in_flight > 0 && self.submit(true).is_ok() {
            while self.completion().is_some() {}
        }
        // The kernel refuses to be waited for (a filter of system calls that came later, say). What it has
        // been given it may still be reading from the buffers, and it tells when it is done without being
        // asked.
        let begun = Instant::now();
        while self.in_flight > self.ring.submission().len() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
            while self.completion().is_some() {}
        }
    }

    /// One write, waited for; for measuring.
    pub(super) fn write_alone(
        &mut self,
        file: &Arc<dyn DiskFile>,
        buffers: &Buffers,
        len: usize,
        offset: u64,
    ) -> io::Result<()> {
        self.write(file, 0, buffers, 0..len, offset, 0)?;
        self.await_any()
    }

    /// Waits for one of the writes in flight; for measuring.
    pub(super) fn await_any(&mut self) -> io::Result<()> {
        loop {
            if let Some((_, outcome)) = self.completion() {
                return outcome.map(drop);
            }
            self.submit(true)?;
        }
    }
}
