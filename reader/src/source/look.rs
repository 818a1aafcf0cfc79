//! Noticing that the source of a ring has changed: another segment, another writer, another directory.
//!
//! A segment does not say that its writer was killed, or that the next writer uses another segment that is
//! not visible from here. So a reader that follows a segment checks now and then, and more often while no
//! writer is seen alive, what every process can see: whether the path leads to the directory that was opened,
//! which ring is in it, which epoch its metadata names, and which segment its link names. It checks in this
//! order, so that what it sees first is not younger than what it sees later.

use super::attached_ring::AttachedRing;
use super::looks::Glance;
use super::{Attachment, Source};
use crate::error::{AttachError, ReadError};
use crate::source::control::ControlMap;
use crate::source::home::{Home, Whereabouts};
use crate::source::link::{
    ControlFound, MetaFound, Wanted, linked_object, open_control, passing, read_here, read_meta_in,
};
use crate::source::standing::{alive, follows, settled, usable};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use waldo_shm_protocol::segment::WriterState;

impl AttachedRing {
    /// The attachment to use instead of `seen` if `seen` cannot be used any more, else `seen`. In files mode,
    /// also looks at the files and for a segment, at limited intervals.
    ///
    /// # Errors
    /// What is wrong with the files or with the segment that has replaced the old one, and
    /// [`ReadError::Replaced`] or [`ReadError::Gone`] if the ring is no longer there.
    pub(crate) fn attend(&self, seen: &Arc<Attachment>) -> Result<Arc<Attachment>, ReadError> {
        match &seen.source {
            Source::Control(_) if seen.usable(&self.options) || seen.awaits_successor() => {
                if !seen.take_look() {
                    return Ok(seen.clone());
                }
                // With or without records: while the writer is alive, further checks are made only now and
                // then.
                if seen.lively() && !self.looks.due(self.options.check_interval) {
                    return Ok(seen.clone());
                }
                self.refresh(seen)
            }
            Source::Control(_) => self.refresh(seen),
            Source::Files(files) => {
                if !files.due() {
                    return Ok(seen.clone());
                }
                let fresh = self.refresh(seen)?;
                if Arc::ptr_eq(&fresh, seen)
                    && let Err(error) = files.look()
                {
                    // Files are listed by path. The directory may have been moved between the two looks.
                    let again = self.refresh(seen)?;
                    return if Arc::ptr_eq(&again, seen) { Err(error) } else { Ok(again) };
                }
                Ok(fresh)
            }
        }
    }

    /// Finds out where the ring and its segment are now. Returns `seen` if nothing has changed, or if there
    /// is nothing better.
    ///
    /// # Errors
    /// As [`AttachedRing::attend`].
    pub(crate) fn refresh(&self, seen: &Arc<Attachment>) -> Result<Arc<Attachment>, ReadError> {
        let looked = self.look(seen);
        if looked.is_err() {
            // A fault counts for all readers, until a check finds that it is gone.
            self.looks.look_again();
            seen.look_again();
        }
        looked
    }

    /// The same, without relying on unchanged file times: for a caller that has found that the ring differs
    /// from `seen`. Two changes within one tick of the file system's clock look like one.
    ///
    /// # Errors
    /// As [`AttachedRing::attend`].
    pub(crate) fn refresh_closely(&self, seen: &Arc<Attachment>) -> Result<Arc<Attachment>, ReadError> {
        self.looks.note(None);
        self.refresh(seen)
    }

    fn look(&self, seen: &Arc<Attachment>) -> Result<Arc<Attachment>, ReadError> {
        let mut current = self.lock();
        if current.generation != seen.generation {
            return Ok(current.clone());
        }
        self.looks.put_off(self.options.check_interval);
        let (elsewhere, here) = match seen.home.whereabouts() {
            Whereabouts::Here => (None, true),
            Whereabouts::Elsewhere(home) => (Some(home), false),
            Whereabouts::Nowhere => (None, false),
        };
        // A directory that is not at its path has to be found again each time, in case it is moved once more.
        let glance = here.then(|| Glance::of(seen)).flatten();
        if glance.is_some_and(|now| self.looks.same(&now)) {
            return Ok(seen.clone());
        }
        let (home, found) = self.ring_now(&seen.home, elsewhere)?;
        // Another directory holds the same ring, but not the same files: a segment names its directory.
        let held = match &seen.source {
            Source::Control(control) if Arc::ptr_eq(&home, &seen.home) => Some(control),
            _ => None,
        };
        let next = self.better(seen, &home, held, found.as_ref())?;
        let Some((source, handover)) = next else {
            // Time alone may change the verdict on a segment that is not followed, that is out of use, or
            // whose writer has only just fallen silent.
            let lasting = held.is_none_or(|held| usable(held, &self.options) && settled(held, &self.options));
            self.looks.note(glance.filter(|_| lasting && found.is_some()));
            return Ok(seen.clone());
        };
        self.looks.note(None);
        if !Arc::ptr_eq(&home, &seen.home) {
            self.pages.relocate(home.clone());
        }
        let stalled_after = self.options.stalled_after;
        let next = Arc::new(Attachment::new(seen.generation + 1, source, home, handover, stalled_after));
        *current = next.clone();
        self.generation.store(next.generation, Ordering::Relaxed);
        Ok(next)
    }

