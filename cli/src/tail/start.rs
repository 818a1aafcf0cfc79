//! Where a follower begins.

use crate::attach::settle;
use crate::tail::args::Args;
use crate::tail::filter::Filter;
use crate::tail::progress::{Progress, Resume};
use crate::tail::range::{LastOf, Lines};
use crate::tail::words::explain;
use waldo::reader::{Cursor, ReadError, Reader, ReaderOptions, Ring};
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::notice;

/// What there is to know about it.
pub struct Start<'a> {
    /// What the user wants.
    pub args: &'a Args,
    /// How the ring is read.
    pub options: &'a ReaderOptions,
    /// The ring has taken the place of one that was followed before.
    pub anew: bool,
    /// The ring was not there when the command started.
    pub waited: bool,
}

impl Start<'_> {
    /// A reader of `ring`.
    ///
    /// # Errors
    /// What reading meets, and a checkpoint that is damaged or of another ring.
    pub fn reader(
        &self,
        ring: &Ring,
        filter: &Filter,
        progress: Option<&mut Progress>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Reader> {
        let Some(progress) = progress else { return self.fresh(ring, filter, interrupt) };
        match progress.load()? {
            Some((ring_id, resume)) if ring_id == ring.ring_id() => Ok(match resume {
                Resume::Behind(checkpoint) => ring.resume(&checkpoint, self.options.clone()),
                Resume::Start(cursor) => ring.reader_with(cursor, self.options.clone()),
            }
            .map_err(explain)?),
            Some(_) if self.anew || self.args.following.retry => {
                if !self.anew {
                    notice!(
                        "waldo: the checkpoint is of another ring; going on with the first record of this one"
                    );
                }
                Ok(ring.reader_with(Cursor::Oldest, self.options.clone())?)
            }
            Some(_) => {
                let error = ReadError::ForeignCheckpoint { home: ring.home().to_path_buf() };
                Err(anyhow::Error::new(error).context(
                    "the ring was made anew, or the file is another reader's: remove the file to begin anew, or \
                     say --retry to go on with the first record",
                ))
            }
            None => {
                let reader = self.fresh(ring, filter, interrupt)?;
                match reader.checkpoint() {
                    Some(checkpoint) => progress.start_at(checkpoint),
                    None if ring.status()?.tip_seq_no.is_none() => progress.start_empty(ring.ring_id()),
                    None => {}
                }
                Ok(reader)
            }
        }
    }

    fn fresh(&self, ring: &Ring, filter: &Filter, interrupt: &Interrupt) -> anyhow::Result<Reader> {
        ring.reader_with(self.cursor(ring, filter, interrupt)?, self.options.clone()).map_err(explain)
    }

    fn cursor(&self, ring: &Ring, filter: &Filter, interrupt: &Interrupt) -> anyhow::Result<Cursor> {
        let which = &self.args.which;
        let following = self.args.following.follow || self.args.following.retry;
        if self.anew {
            return Ok(Cursor::Oldest);
        }
        let low = match (which.lines, which.from, which.since) {
            // As of a file: all that there is, and no complaint of what has left the ring.
            (Some(Lines::From(0 | 1)), ..) => Cursor::Oldest,
            (Some(Lines::From(seq_no)), ..) => Cursor::From(seq_no),
            (_, Some(place), _) => place.0,
            (_, _, Some(time)) => Cursor::Since(time),
            // All of a ring that was not there yet is new.
            (None, None, None) if following && !self.waited => Cursor::Tip,
            (_, None, None) => Cursor::Oldest,
        };
        let Some(Lines::Last(n)) = which.lines else { return Ok(low) };
        let wanted = |payload: &[u8]| filter.wants(payload);
        let tip = settle(ring, interrupt)?.tip_seq_no.unwrap_or(0);
        let search = LastOf { ring, options: self.options, low, tip, until: which.until, wanted: &wanted };
        search.find(n).map_err(explain)
    }
}
