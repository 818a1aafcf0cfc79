//! Finding out what is good, what stays of it, and what is to be done.

use super::check;
use super::page::{self, PageFile, RecordRun};
use super::{Action, Keep, Repair, Span};
use crate::clock;
use crate::disk::{Directory, OsDisk};
use crate::error::OpenError;
use crate::recover::survey;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use waldo_shm_protocol::limits::{PAGE_HEADER_LEN, RING_SIZE_MAX};
use waldo_shm_protocol::meta::{META_LEN, Meta};
use waldo_shm_protocol::page::{PageGeometry, PageHeader, RECORDS_UNKNOWN};
use waldo_shm_protocol::recovery::{RecordCount, Survey};
use waldo_shm_protocol::{Position, RingId, names};

/// What was found, and what is to be done about it.
pub(super) struct Found {
    pub(super) report: Repair,
    /// The metadata as it is to be in the end.
    pub(super) meta: Meta,
    /// The runs that stay, each with whether its page is complete.
    pub(super) kept: Vec<(RecordRun, bool)>,
    pub(super) headers: BTreeMap<u64, PageHeader>,
}

pub(super) fn look(home: &Path, keep: Keep) -> Result<Found, OpenError> {
    let ids = page_ids(home)?;
    let (meta, meta_damage) = match read_meta(home)? {
        Ok(meta) => (meta, None),
        Err(why) => (rebuild_meta(home, &ids)?, Some(why)),
    };
    let surveyed = if meta_damage.is_some() {
        None
    } else {
        let disk = OsDisk::open(home).map_err(OpenError::io("open", home))?;
        Some(survey(&disk, &meta))
    };
    let (survey, survey_damage) = match surveyed {
        Some(Ok(survey)) => (Some(survey), None),
        Some(Err(
            error @ (OpenError::Corrupt { .. } | OpenError::Page { .. } | OpenError::MissingPage { .. }),
        )) => (None, Some(error.to_string())),
        Some(Err(error)) => return Err(error),
        None => (None, None),
    };
    let mut files = read_pages(home, &ids, &meta)?;
    // Of pages in order none stands under another's name. What a crash leaves behind them is the writer's
    // business.
    let (mut actions, renamed) =
        if survey.is_some() { (Vec::new(), BTreeMap::new()) } else { exchanges(&files) };
    if !actions.is_empty() {
        // What the files hold under the names that they will have.
        let read = renamed.iter().map(|(id, name)| read_page(home, *name, *id, &meta));
        files = read.collect::<Result<_, _>>()?;
    }
    // Behind the end of a log that is in order, whatever stands there is a crash's doing and the writer's
    // business.
    let end = survey.as_ref().map(|survey| survey.end());
    let part = |run: &RecordRun| {
        end.is_none_or(|end| Position::new(run.page, run.from).is_some_and(|from| from < end))
            && is_part(survey.as_ref(), run.page)
    };
    let stretches = stretches(files.iter().flat_map(|file| &file.runs).filter(|p| part(p)).copied());
    let chosen = match keep {
        Keep::Older => (!stretches.is_empty()).then_some(0),
        Keep::Newer => stretches.len().checked_sub(1),
        Keep::Longest => (0..stretches.len()).max_by_key(|n| records(&stretches[*n])),
    };
    let mut report = Repair {
        damage: None,
        kept: chosen.map(|n| span(&stretches[n])),
        dropped: Vec::new(),
        lost: Vec::new(),
        actions: Vec::new(),
        backup: None,
    };
    let kept = chosen.map(|n| stretches[n].clone()).unwrap_or_default();
    report.dropped =
        (0..stretches.len()).filter(|n| Some(*n) != chosen).map(|n| span(&stretches[n])).collect();
    report.lost = lost(&files, &stretches, survey.as_ref());
    let checked = || survey.as_ref().and_then(|survey| check::first_damage(home, &files, survey));
    report.damage = meta_damage.clone().or(survey_damage).or_else(checked);
    let mut headers = BTreeMap::new();
    for file in &files {
        headers.extend(file.header.map(|header| (file.id, header)));
    }
    let mut found = Found { report, meta, kept: Vec::new(), headers };
    if found.report.damage.is_none() {
        return Ok(found);
    }
    let last = kept.len().saturating_sub(1);
    found.kept = kept.iter().enumerate().map(|(n, run)| (*run, n < last || run.sealed)).collect();
    actions.extend(removals(&files, &kept));
    actions.extend(rewrites(&files, &found.kept, end));
    let epoch_max = files.iter().map(|file| file.epoch_max).max().unwrap_or(0);
    if let Some(action) = mend_meta(&mut found, meta_damage, epoch_max) {
        actions.push(action);
    }
    found.report.actions = actions;
    Ok(found)
}

