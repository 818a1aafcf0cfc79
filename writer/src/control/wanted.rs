//! The segment that a writer wants: found and taken over, or made.

use super::object::{self, OwnSegment, Standing, posix_name};
use super::{Control, boot, left_over, link_file, name_of};
use crate::disk::{Directory, FileRights, Object};
use crate::error::OpenError;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use waldo_shm_protocol::link::Link;
use waldo_shm_protocol::names;
use waldo_shm_protocol::segment::{SegmentGeometry, SegmentIdentity};

/// The ring that a segment is wanted for.
pub(super) struct Wanted<'a> {
    pub(super) link: Link,
    pub(super) identity: SegmentIdentity,
    pub(super) shape: SegmentGeometry,
    pub(super) rights: FileRights,
    pub(super) dir: &'a Directory,
}

impl Wanted<'_> {
    /// The segment to use, and the one that it takes the place of. `before` is what the link named, or would
    /// have.
    pub(super) fn find_or_make(&self, before: Link) -> Result<(Control, Option<Control>), OpenError> {
        let mut replaced = None;
        let mut epoch_seen = 0;
        // Whatever is wrong with the old one, it is not in the way unless it has the name of the new one.
        if let Ok(Standing::Ours(found)) = object::look_at(&before, &self.identity, self.dir) {
            epoch_seen = left_over::plausible_epoch(&found);
            match self.take_over(*found, before).map_err(|error| self.refused(error))? {
                Some((control, true)) => return Ok((Control { epoch_seen, ..control }, None)),
                Some((control, false)) => replaced = Some(control),
                None => {}
            }
        }
        let mut control = self.make(&mut epoch_seen)?;
        control.epoch_seen = epoch_seen;
        Ok((control, replaced))
    }

    /// Maps the segment that was found; `true` says that it is good for this writer too. `None` if it cannot
    /// be mapped.
    fn take_over(&self, found: OwnSegment, link: Link) -> io::Result<Option<(Control, bool)>> {
        let Some(shape) = found.shape else { return Ok(None) };
        let place = match (&link, &self.link) {
            // The segment has another name because another user's file had the first one.
            (Link::Posix(name), Link::Posix(wanted)) => name
                .strip_prefix(wanted.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-')),
            (link, wanted) => link == wanted,
        };
        let same_boot = boot::same_boot(&found.file, found.identity.boot_id, self.identity.boot_id);
        let fits = place && same_boot && shape == self.shape;
        // It may have holes: with no room for them, storing there would be a SIGBUS.
        match object::allocate(&found.file, shape.segment_len()) {
            Err(error) if fits && link_file::no_room(&error) => return Err(error),
            Err(_) => return Ok(None),
            Ok(()) => {}
        }
        if fits {
            self.rights.give(&found.file)?;
            object::write_home_path(&found.file, self.dir.home())?;
        }
        Ok(Some((Control::map(&found.file, link, shape, self.rights)?, fits)))
    }

    /// Makes a segment. What bears its name is replaced only if it is a segment of this ring and directory.
    fn make(&self, epoch_seen: &mut u32) -> Result<Control, OpenError> {
        let refused = |error| self.refused(error);
        let standing = object::look_at(&self.link, &self.identity, self.dir).map_err(refused)?;
        if let Standing::Ours(found) = &standing {
            *epoch_seen = (*epoch_seen).max(left_over::plausible_epoch(found));
        }
        match &self.link {
            Link::Posix(name) => {
                left_over::sweep();
                self.make_posix(name, standing)
            }
            Link::Path(path) => self.make_file(Path::new(path), standing),
        }
    }

    fn make_posix(&self, name: &str, standing: Standing) -> Result<Control, OpenError> {
        let refused = |error| self.refused(error);
        let why = match standing {
            Standing::Nothing => None,
            Standing::Ours(found) => self.make_way(found.object),
            Standing::HalfMade(object) => self.make_way(object),
            Standing::Copy => Some("it was made for another directory".into()),
            Standing::Stranger(why) => Some(why),
        };
        let len = self.shape.segment_len();
        let mut link = self.link.clone();
        if let Some(why) = why {
            // The object is left alone. Readers find the other name in the link.
            link = Link::Posix(format!("{name}-{:x}", self.identity.instance));
            tracing::warn!("{} is in the way ({why}); the control segment is {}", name, name_of(&link));
        }
        let file = object::create_posix(name_of(&link), len, self.rights).map_err(refused)?;
        self.format(&file, link).map_err(refused)
    }

    /// Takes the name from a segment of this ring; why not, if it could not be done.
    fn make_way(&self, object: Object) -> Option<String> {
        object::remove(&self.link, object).err().map(|error| error.to_string())
    }

    fn make_file(&self, path: &Path, standing: Standing) -> Result<Control, OpenError> {
        let refused = |error| self.refused(error);
        let taken = |reason: String| OpenError::ControlTaken { path: path.to_owned(), reason };
        let replaces = match standing {
            Standing::Nothing => None,
            Standing::Ours(found) => Some(found.object),
            Standing::HalfMade(_) => return Err(taken("it is no control segment".into())),
            Standing::Copy => {
                return Err(taken(
                    "it belongs to the ring this one was copied from, or that was moved".into(),
                ));
            }
            Standing::Stranger(reason) => return Err(taken(reason)),
        };
        if self.is_the_rings_own(path) {
            return Err(taken("that name is one of the ring's own files".into()));
        }
        let ours = (self.identity.ring_id, self.identity.home);
        let scratch = posix_name(&ours.0, ours.1).replacen('/', ".", 1);
        let scratch = path.with_file_name(scratch);
        let len = self.shape.segment_len();
        let file = object::create_file(&scratch, &ours, len, self.rights).map_err(refused)?;
        let control = self.format(&file, self.link.clone()).inspect_err(|_| {
            let _ = fs::remove_file(&scratch);
        });
        let control = control.map_err(refused)?;
        object::name_file(&scratch, path, replaces).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => taken("it was made this moment".into()),
            _ => refused(error),
        })?;
        Ok(control)
    }

    /// Whether the path is that of a page or another file of this very ring: it would be overwritten, or
    /// removed.
    fn is_the_rings_own(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return true };
        let own = [names::META, names::LOCK, names::LINK].contains(&name)
            || [names::PAGE_PREFIX, names::SCRATCH_PREFIX].iter().any(|prefix| name.starts_with(prefix));
        let parent = || Some([path.parent()?.metadata().ok()?.dev(), path.parent()?.metadata().ok()?.ino()]);
        own && parent() == Some(self.identity.home)
    }

    /// Makes a segment of a file of zeros.
    fn format(&self, file: &File, link: Link) -> io::Result<Control> {
        object::write_home_path(file, self.dir.home())?;
        let control = Control::map(file, link, self.shape, self.rights)?;
        control.publisher.format(self.shape, self.identity);
        Ok(control)
    }

    fn refused(&self, source: io::Error) -> OpenError {
        let hint = match (source.raw_os_error(), &self.link) {
            (Some(libc::ENOSPC), Link::Posix(_)) => {
                ". Give /dev/shm more room, or lower ring_size or index_capacity"
            }
            (Some(libc::ENOSPC), Link::Path(_)) => {
                ". Give the file system that it is on more room, or lower ring_size or index_capacity"
            }
            (Some(libc::ENOENT | libc::EROFS | libc::ENOSYS), Link::Posix(_)) => {
                ". There is no /dev/shm that can be written: mount a tmpfs there, or name a path for the segment"
            }
            (Some(libc::EACCES | libc::EPERM), _) => {
                ". Make its directory writable for this user, or name another path"
            }
            _ => "",
        };
        OpenError::Control { name: name_of(&self.link).to_owned(), hint, source }
    }
}
