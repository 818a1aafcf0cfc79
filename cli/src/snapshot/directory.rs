//! A copy in a directory.

use crate::snapshot::page_reader::PageReader;
use crate::snapshot::ring_image::RingImage;
use anyhow::{Context, bail};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use waldo::protocol::names;
use waldo_terminal::failure::Ended;
use waldo_terminal::interrupt::Interrupt;

const PIECE: usize = 1 << 20;

/// Makes the copy. If that fails, nothing of it stays.
///
/// # Errors
/// If the directory is there and not empty, and what reading and writing meet; [`Ended`] after a signal.
pub fn write(image: &mut RingImage, to: &Path, interrupt: &Interrupt) -> anyhow::Result<()> {
    let made = make_empty(to)?;
    let mut copy = Copy { to: to.to_path_buf(), made, files: Vec::new(), done: false };
    while let Some(mut page) = image.next_page() {
        let path = copy.to.join(names::page(page.id()));
        let file = copy.create(&path, image.mode())?;
        copy_page(&mut page, &file, interrupt)
            .with_context(|| format!("cannot copy to {}", path.display()))?;
        image.note(&page);
    }
    // Everything is on the disk before there is metadata that says so.
    File::open(to)
        .and_then(|dir| dir.sync_all())
        .with_context(|| format!("cannot flush {}", to.display()))?;
    let (scratch, meta) = (to.join(format!("{}meta", names::SCRATCH_PREFIX)), to.join(names::META));
    let mut file = copy.create(&scratch, image.mode())?;
    let mut finish = || -> io::Result<()> {
        file.write_all(&image.meta())?;
        file.sync_all()?;
        fs::rename(&scratch, &meta)?;
        File::open(to)?.sync_all()
    };
    copy.files.push(meta.clone());
    finish().with_context(|| format!("cannot write {}", meta.display()))?;
    copy.done = true;
    Ok(())
}

/// Whether the directory had to be made.
fn make_empty(to: &Path) -> anyhow::Result<bool> {
    match DirBuilder::new().mode(0o750).create(to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mut entries = fs::read_dir(to).with_context(|| format!("cannot copy to {}", to.display()))?;
            if entries.next().is_some() {
                bail!("{} is there and not empty: name a new directory for the copy", to.display());
            }
            Ok(false)
        }
        Err(error) => Err(error).with_context(|| format!("cannot make {}", to.display())),
    }
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
    to: PathBuf,
    made: bool,
    files: Vec<PathBuf>,
    done: bool,
}

impl Copy {
    fn create(&mut self, path: &Path, mode: u32) -> anyhow::Result<File> {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        let file = file.with_context(|| format!("cannot make {}", path.display()))?;
        self.files.push(path.to_path_buf());
        Ok(file)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // The metadata first. What cannot be removed is told by the error that led here.
        for file in self.files.iter().rev() {
            let _ = fs::remove_file(file);
        }
        if self.made {
            let _ = fs::remove_dir(&self.to);
        }
    }
}
