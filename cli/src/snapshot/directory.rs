//! A copy in a directory.
//!
//! A directory that is made for the copy gets its name when the copy is complete. One that is there already
//! is filled in its place, with the metadata last. So a copy that does not come to its end is no ring, and
//! what somebody else has put into the directory meanwhile is neither replaced nor mixed with the copy.

use crate::snapshot::page_reader::PageReader;
use crate::snapshot::ring_image::RingImage;
use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use waldo::protocol::names;
use waldo_terminal::failure::Ended;
use waldo_terminal::interrupt::Interrupt;

const PIECE: usize = 1 << 20;

/// Names that are tried for a directory that has no name yet. More are taken only by copies that were
/// killed.
const TRIES_MAX: u32 = 1000;

/// Makes the copy. If that fails, nothing of it stays.
///
/// # Errors
/// If the directory is there and not empty, and what reading and writing meet; [`Ended`] after a signal.
pub fn write(image: &mut RingImage, to: &Path, interrupt: &Interrupt) -> anyhow::Result<()> {
    let mut copy = Copy::begin(to, image)?;
    while let Some(mut page) = image.next_page() {
        let name = names::page(page.id());
        let file = copy.create(&name, image)?;
        copy_page(&mut page, &file, interrupt)
            .with_context(|| format!("cannot copy to {}", copy.dir.join(&name).display()))?;
        image.note(&page);
    }
    copy.finish(image)
}

/// Blank stretches become holes, which read as zeros.
fn copy_page(page: &mut PageReader, mut file: &File, interrupt: &Interrupt) -> anyhow::Result<()> {
    file.set_len(page.len())?;
    let mut piece = vec![0; PIECE];
    loop {
        if let Some(signal) = interrupt.signal() {
            return Err(Ended(signal).into());
        }
        match page.read(&mut piece)? {
            0 => break,
            n if piece[..n].iter().all(|byte| *byte == 0) => {
                file.seek(SeekFrom::Current(i64::try_from(n)?))?;
            }
            n => file.write_all(&piece[..n])?,
        }
    }
    file.sync_all()?;
    Ok(())
}

/// What has been made, and goes again unless it is done.
struct Copy {
    /// Where it is asked for.
    to: PathBuf,
    /// Where it is made: there, or beside it.
    dir: PathBuf,
    /// The files that have been made.
    files: Vec<String>,
    done: bool,
}

impl Copy {
    /// Finds the place.
    fn begin(to: &Path, image: &RingImage) -> anyhow::Result<Copy> {
        // Without a slash at the end.
        let to: PathBuf = to.components().collect();
        let dir = match fs::read_dir(&to) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    bail!("{} is there and not empty: name a new directory for the copy", to.display());
                }
                to.clone()
            }
            Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(&to).is_err() => {
                make_beside(&to, image).with_context(|| format!("cannot make {}", to.display()))?
            }
            Err(error) => return Err(error).with_context(|| format!("cannot copy to {}", to.display())),
        };
        Ok(Copy { to, dir, files: Vec::new(), done: false })
    }

    fn is_named(&self) -> bool {
        self.dir == self.to
    }

    fn create(&mut self, name: &str, image: &RingImage) -> anyhow::Result<File> {
        let path = self.dir.join(name);
        let make = || {
            let file = OpenOptions::new().write(true).create_new(true).mode(image.mode()).open(&path)?;
            own(&file, image).map(|()| file)
        };
        let file = make().with_context(|| format!("cannot make {}", path.display()))?;
        self.files.push(name.to_owned());
        Ok(file)
    }

    /// Everything is on the disk before there is metadata that says so, and all of it before the end.
    fn finish(mut self, image: &RingImage) -> anyhow::Result<()> {
        self.check_alone()?;
        let scratch = format!("{}meta", names::SCRATCH_PREFIX);
        let mut file = self.create(&scratch, image)?;
        let mut finish = || -> io::Result<()> {
            sync(&self.dir)?;
            file.write_all(&image.meta())?;
            file.sync_all()?;
            rename_new(&self.dir.join(&scratch), &self.dir.join(names::META))?;
            self.files.push(names::META.to_owned());
            sync(&self.dir)?;
            if !self.is_named() {
                // An empty directory that has come meanwhile gives way; any other does not.
                fs::rename(&self.dir, &self.to)?;
                self.dir.clone_from(&self.to);
            }
            sync(parent_of(&self.to))
        };
        let finished = finish();
        finished.with_context(|| format!("cannot complete the copy {}", self.to.display()))?;
        self.done = true;
        Ok(())
    }

    /// Looks whether somebody else is at work in the directory.
    fn check_alone(&self) -> anyhow::Result<()> {
        let known: BTreeSet<OsString> = self.files.iter().map(OsString::from).collect();
        let entries = fs::read_dir(&self.dir)
            .with_context(|| format!("cannot look at the copy {}", self.dir.display()))?;
        for entry in entries {
            let name = entry?.file_name();
            if !known.contains(&name) {
                bail!("{} has come into the directory of the copy meanwhile", self.dir.join(name).display());
            }
        }
        Ok(())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // The metadata first. What cannot be removed is told by the error that led here.
        for name in self.files.iter().rev() {
            let _ = fs::remove_file(self.dir.join(name));
        }
        if !self.is_named() {
            let _ = fs::remove_dir(&self.dir);
        }
    }
}

/// Makes a directory beside `to`, with the permissions and the owner of the ring's.
fn make_beside(to: &Path, image: &RingImage) -> io::Result<PathBuf> {
    let name = to.file_name().ok_or(ErrorKind::InvalidInput)?;
    for n in 0..TRIES_MAX {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".snapshot-{}-{n}", std::process::id()));
        let dir = to.with_file_name(hidden);
        match DirBuilder::new().mode(image.dir_mode()).create(&dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => {
                made?;
                return File::open(&dir).and_then(|made| own(&made, image)).map(|()| dir);
            }
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Gives a file to the ring's user, which only root can do: the copy is to be that user's, who goes on with
/// it.
fn own(file: &File, image: &RingImage) -> io::Result<()> {
    let ((user, group), stat) = (image.owner(), file.metadata()?);
    if nix::unistd::geteuid().is_root() && (stat.uid(), stat.gid()) != (user, group) {
        fchown(file, Some(user), Some(group))?;
    }
    Ok(())
}

/// Renames unless the new name is taken.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        // A file system that cannot do that.
        Err(Errno::EINVAL | Errno::ENOSYS) if fs::symlink_metadata(to).is_err() => fs::rename(from, to),
        outcome => Ok(outcome?),
    }
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
