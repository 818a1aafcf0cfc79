//! The bare minimum: files written over and over, mappings walked.

use anyhow::Context;
use nix::fcntl::{FallocateFlags, fallocate};
use rustix::io::{ReadWriteFlags, pwritev2};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use waldo::protocol::limits::{PAGE_HEADER_LEN, RECORD_HEADER_LEN, align_record};
use waldo::protocol::record::FLAG_SEAL;

/// Decides how the page cache holds the files, as the writer's zeros do for its pages.
const ZERO_PIECE: usize = 256 << 10;

/// Files as a ring's pages are after the first lap: allocated, once written, in the page cache, flushed.
pub struct Files {
    files: Vec<File>,
    len: u64,
    current: usize,
    offset: u64,
}

impl Files {
    /// Makes `count` files of `len` bytes in `dir`.
    pub fn make(dir: &Path, count: usize, len: u64) -> anyhow::Result<Files> {
        let make = |n| make_file(&path(dir, n), len);
        let files: anyhow::Result<_> = (0..count).map(make).collect();
        let files = files.with_context(|| format!("cannot make the floor's files in {}", dir.display()))?;
        Ok(Files { files, len, current: 0, offset: 0 })
    }

    /// The same, but new: blocks are reserved, and nothing has been written.
    pub fn reserve(dir: &Path, count: usize, len: u64) -> anyhow::Result<Files> {
        let make = |n| reserve_file(&path(dir, n), len);
        let files: anyhow::Result<_> = (0..count).map(make).collect();
        let files = files.with_context(|| format!("cannot make the floor's files in {}", dir.display()))?;
        Ok(Files { files, len, current: 0, offset: 0 })
    }

    /// All of them, for somebody else to flush.
    pub fn duplicates(&self) -> io::Result<Vec<File>> {
        self.files.iter().map(File::try_clone).collect()
    }

    /// The file and the offset for `bytes` more bytes.
    fn next(&mut self, bytes: usize) -> (&File, u64) {
        if self.offset + bytes as u64 > self.len {
            self.current = (self.current + 1) % self.files.len();
            self.offset = 0;
        }
        let offset = self.offset;
        self.offset += bytes as u64;
        (&self.files[self.current], offset)
    }

    /// One `pwrite`.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (file, offset) = self.next(bytes.len());
        whole(file.write_at(bytes, offset)?, bytes)
    }

    /// One `pwritev2` with RWF_DSYNC.
    pub fn write_durable(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (file, offset) = self.next(bytes.len());
        whole(pwritev2(file, &[IoSlice::new(bytes)], offset, ReadWriteFlags::DSYNC)?, bytes)
    }

    /// Flushes the file being written.
    pub fn flush_current(&self) -> io::Result<()> {
        self.files[self.current].sync_data()
    }

    /// Flushes all of them.
    pub fn flush(&self) -> io::Result<()> {
        self.files.iter().try_for_each(File::sync_data)
    }
}

/// Where the file with this number is.
pub fn path(dir: &Path, n: usize) -> PathBuf {
    dir.join(format!("file-{n}"))
}

/// A new file, with blocks where the file system reserves them.
fn reserve_file(path: &Path, len: u64) -> anyhow::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, i64::try_from(len)?) {
        Err(nix::errno::Errno::EOPNOTSUPP) => file.set_len(len)?,
        outcome => outcome?,
    }
    Ok(file)
}

/// A file that has been written once.
pub fn make_file(path: &Path, len: u64) -> anyhow::Result<File> {
    let zeros = vec![0; ZERO_PIECE];
    let file = reserve_file(path, len)?;
    for at in (0..len).step_by(ZERO_PIECE) {
        let piece = (len - at).min(ZERO_PIECE as u64) as usize;
        file.write_all_at(&zeros[..piece], at)?;
    }
    file.sync_all()?;
    Ok(file)
}

fn whole(written: usize, bytes: &[u8]) -> io::Result<()> {
    if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Goes from record to record by the length fields alone; gives how many there are and where they end.
pub fn walk(page: &[u8]) -> (u64, usize) {
    let (mut at, mut records) = (PAGE_HEADER_LEN, 0);
    while let Some(field) = page.get(at..at + 4).and_then(|field| field.try_into().ok()) {
        let length = u32::from_le_bytes(field);
        if length < RECORD_HEADER_LEN as u32 || length >= FLAG_SEAL {
            break;
        }
        records += 1;
        at += align_record(length as usize);
    }
    (records, at)
}

/// Adds up all bytes, eight at a time.
#[inline]
pub fn sum(bytes: &[u8]) -> u64 {
    let chunks = bytes.chunks_exact(8);
    let rest = chunks.remainder().iter().map(|byte| u64::from(*byte)).fold(0, u64::wrapping_add);
    chunks.filter_map(|chunk| chunk.try_into().ok()).map(u64::from_le_bytes).fold(rest, u64::wrapping_add)
}
