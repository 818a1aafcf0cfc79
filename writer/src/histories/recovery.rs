//! Recovery alone, in memory: what an opening does to the files before it makes a control segment.

use crate::Durability;
use crate::disk::Disk;
use crate::disk::simulated::{Faults, SimDisk, State};
use crate::error::OpenError;
use crate::metafile::MetaFile;
use crate::recover::{self, Cut};
use waldo_shm_protocol::recovery::Survey;
use waldo_shm_protocol::{Position, names};

/// What recovery made of a ring.
#[derive(Clone, Debug)]
pub(super) struct Recovered {
    pub(super) epoch: u32,
    pub(super) cut: Option<Cut>,
    pub(super) pages: Vec<Kept>,
}

/// A page of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) id: u64,
    pub(super) records_end: u64,
    pub(super) records: u64,
}

/// Opens what is on `disk`, and mends it, as a writer of this durability does; `None` if there is no ring.
pub(super) fn recover(disk: &SimDisk, durability: Durability) -> Result<Option<Recovered>, OpenError> {
    let Some(mut meta) = MetaFile::open(disk)? else {
        let list = disk.list().map_err(OpenError::io("list", "/simulated"))?;
        return match list.iter().any(|name| names::parse_page(name).is_some()) {
            true => Err(OpenError::NoMeta { home: disk.path("") }),
            false => Ok(None),
        };
    };
    let mut survey = recover::survey(disk, &meta.meta)?;
    let epoch = survey.epoch_max + 1;
    let durable = survey.durable;
    let write = |error| OpenError::io("write", disk.path(names::META))(error);
    meta.update(|meta| {
        meta.epoch = epoch;
        meta.durable = durable;
        meta.clean_end = Position::NONE;
    })
    .map_err(write)?;
    let cut = recover::mend(disk, &mut survey)?;
    meta.update(|meta| {
        meta.durable = survey.durable;
        meta.durable_names = durability == Durability::Sync;
        meta.trims_early = durability == Durability::PageCache;
    })
    .map_err(write)?;
    Ok(Some(Recovered { epoch, cut, pages: kept(&survey) }))
}

fn kept(survey: &Survey) -> Vec<Kept> {
    let kept = |found: &waldo_shm_protocol::recovery::FoundPage| Kept {
        id: found.id,
        records_end: found.summary.records_end,
        records: found.summary.records,
    };
    survey.pages.iter().map(kept).collect()
}

/// The pages of the log in `state`, which is not changed.
pub(super) fn look(state: &State) -> Result<Vec<Kept>, OpenError> {
    let disk = SimDisk::new(state.clone(), Faults::none());
    match MetaFile::open(&disk)? {
        Some(meta) => Ok(kept(&recover::survey(&disk, &meta.meta)?)),
        None => Ok(Vec::new()),
    }
}
