//! Whether all is good that the survey takes for the log, by the same check as verification.

use super::page::{self, PageFile};
use std::path::Path;
use waldo_shm_protocol::recovery::judge::{self, StopVerdict};
use waldo_shm_protocol::recovery::{Damage, LogCheck, Stop, Survey, WalkedPage};
use waldo_shm_protocol::{Position, names};

/// The first damage in the pages of the log, as text with file, offset and record; `None` if all is good.
pub(super) fn first_damage(home: &Path, files: &[PageFile], survey: &Survey) -> Option<String> {
    let mut log = LogCheck::default();
    survey.pages.iter().find_map(|page| {
        let walk = page::find(files, page.id)?.walk.as_ref()?;
        let checked = log.page(walk, |offset| stop(files, survey, walk, offset));
        let Damage { offset, after_seq_no, kind, .. } = checked.err()?;
        let after = if after_seq_no > 0 { after_seq_no.to_string() } else { "(none)".into() };
        let path = home.join(names::page(page.id));
        Some(format!("{}: offset {offset}, after record {after}: {kind}", path.display()))
    })
}

fn stop(files: &[PageFile], survey: &Survey, walk: &WalkedPage, offset: u64) -> Stop {
    let Some(at) = Position::new(walk.id, offset) else { return Stop::Damage };
    if at == survey.end() {
        return Stop::End;
    }
    // A survey that goes by the footer does not look at all of the seal.
    let next = page::find(files, walk.id + 1);
    let named = next.filter(|next| next.header_damage.is_none()).and_then(|next| next.names_before);
    let behind_records = walk.summary.records > 0 && offset == walk.summary.records_end;
    let goes_on = behind_records && named == Some(walk.summary.last_seq_no);
    match judge::stop(at, survey.durable, goes_on) {
        StopVerdict::TornSeal => Stop::TornSeal,
        StopVerdict::End | StopVerdict::Damage => Stop::Damage,
    }
}
