//! A copy as a tar archive on standard output.

use crate::output::Output;
use crate::snapshot::ring_image::RingImage;
use anyhow::bail;
use std::io::{self, Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};
use tar::{Builder, EntryType, Header};
use waldo::protocol::names;
use waldo_terminal::failure::{Ended, OutputClosed};
use waldo_terminal::interrupt::Interrupt;

/// Writes the archive. The metadata comes last: what is unpacked of half an archive is no ring.
///
/// # Errors
/// What reading and writing meet; [`Ended`] after a signal.
pub fn write(image: &mut RingImage, out: Output<'_>, interrupt: &Interrupt) -> anyhow::Result<()> {
    let mut failed = None;
    let stream = Stream { out, interrupt, failed: &mut failed };
    match write_entries(image, Builder::new(stream)) {
        Ok(()) => Ok(()),
        // A user who makes a backup must not take the part written so far for the whole.
        Err(_) if failed.as_ref().is_some_and(|error| error.is::<OutputClosed>()) => {
            bail!("nobody took the whole archive: standard output was closed before its end")
        }
        // The archive's error only says that there was one.
        Err(error) => Err(failed.unwrap_or_else(|| error.into())),
    }
}

fn write_entries(image: &mut RingImage, mut archive: Builder<Stream<'_, '_>>) -> io::Result<()> {
    while let Some(mut page) = image.next_page() {
        let mut header = header(page.len(), image);
        archive.append_data(&mut header, names::page(page.id()), &mut page as &mut dyn Read)?;
        image.note(&page);
    }
    let meta = image.meta();
    archive.append_data(&mut header(meta.len() as u64, image), names::META, &meta[..])?;
    archive.into_inner()?.flush()
}

fn header(len: u64, image: &RingImage) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(len);
    header.set_mode(image.mode());
    // If root unpacks the archive, the files belong to the user whose writer continues with the ring.
    let (user, group) = image.owner();
    header.set_uid(user.into());
    header.set_gid(group.into());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    header.set_mtime(now.as_secs());
    header
}

/// Standard output, which ends at a signal also if nobody reads it.
struct Stream<'s, 'o> {
    out: Output<'o>,
    interrupt: &'s Interrupt,
    /// The error in full.
    failed: &'s mut Option<anyhow::Error>,
}

impl Stream<'_, '_> {
    fn keep(&mut self, result: anyhow::Result<()>) -> io::Result<()> {
        result.map_err(|error| {
            *self.failed = Some(error);
            io::Error::other("the archive was not written")
        })
    }
}

impl Write for Stream<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(signal) = self.interrupt.signal() {
            self.keep(Err(Ended(signal).into()))?;
        }
        // After an error, the end of the archive is not written either.
        if self.failed.is_some() {
            return Err(io::Error::other("the archive was not written"));
        }
        self.out.buffer().extend_from_slice(bytes);
        if self.out.is_full() {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.keep(result)
    }
}