fn page_ids(home: &Path) -> Result<Vec<u64>, OpenError> {
    let list = fs::read_dir(home).map_err(OpenError::io("list", home))?;
    let mut ids = Vec::new();
    for entry in list {
        let entry = entry.map_err(OpenError::io("list", home))?;
        ids.extend(entry.file_name().to_str().and_then(names::parse_page));
    }
    ids.sort_unstable();
    Ok(ids)
}

/// The metadata, or what is wrong with them.
fn read_meta(home: &Path) -> Result<Result<Meta, String>, OpenError> {
    let path = home.join(names::META);
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // However long it is.
        let file = Directory::open(home)?.open_to_read(names::META)?;
        file.take(META_LEN as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = match read() {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Err(format!("{}: the file is missing", path.display())));
        }
        Err(error) => return Err(OpenError::io("read", &path)(error)),
    };
    let checked = Meta::check(&bytes);
    Ok(checked.map_err(|fault| format!("{}: {fault}", path.display())))
}

/// Metadata out of what the page headers say. What only the metadata knew is chosen with care: the ring size
/// is as many pages as there are.
fn rebuild_meta(home: &Path, ids: &[u64]) -> Result<Meta, OpenError> {
    let mut rings: BTreeMap<RingId, u64> = BTreeMap::new();
    let mut headers = Vec::new();
    for id in ids {
        let path = home.join(names::page(*id));
        let (bytes, len) = page::read_start(&path).map_err(OpenError::io("read", &path))?;
        if let Ok(header) = PageHeader::check_any(&bytes, len) {
            *rings.entry(header.fields().ring_id).or_default() += 1;
            headers.push(header);
        }
    }
    let ring_id = rings.iter().max_by_key(|(_, count)| **count).map(|(ring_id, _)| *ring_id);
    let ours = headers.iter().filter(|header| Some(header.fields().ring_id) == ring_id);
    let newest = ours.clone().max_by_key(|header| header.fields().page_id);
    let (Some(ring_id), Some(newest)) = (ring_id, newest) else {
        return Err(OpenError::NoMeta { home: home.to_owned() });
    };
    Ok(Meta {
        ring_id,
        counter: 0,
        ring_size: u32::try_from(ids.len()).unwrap_or(RING_SIZE_MAX).clamp(2, RING_SIZE_MAX),
        geometry: newest.geometry(),
        epoch: ours.map(|header| header.fields().epoch).max().unwrap_or(0),
        created_ns: clock::realtime_ns(),
        clean_end: Position::NONE,
        durable: Position::NONE,
        durable_names: false,
        trims_early: false,
    })
}

fn likely(bytes: &[u8], meta: &Meta) -> PageGeometry {
    PageGeometry::new(bytes.len() as u64, meta.geometry.index_capacity()).unwrap_or(meta.geometry)
}

fn read_pages(home: &Path, ids: &[u64], meta: &Meta) -> Result<Vec<PageFile>, OpenError> {
    ids.iter().map(|id| read_page(home, *id, *id, meta)).collect()
}

/// Page `id`, which is in the file with the name of page `name`.
fn read_page(home: &Path, name: u64, id: u64, meta: &Meta) -> Result<PageFile, OpenError> {
    let path = home.join(names::page(name));
    let bytes = page::read(&path).map_err(OpenError::io("read", &path))?;
    Ok(page::look(&bytes, &meta.ring_id, id, likely(&bytes, meta)))
}