    /// The directory that is the ring's now, and its metadata if that can be read at this moment.
    ///
    /// The path counts, since that is what was asked for: where it leads to the same ring in another
    /// directory (a backup put in the place of the original), that is gone over to. Where it leads to no ring
    /// at all, the one that was opened is read on, wherever it has been moved.
    fn ring_now(
        &self,
        home: &Arc<Home>,
        elsewhere: Option<Home>,
    ) -> Result<(Arc<Home>, Option<MetaFound>), ReadError> {
        let ours = |found: &MetaFound| found.meta.ring_id == self.meta.ring_id;
        let replaced = |found: MetaFound| ReadError::Replaced {
            home: self.home.clone(),
            ring_id: self.meta.ring_id,
            found: found.meta.ring_id,
        };
        match elsewhere.map(|home| (read_meta_in(&home), home)) {
            Some((Ok(found), home)) if ours(&found) => return Ok((Arc::new(home), Some(found))),
            Some((Ok(found), _)) => return Err(replaced(found)),
            Some((Err(_), _)) | None => {}
        }
        match read_meta_in(home) {
            Ok(found) if ours(&found) => Ok((home.clone(), Some(found))),
            Ok(found) => Err(replaced(found)),
            Err(AttachError::NotARing { .. }) => Err(ReadError::Gone { home: self.home.clone() }),
            Err(_) => Ok((home.clone(), None)),
        }
    }

    /// What to read from instead of `seen`, the segment `held` or the files; `None` if there is nothing
    /// better.
    fn better(
        &self,
        seen: &Attachment,
        home: &Arc<Home>,
        held: Option<&ControlMap>,
        found: Option<&MetaFound>,
    ) -> Result<Option<(Source, Option<Instant>)>, ReadError> {
        let here = read_here(home, found.map_or(home.owner(), |found| found.owner));
        let start = found.map(|found| found.start);
        let wanted = Wanted { ring_id: &self.meta.ring_id, here, start, options: &self.options };
        // If a writer starts between the looks at the metadata and at the segment, the second look shows it.
        let follows = |control: &ControlMap| {
            follows(control, start, &self.options) || follows(control, self.last_start(home), &self.options)
        };
        let in_use = held.is_some_and(|held| usable(held, &self.options) && follows(held));
        let control = match open_control(home, &wanted, held.map(ControlMap::object), &self.looks.last_beat) {
            Ok(ControlFound::Usable(control)) => {
                Some(control).filter(|c| held.is_none_or(|held| held.instance() != c.instance()))
            }
            Ok(ControlFound::Held | ControlFound::Unusable { .. } | ControlFound::Nothing) => None,
            // The segment is being made at this moment, or is not for us: continue with the files.
            Err(error) if passing(&error) => None,
            // As long as the present source works, a broken successor does not matter.
            Err(_) if in_use => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if let Some(control) = control {
            return Ok(Some((Source::Control(*control), None)));
        }
        // Thousands of other readers may be here too: they must not all look at the files at once.
        if seen.should_await_successor() {
            return Ok(None);
        }
        if let Some(held) = held {
            let object = || linked_object(home, &here);
            // The next writer may have come and gone between two looks, so a segment without a writer is not
            // waited on if the link leads elsewhere or nowhere.
            let abandoned = !alive(held, &self.options) && object().is_ok_and(|o| o != Some(held.object()));
            if in_use && !abandoned {
                return Ok(None);
            }
        }
        let path = home.path_now().ok_or_else(|| ReadError::Gone { home: self.home.clone() })?;
        let unchanged = matches!(seen.source, Source::Files(_)) && Arc::ptr_eq(home, &seen.home);
        if unchanged && seen.files_at(&path) {
            return Ok(None);
        }
        let retired = held.map(|c| c.segment().status().state()) == Some(Some(WriterState::Retired));
        Ok(Some((Source::files(&path, self.meta.ring_id)?, retired.then(Instant::now))))
    }

    fn last_start(&self, home: &Home) -> Option<u32> {
        read_meta_in(home).ok().map(|found| found.start)
    }
}
