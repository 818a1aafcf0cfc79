//! What a search looks for.

use crate::place::Skip;
use waldo_shm_protocol::segment::IndexKey;

/// A record being searched for: the first that does not lie before it.
#[derive(Clone, Copy)]
pub(super) enum Target {
    After(u64),
    Since(u64),
}

impl Target {
    #[inline(always)]
    pub(super) fn is_behind(self, seq_no: u64, time_ns: u64) -> bool {
        match self {
            Target::After(after) => seq_no <= after,
            Target::Since(time) => time_ns < time,
        }
    }

    pub(super) fn key(self) -> IndexKey {
        match self {
            Target::After(after) => IndexKey::SeqNo(after),
            Target::Since(time) => IndexKey::TimeBefore(time),
        }
    }

    pub(super) fn skip(self) -> Skip {
        match self {
            Target::After(after) => Skip::Through(after),
            Target::Since(time) => Skip::Before(time),
        }
    }
}