/// The names that have to be exchanged so that each page has its own. One step puts one page into its place.
/// With each name that there is then, the name that the file has now.
fn exchanges(files: &[PageFile]) -> (Vec<Action>, BTreeMap<u64, u64>) {
    let mut holds: BTreeMap<u64, Option<u64>> = files
        .iter()
        .map(|file| (file.id, file.belongs_to.or(file.header_damage.is_none().then_some(file.id))))
        .collect();
    let mut renamed: BTreeMap<u64, u64> = files.iter().map(|file| (file.id, file.id)).collect();
    let mut actions = Vec::new();
    let held = |holds: &BTreeMap<u64, Option<u64>>, name: u64| holds.get(&name).copied().flatten();
    for from in files.iter().map(|file| file.id) {
        // A page of which there is another file, under the right name, is a copy. A name that has its page
        // keeps it.
        while let Some(to) = held(&holds, from).filter(|to| *to != from && held(&holds, *to) != Some(*to)) {
            let there = holds.insert(to, Some(to)).flatten();
            holds.insert(from, there);
            if let Some(file) = renamed.remove(&from) {
                let displaced = renamed.insert(to, file);
                renamed.extend(displaced.map(|file| (from, file)));
            }
            actions.push(Action::Exchange { from: names::page(from), to: names::page(to) });
        }
    }
    (actions, renamed)
}

/// Runs, each of one page, that follow one another.
fn stretches(runs: impl Iterator<Item = RecordRun>) -> Vec<Vec<RecordRun>> {
    let mut stretches: Vec<Vec<RecordRun>> = Vec::new();
    for run in runs {
        let follows = stretches.last().and_then(|stretch| stretch.last()).is_some_and(|last| {
            last.page + 1 == run.page
                && run.from == PAGE_HEADER_LEN as u64
                && last.summary.last_seq_no == run.summary.prev_seq_no
                && last.summary.epoch <= run.epoch_first
        });
        match stretches.last_mut().filter(|_| follows) {
            Some(stretch) => stretch.push(run),
            None => stretches.push(vec![run]),
        }
    }
    stretches
}

/// Whether the page is one of those of the log, as far as that is known.
fn is_part(survey: Option<&Survey>, id: u64) -> bool {
    survey.is_none_or(|survey| survey.pages.binary_search_by_key(&id, |page| page.id).is_ok())
}

fn records(stretch: &[RecordRun]) -> u64 {
    stretch.iter().map(|run| run.summary.records).sum()
}

fn span(stretch: &[RecordRun]) -> Span {
    let (first, last) = (stretch[0].span(), stretch[stretch.len() - 1].span());
    Span {
        records: records(stretch),
        bytes: stretch.iter().map(|run| run.to - run.from).sum(),
        last_seq_no: last.last_seq_no,
        to: last.to,
        ..first
    }
}

/// Between which records some are lost, in front of the first stretch and behind the last one too. What a
/// survey finds behind the end of the log was never part of it.
fn lost(files: &[PageFile], stretches: &[Vec<RecordRun>], survey: Option<&Survey>) -> Vec<(u64, u64)> {
    let named = || files.iter().filter(|file| is_part(survey, file.id)).filter_map(|file| file.named);
    // Where no good header says so, a footer may.
    let oldest = survey.and_then(|survey| survey.pages.first()).filter(|page| page.summary.records > 0);
    let before = named().map(|named| named.0).chain(oldest.map(|page| page.summary.prev_seq_no)).min();
    let tip = survey.map_or_else(|| named().map(|named| named.1).max(), Survey::tip);
    let (Some(first), Some(last)) = (stretches.first(), stretches.last()) else {
        return before.zip(tip).into_iter().collect();
    };
    let first_prev = first[0].summary.prev_seq_no;
    // What stood in front of it was its predecessor, at the least.
    let behind_others = first[0].from > PAGE_HEADER_LEN as u64;
    let before = before.into_iter().chain(behind_others.then(|| first_prev.saturating_sub(1))).min();
    let front = before.map(|before| (before, first_prev));
    let between =
        stretches.windows(2).map(|pair| (span(&pair[0]).last_seq_no, pair[1][0].summary.prev_seq_no));
    let back = tip.map(|tip| (span(last).last_seq_no, tip));
    front.into_iter().chain(between).chain(back).filter(|(last, next)| next > last).collect()
}

