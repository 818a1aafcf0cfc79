//! What is ready before anybody asks for it, and what comes first.

use super::*;
use crate::disk::{FileRights, OsDisk};
use crate::page::PageTemplate;
use crate::testing::{Home, payloads, small};
use crate::{Durability, Io, WriterOptions};
use std::time::Instant;
use waldo_shm_protocol::names;
use waldo_shm_protocol::page::{PageGeometry, PageSummary};

/// Two rotations in quick succession need two pages. One is ready and one blank, from the first rotation on
/// and until the ring has more pages than it is to have.
#[test]
fn behind_the_page_that_is_ready_another_one_waits_blank() {
    let home = Home::new();
    let options = small(Io::Pwrite, Durability::Sync);
    let mut writer = home.open(&options);
    let mut last = 0;
    let deadline = Instant::now() + Duration::from_secs(30);
    for page in 2..=u64::from(options.ring_size) {
        while writer.committed().page() < page {
            last += 1;
            writer.append_payloads(&payloads(last..=last)).unwrap();
        }
        // Its name begins with the page that it was made for.
        let blank = format!("{}fresh-{:012x}", names::SCRATCH_PREFIX, page + 2);
        let waits = || home.names().iter().any(|name| name.starts_with(&blank));
        while !home.page(page + 1).exists() || !waits() {
            assert!(Instant::now() < deadline, "{blank} is not made");
            thread::yield_now();
        }
    }
    writer.close().unwrap();
}

/// Looking ahead in the page cache can take long. It gives way to whoever needs a page, hands one over, or
/// wants to end.
#[test]
fn looking_ahead_gives_way_to_all_that_is_urgent() {
    let home = Home::new();
    let disk = OsDisk::open(home.path()).unwrap();
    let geometry = PageGeometry::new(32 << 10, 4).unwrap();
    let template =
        PageTemplate { ring_id: [7; 16], geometry, epoch: 1, rights: FileRights::PRIVATE, durable: false };
    let mut next = 0;
    let mut page = || {
        next += 1;
        template.fresh(&disk, next).unwrap()
    };
    let mut quiet = || PreparerState { ready: Some(page()), ..PreparerState::default() };
    assert!(!quiet().is_urgent());
    assert!(PreparerState { ready: None, ..quiet() }.is_urgent(), "a page is needed");
    assert!(PreparerState { stop: true, ..quiet() }.is_urgent(), "the writer ends");
    let begun = quiet().ready.map(Arc::new).into_iter().collect();
    assert!(PreparerState { begun, ..quiet() }.is_urgent(), "the oldest page has to go");
    let sealed = quiet().ready.map(Arc::new).unwrap();
    let job = SealJob { page: sealed, summary: PageSummary::default(), index: Vec::new() };
    assert!(PreparerState { seals: [job].into(), ..quiet() }.is_urgent(), "a page lacks its footer");
}

/// Where the thread gets the processor late no page is blank when the oldest one cannot be trimmed. The log
/// goes on in a new one all the same, as long as there is room.
#[test]
fn a_page_that_cannot_be_trimmed_is_no_reason_to_make_none() {
    let failed = || Some(failure(1, io::Error::from_raw_os_error(libc::EIO)));
    let untrimmed = || PreparerState {
        failed: failed(),
        untrimmed: true,
        displaced: true,
        overfull: true,
        next_id: 7,
        ..PreparerState::default()
    };
    let mut state = untrimmed();
    assert!(matches!(state.next_task(), Some(Task::Make(7))) && state.busy);
    assert!(state.next_task().is_none(), "one at a time");
    assert!(PreparerState { full: true, ..untrimmed() }.next_task().is_none(), "there is no room");
    assert!(PreparerState { untrimmed: false, ..untrimmed() }.next_task().is_none(), "making one failed");
    // Who waits for a page waits for the one that is being made.
    let mut state = untrimmed();
    state.next_task();
    state.made(Err(failed().unwrap()));
    assert!(state.next_task().is_none() && state.failed.is_some() && !state.untrimmed);
}

/// A trim that failed while the next page is being made is no reason to fail an append that waits for that.
#[test]
fn who_waits_for_a_page_that_is_being_made_gets_it_whatever_failed_before() {
    let home = Home::new();
    let options = WriterOptions { prepare_ahead: false, ..small(Io::Pwrite, Durability::Sync) };
    let writer = home.open(&options);
    let core = writer.core();
    let geometry = PageGeometry::new(options.page_len, options.index_capacity).unwrap();
    let template =
        PageTemplate { ring_id: [7; 16], geometry, epoch: 1, rights: FileRights::PRIVATE, durable: false };
    let made = template.fresh(&*core.disk, 7).unwrap();
    let failed = Some(failure(1, io::Error::from_raw_os_error(libc::EIO)));
    let state = Mutex::new(PreparerState { failed, retry: true, busy: true, ..PreparerState::default() });
    let factory = PageFactory { core, template };
    let shared = Arc::new(PreparerShared { state, work: Condvar::new(), done: Condvar::new(), factory });
    let preparer = BackgroundPreparer(Arc::clone(&shared));
    let taking = thread::spawn(move || preparer.take(options.ring_size as usize));
    let deadline = Instant::now() + Duration::from_secs(30);
    while shared.done.notify_all() == 0 && !taking.is_finished() {
        assert!(Instant::now() < deadline, "it neither waits nor ends");
        thread::yield_now();
    }
    shared.state.lock().made(Ok(made));
    shared.done.notify_all();
    let (page, stalled) = taking.join().unwrap().unwrap().unwrap();
    assert!(page.id == 7 && stalled);
}
