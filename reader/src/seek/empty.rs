//! Searches in a ring that has no visible record yet.

use super::{Found, Search};
use crate::error::ReadError;
use crate::options::Visibility;
use crate::place::{Place, SeekTarget, Skip};
use waldo_shm_protocol::Position;

impl Search<'_> {
    /// Nothing to search in yet.
    pub(super) fn pending(&self, want: SeekTarget) -> Result<Found, ReadError> {
        let committed = self.attachment.watermark(Visibility::Committed).position();
        let oldest = self.attachment.oldest_page();
        if (1..=committed.page()).contains(&oldest) {
            // There are records, none of them durable. The first one to become so is the oldest there is, and
            // from now on it is missed if it is trimmed.
            let skip = match want {
                SeekTarget::Tip | SeekTarget::Oldest => Some(Skip::Nothing),
                SeekTarget::Since(time) => Some(Skip::Before(time)),
                _ => None,
            };
            if let Some(skip) = skip {
                let place = Place::At(Position::start_of(oldest));
                return Ok(Found { skip, ..self.found(place, None, None) });
            }
        }
        // While a writer is still reading the files, there may be records that belong before the tip.
        let empty = committed.is_none() && self.attachment.is_empty_for_good();
        let want = match want {
            // Oldest and newest record of an empty ring are the first one to come.
            SeekTarget::Tip | SeekTarget::Oldest if empty => SeekTarget::After(0),
            SeekTarget::Since(time) if empty => SeekTarget::FromNowSince(time),
            SeekTarget::Resume(checkpoint) if empty => {
                return Err(ReadError::Rewound { seq_no: Some(checkpoint.seq_no), tip: None });
            }
            want => want,
        };
        Ok(self.found(Place::Pending(want), None, None))
    }
}