/// Files that leave the ring: pages before what stays, the oldest first, and pages behind it, the newest
/// first. So a crash in between leaves no gap.
fn removals(files: &[PageFile], kept: &[RecordRun]) -> Vec<Action> {
    let (first, last) = match (kept.first(), kept.last()) {
        (Some(first), Some(last)) => (first.page, last.page),
        _ => (u64::MAX, 0),
    };
    let action = |file: &PageFile| {
        let records: u64 = file.runs.iter().map(|run| run.summary.records).sum();
        let reason = match (&file.header_damage, records) {
            (Some(damage), 0) => format!("it is no page of this ring ({damage})"),
            (_, 0) => "it holds no records".into(),
            _ => format!("its {records} good records do not follow those that stay, or stand behind damage"),
        };
        Action::Remove { name: names::page(file.id), reason }
    };
    let older = files.iter().filter(|file| file.id < first).map(action);
    let newer = files.iter().rev().filter(|file| file.id > last && file.id >= first).map(action);
    older.chain(newer).collect()
}

/// The pages that are made anew. `end` is where the log ended, if a survey has found that.
fn rewrites(files: &[PageFile], kept: &[(RecordRun, bool)], end: Option<Position>) -> Vec<Action> {
    let (mut actions, mut count) = (Vec::new(), RecordCount::default());
    for (run, seal) in kept {
        let Some(file) = page::find(files, run.page) else { continue };
        let mut reasons = changes(file, run, *seal, end);
        let footer = file.walk.as_ref().and_then(|walk| walk.footer.ok().flatten());
        let mut said = footer.map(|footer| footer.records_before);
        // The footer that is made says nothing of this, and what the footer before says holds.
        if let Some(damage) = count.mismatch(said).filter(|_| reasons.is_empty()) {
            reasons.push(format!("a new footer ({damage})"));
        }
        if !reasons.is_empty() {
            said = Some(RECORDS_UNKNOWN);
            actions.push(Action::Rewrite { name: names::page(run.page), reason: reasons.join("; ") });
        }
        count.pass(said, run.summary.records);
    }
    actions
}

/// What has to change in the page of a run that stays, but for what other pages say of it.
fn changes(file: &PageFile, run: &RecordRun, seal: bool, end: Option<Position>) -> Vec<String> {
    let mut reasons = Vec::new();
    reasons.extend(file.header_damage.as_ref().map(|damage| format!("a new header ({damage})")));
    let footer_damage = file.walk.as_ref().and_then(|walk| walk.footer.err());
    reasons.extend(footer_damage.map(|(_, damage)| format!("a new footer ({damage})")));
    if run.from > PAGE_HEADER_LEN as u64 {
        reasons.push(format!("what stood before offset {} is cut", run.from));
    }
    // A damaged record must not stand where the log goes on, to be taken for one that a crash tore.
    let goes_on = || match end {
        Some(end) => Position::new(run.page, run.to).is_some_and(|to| to < end),
        None => file.written_to > run.to,
    };
    let whole = file.walk.as_ref().map_or(run.sealed, |walk| walk.fault.is_none());
    if file.runs.iter().any(|other| other.from > run.from) || !seal && goes_on() {
        reasons.push(format!("what stands behind offset {} is cut", run.to));
    } else if seal && !whole {
        reasons.push("its seal is written".into());
    }
    reasons
}

/// Metadata that do not claim more than there is.
fn mend_meta(found: &mut Found, damage: Option<String>, epoch_max: u32) -> Option<Action> {
    let before = found.meta;
    let meta = &mut found.meta;
    let end = match found.kept.last() {
        Some((run, true)) => Position::start_of(run.page + 1),
        Some((run, false)) => {
            let len = if run.from > PAGE_HEADER_LEN as u64 {
                run.to - run.from
            } else {
                run.to - PAGE_HEADER_LEN as u64
            };
            Position::new(run.page, PAGE_HEADER_LEN as u64 + len).unwrap_or_default()
        }
        None => Position::NONE,
    };
    meta.epoch = meta.epoch.max(epoch_max);
    meta.durable = meta.known_durable().min(end);
    meta.clean_end = Position::NONE;
    let claims_more = meta.durable != before.known_durable() || meta.epoch != before.epoch;
    let reason = match damage {
        Some(damage) => format!("made from the headers of the pages ({damage})"),
        None if claims_more => {
            format!("the log is durable up to {} and was up to {}", meta.durable, before.known_durable())
        }
        // A second repair would do the same for ever, each time with a backup, if a first one had not helped.
        None if before.clean_end.is_none() => return None,
        None => "the ring counts as not closed, so that the next start looks at all of it".into(),
    };
    Some(Action::Rewrite { name: names::META.into(), reason })
}
