//! A copy in a directory.
//!
//! A directory that is made for the copy gets its name when the copy is complete. An existing directory is
//! filled in place, with the metadata last. So an incomplete copy is not a ring, and files that another
//! process has put into the directory meanwhile are neither replaced nor mixed with the copy.

use crate::snapshot::page_reader::PageReader;
use crate::snapshot::place::{CopyPlace, give};
use crate::snapshot::ring_image::RingImage;
use anyhow::{Context, bail};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use waldo::protocol::names;
use waldo_terminal::failure::Ended;
use waldo_terminal::interrupt::Interrupt;

const PIECE: usize = 1 << 20;

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
            .with_context(|| format!("cannot copy to {}", copy.place.target().join(&name).display()))?;
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
    place: CopyPlace,
    /// The files that have been made.
    files: Vec<String>,
    done: bool,
}

impl Copy {
    fn begin(to: &Path, image: &RingImage) -> anyhow::Result<Copy> {
        Ok(Copy { place: CopyPlace::find(to, image.dir_mode())?, files: Vec::new(), done: false })
    }

    fn create(&mut self, name: &str, image: &RingImage) -> anyhow::Result<File> {
        let cannot = || format!("cannot make {}", self.place.target().join(name).display());
        let file = self.place.create(name, image.mode()).with_context(cannot)?;
        self.files.push(name.to_owned());
        give(&file, image.owner())
            .with_context(|| format!("cannot make {}", self.place.target().join(name).display()))?;
        Ok(file)
    }

    /// Everything is on the disk before there is metadata that says so, and all of it before the end.
    fn finish(mut self, image: &RingImage) -> anyhow::Result<()> {
        self.check_alone()?;
        let scratch = format!("{}meta", names::SCRATCH_PREFIX);
        let mut file = self.create(&scratch, image)?;
        let mut finish = || -> io::Result<()> {
            self.place.sync()?;
            file.write_all(&image.meta())?;
            file.sync_all()?;
            self.place.rename_new(&scratch, names::META)?;
            self.files.push(names::META.to_owned());
            self.place.sync()?;
            self.place.complete(image.owner())
        };
        let finished = finish();
        finished.with_context(|| format!("cannot complete the copy {}", self.place.target().display()))?;
        self.done = true;
        Ok(())
    }

    /// Checks whether another process is at work in the directory.
    fn check_alone(&self) -> anyhow::Result<()> {
        let known: BTreeSet<OsString> = self.files.iter().map(OsString::from).collect();
        let cannot = || format!("cannot look at the copy {}", self.place.target().display());
        for name in self.place.names().with_context(cannot)? {
            if !known.contains(&name) {
                let path = self.place.path_now(&name.to_string_lossy());
                bail!("{} has come into the directory of the copy meanwhile", path.display());
            }
        }
        Ok(())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if !self.done {
            self.place.abandon(&self.files);
        }
    }
}
