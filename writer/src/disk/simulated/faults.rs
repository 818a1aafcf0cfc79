//! What goes wrong while a simulated disk is used.

use super::Rng;
use std::io;

/// A call fails once in so many times; never at 0.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) rng: Rng,
    /// EIO of anything but a flush.
    pub(crate) io: u64,
    /// ENOSPC of whatever needs room.
    pub(crate) space: u64,
    /// EIO of a flush.
    pub(crate) flush: u64,
    /// Reads and writes that move only a part.
    pub(crate) short: u64,
    /// EINTR of reads and writes.
    pub(crate) interrupt: u64,
    /// Somebody maps the file: of so many questions one finds it so; 1 for always.
    pub(crate) mapped: u64,
    /// What the disk says it did, and did not.
    pub(crate) lie: Lie,
    /// Calls that failed.
    pub(crate) failed: u64,
}

/// A guard of the writer's that has no effect, because the disk does not do what it is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lie {
    /// `sync_dir` does nothing after a rename to a name that begins so, or after any change for an empty
    /// word.
    pub(crate) names: Option<&'static str>,
    /// `sync_data` does nothing for files whose names begin so.
    pub(crate) data: Option<&'static str>,
    /// `write_durable_at` only writes.
    pub(crate) durable_writes: bool,
    /// A write of what stands there already does nothing.
    pub(crate) rewrites: bool,
    /// Zeros are not written to pages.
    pub(crate) zeros: bool,
}

impl Lie {
    pub(super) fn about_data(&self, name: Option<&str>) -> bool {
        self.data.is_some_and(|start| name.is_some_and(|name| name.starts_with(start)))
    }

    pub(super) fn about_names(&self, last: &str) -> bool {
        self.names.is_some_and(|start| last.starts_with(start))
    }

    pub(super) fn about_zeros(&self, name: Option<&str>, bytes: &[u8]) -> bool {
        self.zeros
            && name.is_some_and(|name| name.starts_with("page-"))
            && bytes.iter().all(|byte| *byte == 0)
    }
}

impl Faults {
    /// A disk on which nothing goes wrong.
    pub(crate) fn none() -> Faults {
        Faults {
            rng: Rng::new(0),
            io: 0,
            space: 0,
            flush: 0,
            short: 0,
            interrupt: 0,
            mapped: 0,
            lie: Lie::default(),
            failed: 0,
        }
    }

    fn fail(&mut self, odds: u64, errno: i32) -> io::Result<()> {
        if self.rng.one_in(odds) {
            self.failed += u64::from(errno != libc::EINTR);
            return Err(io::Error::from_raw_os_error(errno));
        }
        Ok(())
    }

    pub(super) fn call(&mut self) -> io::Result<()> {
        self.fail(self.io, libc::EIO)
    }

    pub(super) fn read(&mut self) -> io::Result<()> {
        self.fail(self.interrupt, libc::EINTR)?;
        self.call()
    }

    pub(super) fn space(&mut self) -> io::Result<()> {
        self.fail(self.space, libc::ENOSPC)?;
        self.call()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.fail(self.flush, libc::EIO)
    }

    /// How much of `len` bytes is moved.
    pub(super) fn piece(&mut self, len: usize) -> usize {
        if len > 1 && self.rng.one_in(self.short) { 1 + self.rng.below(len as u64 - 1) as usize } else { len }
    }

    pub(super) fn is_mapped(&mut self) -> bool {
        self.rng.one_in(self.mapped)
    }
}
