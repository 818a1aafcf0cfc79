//! From a directory to a live writer.

mod active_page;

use super::recovery_heartbeat::RecoveryHeartbeat;
use super::started::Started;
use super::{Writer, sum_records};
use crate::active::ActivePage;
use crate::control::{self, Control, random_bytes};
use crate::core::Core;
use crate::disk::{Directory, Disk, DiskFile, FileRights, OsDisk, check_file_system, file_length};
use crate::engine::Engine;
use crate::engine::probe::SCRATCH_LEN;
use crate::error::OpenError;
use crate::lock::WriterLock;
use crate::metafile::MetaFile;
use crate::options::{Durability, Io, WriterOptions};
use crate::page::PageTemplate;
use crate::preparer::{HeldPage, InitialPages, Preparer};
use crate::recover::{self, OpenReport};
use crate::rights::RightsChange;
use crate::waking::Waking;
use crate::{clock, flusher, notifier, rights};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use waldo_shm_protocol::meta::Meta;
use waldo_shm_protocol::page::PageGeometry;
use waldo_shm_protocol::record::Stamp;
use waldo_shm_protocol::recovery::{FoundPage, Survey};
use waldo_shm_protocol::segment::{PageInfo, SegmentGeometry, WriterState};
use waldo_shm_protocol::{Position, names};

pub(super) fn open(home: &Path, options: WriterOptions) -> Result<Writer, OpenError> {
    options.check()?;
    rights::refuse_group(home, &options)?;
    fs::create_dir_all(home).map_err(OpenError::io("create the directory", home))?;
    let disk = OsDisk::open(home).map_err(OpenError::io("open", home))?;
    let dir = Directory::of(&disk, home).map_err(OpenError::io("open", home))?;
    check_file_system(&dir, options.durability)?;
    open_on(home, Arc::new(disk), options)
}

pub(super) fn open_on(home: &Path, disk: Arc<dyn Disk>, options: WriterOptions) -> Result<Writer, OpenError> {
    open_if(home, disk, options, |_, _| Ok(()))
}

/// Opens the ring if `look` accepts what the files hold. Nothing has been changed before that call.
pub(super) fn open_if<E: From<OpenError>>(
    home: &Path,
    disk: Arc<dyn Disk>,
    mut options: WriterOptions,
    look: impl FnOnce(&Meta, &Survey) -> Result<(), E>,
) -> Result<Writer, E> {
    let (geometry, _) = options.check()?;
    file_length::block_signal();
    let dir = Directory::of(&*disk, home).map_err(OpenError::io("open", home))?;
    let mut lock = WriterLock::take(&dir)?;
    let change = RightsChange::plan(&dir, &options)?;
    let (mut meta, created) = open_meta(&*disk, home, &options, geometry, &change)?;
    lock.hold_meta()?;
    if lock.was_missing() && !created {
        control::refuse_if_alive(&dir, &meta.meta.ring_id)?;
    }
    let geometry_kept = settle_geometry(&mut options, &meta.meta);
    let (geometry, shape) = options.check()?;
    file_length::check(geometry.page_len().max(shape.segment_len()))?;
    // Tested now, and not when it is needed first, so that the opening reports the result.
    let _ = disk.can_prove_unshared();
    let engine = open_engine(&*disk, &options, &lock)?;
    let mut survey = recover::survey(&*disk, &meta.meta)?;
    (survey.epoch_max < u32::MAX).then_some(()).ok_or(OpenError::EpochsExhausted)?;
    look(&meta.meta, &survey)?;

    // The ring is whole, and nothing has been changed yet, except the directory of a new ring.
    if !created {
        change.carry_out()?;
    }
    let rights = rights::of_ring(&dir, &options)?;
    let control = Control::open(&*disk, &dir, &options.control, rights, meta.meta.ring_id, shape)?;
    let epoch = survey.epoch_max.max(control.epoch_seen()) + 1;
    let core = new_core(disk, control, &options);
    let (disk, control) = (&*core.disk, &core.control);
    // Runs until all threads have started.
    let heartbeat = RecoveryHeartbeat::start(&core, options.heartbeat);
    let heartbeat_ns = u64::try_from(options.heartbeat.as_nanos()).unwrap_or(u64::MAX);
    let clean = survey.clean && !created;
    let cut = recover::raise_epoch(&mut meta, &options, geometry, epoch, &survey)
        .map_err(OpenError::io("write", disk.path(names::META)))
        .and_then(|()| {
            // Only after the epoch is durable: readers check their place again when it changes.
            control.publisher().set_writer(epoch, std::process::id(), heartbeat_ns);
            let cut = recover::mend(disk, &mut survey)?;
            recover::note_mended(&mut meta, &options, &survey)
                .map_err(OpenError::io("write", disk.path(names::META)))?;
            Ok(cut)
        })
        .inspect_err(|_| {
            control.publisher().fail(libc::EIO as u32);
            control.wake_all();
        })?;
    if let Some(cut) = &cut {
        tracing::warn!("{}: torn tail cut at page {} offset {}", home.display(), cut.page, cut.offset);
    }
    let opened = OpenReport {
        created,
        clean,
        epoch,
        pages: survey.pages.len() as u64,
        tip: survey.tip(),
        cut,
        engine: engine.kind(),
        geometry_kept,
    };
    let failed = Arc::clone(&core);
    let home = home.to_owned();
    let start = Start { core, engine, meta, geometry, shape, rights, options, opened, lock, home };
    let started = start.go_live(survey);
    drop(heartbeat);
    Ok(started.inspect_err(|error| {
        // Readers have been told that a writer is starting.
        failed.control.publisher().fail(error.errno() as u32);
        failed.control.wake_all();
    })?)
}

