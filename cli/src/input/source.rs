//! Where input comes from: standard input, or a FIFO that many programs write into.

use anyhow::{Context, bail};
use nix::fcntl::OFlag;
use rustix::io::ioctl_fionread;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What kind of input it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ends once.
    Stream,
    /// The FIFO at this path. It ends each time when the last program that has it open goes away, and goes on
    /// with the next one.
    Fifo(PathBuf),
}

/// An input.
pub struct Source {
    file: File,
    kind: Kind,
    /// What has been sent and not been read would be lost with this process.
    volatile: bool,
}

impl Source {
    /// Standard input.
    pub fn stdin() -> anyhow::Result<Source> {
        let fd = io::stdin().as_fd().try_clone_to_owned().context("cannot use standard input")?;
        let file = File::from(fd);
        let volatile = file.metadata().is_ok_and(|s| s.file_type().is_fifo() || s.file_type().is_socket());
        Ok(Source { file, kind: Kind::Stream, volatile })
    }

    /// The FIFO at `path`, made if there is none.
    pub fn fifo(path: &Path) -> anyhow::Result<Source> {
        match nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600)) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(errno) => {
                return Err(
                    anyhow::Error::new(errno).context(format!("cannot make the FIFO {}", path.display()))
                );
            }
        }
        let file = open(path).with_context(|| format!("cannot open the FIFO {}", path.display()))?;
        if !file.metadata()?.file_type().is_fifo() {
            bail!("{} is not a FIFO; remove it, or name another path with --fifo", path.display());
        }
        Ok(Source { file, kind: Kind::Fifo(path.to_path_buf()), volatile: true })
    }

    /// Whether something comes behind its end.
    pub fn goes_on(&self) -> bool {
        matches!(self.kind, Kind::Fifo(_))
    }

    /// After the end of a FIFO, which is when all programs have gone that had it open: makes it ready for the
    /// next ones. Until one has come, a poll shows nothing. A descriptor that has seen the end would show
    /// that for ever.
    pub fn reopen(&mut self) -> anyhow::Result<()> {
        let Kind::Fifo(path) = &self.kind else { return Ok(()) };
        // By its descriptor: the path may lead to another one by now. What is in the pipe meanwhile stays
        // there, since this one is still open.
        let fresh = open(Path::new(&format!("/proc/self/fd/{}", self.file.as_raw_fd()))).or_else(|_| {
            let fresh = open(path)?;
            let (old, new) = (self.file.metadata()?, fresh.metadata()?);
            let same = (old.dev(), old.ino()) == (new.dev(), new.ino());
            if same { Ok(fresh) } else { Err(io::Error::from(io::ErrorKind::NotFound)) }
        });
        self.file = fresh.with_context(|| format!("cannot go on with the FIFO {}", path.display()))?;
        Ok(())
    }

    /// Bytes that have been sent, are not read yet, and would be lost; 0 for a file.
    pub fn waiting(&self) -> u64 {
        if self.volatile { ioctl_fionread(&self.file).unwrap_or(0) } else { 0 }
    }

    /// Whether what has been sent and not been read would be lost with this process.
    pub fn volatile(&self) -> bool {
        self.volatile
    }

    /// To poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

/// Does not wait for somebody who writes.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}
