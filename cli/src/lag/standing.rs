//! How a position stands to the ring.

use std::time::{Duration, SystemTime};
use waldo::reader::{Checkpoint, Cursor, Integrity, ReadError, ReaderOptions, Ring};

/// Whether a reader could go on from a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It could.
    Good,
    /// Records behind it have been dropped.
    Overtaken,
    /// The log ends before it.
    Rewound,
    /// Another record has its number.
    Diverged,
    /// The reader has not said yet where it is, or a writer is opening the ring.
    Unknown,
}

/// How a position stands to the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether a reader could go on.
    pub fit: Fit,
    /// The newest record's number less the position's.
    pub behind: Option<u64>,
    /// How long the record that comes next has been there; `None` if there is none.
    pub waiting: Option<Duration>,
}

impl Standing {
    /// That of `position`, in a ring whose newest record is `tip`. One search, and a look at one record.
    ///
    /// # Errors
    /// If the ring cannot be read there.
    pub fn of(ring: &Ring, tip: Option<u64>, position: &Checkpoint) -> Result<Standing, ReadError> {
        let options = ReaderOptions::default().batch_bytes(1).integrity(Integrity::Headers);
        let reader = match position.epoch {
            // Known by number alone.
            0 => ring.reader_with(Cursor::After(position.seq_no), options),
            _ => ring.resume(position, options),
        };
        let next = reader
            .and_then(|mut reader| reader.poll())
            .map(|batch| batch.and_then(|batch| batch.iter().next().map(|record| record.time_ns())));
        let behind = tip.map_or(0, |tip| tip.saturating_sub(position.seq_no));
        Ok(match next {
            Ok(Some(time_ns)) => {
                let then = SystemTime::UNIX_EPOCH + Duration::from_nanos(time_ns);
                // Numbers may be left out, but there is a record.
                let waiting = Some(then.elapsed().unwrap_or_default());
                Standing { fit: Fit::Good, behind: Some(behind.max(1)), waiting }
            }
            Ok(None) => Standing { fit: Fit::Good, behind: Some(0), waiting: None },
            Err(ReadError::Lapped { .. }) => {
                Standing { behind: Some(behind), ..Standing::lost(Fit::Overtaken) }
            }
            Err(ReadError::Rewound { .. }) => Standing::lost(Fit::Rewound),
            Err(ReadError::Diverged { .. }) => Standing::lost(Fit::Diverged),
            Err(error) => return Err(error),
        })
    }

    /// Without figures.
    pub fn lost(fit: Fit) -> Standing {
        Standing { fit, behind: None, waiting: None }
    }

    /// Whether a reader could not go on without a loss.
    pub fn is_lost(&self) -> bool {
        matches!(self.fit, Fit::Overtaken | Fit::Rewound | Fit::Diverged)
    }

    /// Whether that is worse than `max` records behind.
    pub fn exceeds(&self, max: u64) -> bool {
        self.is_lost() || self.behind.is_some_and(|behind| behind > max)
    }
}
