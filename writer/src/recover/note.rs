//! What an opening writes into the ring's metadata, before and after it repairs the files.

use crate::metafile::MetaFile;
use crate::options::{Durability, WriterOptions};
use std::io;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::meta::Meta;
use waldo_shm_protocol::page::PageGeometry;
use waldo_shm_protocol::recovery::Survey;

/// Must come before any other write, or a crash half-way would let the next writer reuse this epoch.
pub(crate) fn raise_epoch(
    meta: &mut MetaFile,
    options: &WriterOptions,
    geometry: PageGeometry,
    epoch: u32,
    survey: &Survey,
) -> io::Result<()> {
    meta.update(|meta| {
        meta.epoch = epoch;
        meta.ring_size = options.ring_size;
        meta.geometry = geometry;
        meta.durable = survey.durable;
        meta.clean_end = Position::NONE;
    })
}

/// Notes that the recovered log is durable now, and that every page that a crash left without a header is
/// gone.
pub(crate) fn note_mended(meta: &mut MetaFile, options: &WriterOptions, survey: &Survey) -> io::Result<()> {
    let noted = Meta {
        durable: survey.durable,
        durable_names: options.durability == Durability::Sync,
        trims_early: options.durability == Durability::PageCache,
        ..meta.meta
    };
    if noted == meta.meta { Ok(()) } else { meta.update(|meta| *meta = noted) }
}