fn new_core(disk: Arc<dyn Disk>, control: Control, options: &WriterOptions) -> Arc<Core> {
    Arc::new(Core {
        disk,
        control,
        waking: Waking::new(options.min_wake_interval),
        poison: Default::default(),
        unflushed: Default::default(),
        positions: Default::default(),
        durability: options.durability,
        on_full: options.on_full,
        keep_for: options.keep_for,
        pages_max: AtomicUsize::new(options.ring_size as usize),
        oldest_page: Default::default(),
        on_durable: Default::default(),
    })
}

/// Keeps the ring's geometry unless a change was asked for. Returns whether other geometry options were
/// ignored.
fn settle_geometry(options: &mut WriterOptions, meta: &Meta) -> bool {
    let asked = options.clone();
    let change = options.geometry_change;
    options.ring_size = change.choose(meta.ring_size, asked.ring_size);
    options.page_len = change.choose(meta.geometry.page_len(), asked.page_len);
    options.index_capacity = change.choose(meta.geometry.index_capacity(), asked.index_capacity);
    *options != asked
}

fn open_meta(
    disk: &dyn Disk,
    home: &Path,
    options: &WriterOptions,
    geometry: PageGeometry,
    change: &RightsChange,
) -> Result<(MetaFile, bool), OpenError> {
    if let Some(meta) = MetaFile::open(disk)? {
        return Ok((meta, false));
    }
    let names = disk.list().map_err(OpenError::io("list", home))?;
    if names.iter().any(|name| names::parse_page(name).is_some()) {
        return Err(OpenError::NoMeta { home: home.to_owned() });
    }
    // A creation that was interrupted leaves only scratch files.
    for name in names.iter().filter(|name| name.starts_with(names::SCRATCH_PREFIX)) {
        disk.remove(name).map_err(OpenError::io("remove", disk.path(name)))?;
    }
    // New files are made in a directory that already has its rights.
    change.carry_out()?;
    let meta = Meta {
        ring_id: random_bytes(),
        counter: 0,
        ring_size: options.ring_size,
        geometry,
        epoch: 0,
        created_ns: clock::realtime_ns(),
        clean_end: Position::NONE,
        durable: Position::NONE,
        durable_names: false,
        trims_early: false,
    };
    Ok((MetaFile::create(disk, rights::of_new_ring(options), meta)?, true))
}

/// [`Io::Auto`] measures on a temporary file in the home directory. A full disk does not stop the opening.
fn open_engine<T>(
    disk: &dyn Disk,
    options: &WriterOptions,
    lock: &WriterLock,
) -> Result<Engine<T>, OpenError> {
    let scratch = match options.io {
        Io::Auto => scratch(disk).map(Some).or_else(|error| match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                tracing::warn!(
                    "no room to measure which engine is faster ({error}); using pwrite and fdatasync"
                );
                Ok(None)
            }
            _ => Err(OpenError::io("measure on", disk.path(&scratch_name()))(error)),
        })?,
        Io::Uring | Io::Pwrite => None,
    };
    Engine::open(options, lock.fd(), scratch.as_ref())
}

fn scratch_name() -> String {
    format!("{}probe", names::SCRATCH_PREFIX)
}

/// A file of [`SCRATCH_LEN`] bytes without a name.
fn scratch(disk: &dyn Disk) -> std::io::Result<Arc<dyn DiskFile>> {
    let name = scratch_name();
    let _ = disk.remove(&name);
    let scratch = disk.create(&name, FileRights::PRIVATE)?;
    disk.remove(&name)?;
    scratch.allocate(SCRATCH_LEN as u64)?;
    Ok(scratch)
}

struct Start {
    core: Arc<Core>,
    engine: Engine<super::WriteProgress>,
    meta: MetaFile,
    geometry: PageGeometry,
    shape: SegmentGeometry,
    rights: FileRights,
    options: WriterOptions,
    opened: OpenReport,
    lock: WriterLock,
    home: PathBuf,
}

impl Start {
    /// Fills the control segment with what the survey found, starts the threads, and says that a writer runs.
    fn go_live(self, mut survey: Survey) -> Result<Writer, OpenError> {
        let sync = self.options.durability == Durability::Sync;
        let template = PageTemplate {
            ring_id: self.meta.meta.ring_id,
            geometry: self.geometry,
            epoch: self.opened.epoch,
            rights: self.rights,
            durable: sync,
        };
        let tip = survey.tip();
        let last_time_ns = survey.pages.iter().map(|found| found.summary.last_time_ns).max().unwrap_or(0);
        let active = self.active_page(&mut survey, template)?;
        let ready = survey
            .ready
            .filter(|ready| ready.id > active.page.id && ready.header.geometry() == self.geometry)
            .map(|ready| active_page::open_empty(&*self.core.disk, ready.header))
            .transpose()
            .map_err(OpenError::io("open", self.core.disk.path(&names::page(active.page.id + 1))))?;
        self.publish(&survey.pages, &active, tip);

        let held = |found: &FoundPage| {
            let (len, newest_ns) = (found.header.geometry().page_len(), Some(found.summary.last_time_ns));
            HeldPage { id: found.id, len, newest_ns, file: None }
        };
        let mut pages: VecDeque<HeldPage> = survey.pages.iter().map(held).collect();
        pages.push_back(HeldPage::of(&active.page));
        let cannot = |source| OpenError::Threads { home: self.home.clone(), source };
        let ring_size = self.options.ring_size as usize;
        let pages = InitialPages { held: pages, active: Arc::clone(&active.page), ready, ring_size };
        let (preparer, preparing) =
            Preparer::start(&self.core, template, pages, self.options.prepare_ahead).map_err(cannot)?;
        let mut started = Started { core: &self.core, preparer: Some(preparer), threads: Vec::new() };
        started.threads.extend(preparing);
        let (core, options) = (Arc::clone(&self.core), &self.options);
        let notifying = notifier::start(core, options.heartbeat, self.lock.watch()).map_err(cannot)?;
        started.threads.push(notifying);
        let flush_interval = match self.options.durability {
            Durability::Sync => None,
            Durability::Interval(interval) => Some(interval),
            Durability::PageCache => Some(flusher::PAGE_CACHE_INTERVAL),
        };
        if let Some(interval) = flush_interval {
            self.core.unflushed.add(Arc::clone(&active.page));
            started.threads.push(flusher::start(Arc::clone(&self.core), interval).map_err(cannot)?);
        }
        let (preparer, threads) = started.keep().ok_or_else(|| cannot(std::io::ErrorKind::Other.into()))?;
        let record_size_max = WriterOptions::record_size_max(&self.geometry);
        Ok(Writer {
            piece_start: active.offset,
            core: self.core,
            engine: self.engine,
            preparer,
            directory_updates: VecDeque::new(),
            unsynced: Vec::new(),
            unpublished: (0, 0),
            written: None,
            pending_flush: None,
            records: sum_records(active.summary.records_before, active.summary.records),
            tip,
            given_time_ns: None,
            stamp: Stamp { time_ns: last_time_ns, durable: Position::NONE, epoch: self.opened.epoch },
            time_ahead_ns: 0,
            sync,
            putting: false,
            record_size_max,
            options: self.options,
            meta: self.meta,
            opened: self.opened,
            threads,
            closed: false,
            active,
            home: self.home,
            _lock: self.lock,
        })
    }

    fn publish(&self, sealed: &[FoundPage], active: &ActivePage, tip: Option<u64>) {
        let publisher = *self.core.control.publisher();
        // With fewer slots than pages, the oldest are about to be trimmed.
        let slots = self.shape.page_slots() as usize - 1;
        if sealed.len() > slots / 2 {
            self.core.control.populate();
        }
        for found in &sealed[sealed.len().saturating_sub(slots)..] {
            let summary = &found.summary;
            publisher.enter_page(&PageInfo {
                page_id: found.id,
                first_seq_no: summary.first_seq_no,
                prev_seq_no: summary.prev_seq_no,
                first_time_ns: summary.first_time_ns,
                records_before: summary.records_before,
                page_len: found.header.geometry().page_len(),
                index_len: 0,
                records_end: summary.records_end,
                last_seq_no: summary.last_seq_no,
                records: summary.records,
            });
            for entry in &found.index {
                publisher.push_index(found.id, entry);
            }
        }
        publisher.enter_page(&active.info());
        for entry in &active.index {
            publisher.push_index(active.page.id, entry);
        }
        publisher.set_oldest_page(sealed.first().map_or(active.page.id, |found| found.id));
        let end = Position::new(active.page.id, active.offset).unwrap_or_default();
        publisher.commit(
            end,
            tip.unwrap_or(0),
            sum_records(active.summary.records_before, active.summary.records),
        );
        self.core.positions.set_committed(end);
        self.core.set_durable(end);
        publisher.beat(clock::boottime_ns());
        publisher.set(
            waldo_shm_protocol::segment::Counter::UringActive,
            u64::from(self.engine.kind() != crate::EngineKind::Pwrite),
        );
        publisher.set_state(WriterState::Live);
        self.core.control.wake_all();
    }
}
