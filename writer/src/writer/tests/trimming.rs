//! When pages leave the ring, and what it takes before their files are used again.

use super::*;
use std::time::{Duration, Instant};

fn on_faulty(home: &Home, options: &WriterOptions) -> (Writer, Arc<Faults>) {
    let disk = FaultyDisk::open(home.path());
    let faults = Arc::clone(&disk.faults);
    (Writer::open_on(home.path(), Arc::new(disk), options.clone()).unwrap(), faults)
}

/// A trimmed page was changed while a power cut could still bring its old name back: the ring, which nothing
/// had damaged, did not open again then (3 of 120 cuts on ext4).
#[test]
fn a_file_is_used_again_only_once_its_name_is_durably_gone() {
    for options in regimes() {
        let home = Home::new();
        let (mut writer, faults) = on_faulty(&home, &options);
        for start in (1..=600).step_by(6) {
            writer.append_payloads(&payloads(start..=start + 5)).unwrap();
        }
        writer.close().unwrap();
        let log = faults.log();
        let mut reused = 0;
        for (at, entry) in log.iter().enumerate() {
            let Some((trimmed, name)) =
                entry.strip_prefix("rename scratch-trim-").and_then(|e| e.split_once(' '))
            else {
                continue;
            };
            reused += 1;
            let gone = format!("rename page-{trimmed} scratch-trim-{trimmed}");
            let begun = log[..at].iter().rposition(|entry| *entry == gone).expect("it was trimmed before");
            assert!(log[begun..at].iter().any(|entry| entry == "sync_dir"), "{name}: {:?}", &log[begun..=at]);
            // Whoever has found the file under its old name, and waits for the lease, sees that it is no page
            // any more.
            let retired = log[..at].iter().filter(|entry| *entry == "retired").count();
            assert!(retired >= reused, "{name} is used again as it was");
        }
        assert!(reused > 3, "{options:?}");
    }
}

/// One rename that failed left a hole for ever, since the page had been forgotten before.
#[test]
fn a_page_that_cannot_be_trimmed_stays_and_the_ring_does_not_grow() {
    for options in regimes() {
        let home = Home::new();
        let (mut writer, faults) = on_faulty(&home, &options);
        let mut last = 0;
        while writer.committed().page() < 6 {
            last += 1;
            writer.append_payloads(&[payload(last)]).unwrap();
        }
        faults.trim.store(libc::EIO as u64, Ordering::Relaxed);
        let tip = loop {
            last += 1;
            match writer.append_payloads(&[payload(last)]) {
                Ok(_) => assert!(last < 2000, "the ring grows and grows: {options:?}"),
                Err(AppendError::NoPage { cause, tip }) => {
                    assert!(cause.to_string().contains("trimming page"), "{cause}");
                    break tip;
                }
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(writer.tip(), Some(tip));
        let ids = home.page_ids();
        assert!(ids.len() <= options.ring_size as usize + 2, "{ids:?}");
        assert!(ids.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{ids:?}");
        let oldest = writer.core.control.publisher().segment().oldest_page();
        assert_eq!(oldest, ids[0], "readers are told what is there");
        // It goes on once that works again.
        faults.trim.store(0, Ordering::Relaxed);
        writer.append_payloads(&payloads(tip + 1..=tip + 200)).unwrap();
        assert_run(home.path(), tip + 200);
        writer.close().unwrap();
        assert_eq!(home.open(&options).tip(), Some(tip + 200));
    }
}

/// A ring of one page that was opened with an empty last page let the page before go at once: a kill later
/// everything that had been acknowledged was gone, and numbers began at 1.
#[test]
fn an_empty_page_displaces_nothing() {
    for options in regimes() {
        let home = Home::new();
        let mut writer = home.open(&WriterOptions { ring_size: 2, ..options.clone() });
        let options = WriterOptions { ring_size: 1, geometry_change: GeometryChange::Apply, ..options };
        let mut last = 0;
        while writer.committed().page() < 2 {
            last += 1;
            writer.append_payloads(&[payload(last)]).unwrap();
        }
        writer.close().unwrap();
        // A crash after the seal of page 1 was written and before a record in page 2 was.
        let second = home.page(2);
        let mut content = std::fs::read(&second).unwrap();
        content[4096..].fill(0);
        std::fs::write(&second, content).unwrap();
        let mut metadata = crate::metafile::MetaFile::open(&crate::disk::OsDisk::open(home.path()).unwrap())
            .unwrap()
            .unwrap();
        metadata
            .update(|meta| {
                meta.clean_end = crate::Position::NONE;
                meta.durable = crate::Position::start_of(2);
            })
            .unwrap();
        let writer = home.open(&options);
        assert_eq!(writer.tip(), Some(last - 1));
        // What a kill at this moment leaves.
        writer.settle();
        let image = Home::new();
        home.copy_to(&image);
        assert_eq!(image.open(&options).tip(), Some(last - 1), "{options:?}");
    }
}

/// A page file that somebody had cut short was used again as it was. Where the kernel does not tell what is
/// in the page cache, the part that is missing stayed so: a SIGBUS for whoever maps the page.
#[test]
fn a_page_that_was_cut_short_is_not_used_again() {
    for options in regimes() {
        let home = Home::new();
        // This disk does not tell.
        let (mut writer, _) = on_faulty(&home, &options);
        let mut last = 0;
        let mut next = || {
            last += 1;
            payload(last)
        };
        while writer.committed().page() < 4 {
            writer.append_payloads(&[next()]).unwrap();
        }
        std::fs::OpenOptions::new().write(true).open(home.page(2)).unwrap().set_len(4096).unwrap();
        while writer.committed().page() < 14 {
            writer.append_payloads(&[next()]).unwrap();
            // At any time: the footer makes the file as long as it should be, but that is written last.
            let newest = writer.committed().page();
            for id in newest.saturating_sub(1).max(3)..=newest + 1 {
                let Ok(found) = std::fs::metadata(home.page(id)) else { continue };
                assert_eq!(found.len(), options.page_len, "page {id}: {options:?}");
            }
        }
        writer.close().unwrap();
        assert_run(home.path(), last);
    }
}

/// With an interval, pages left the ring before what took their place was durable. A power cut left nothing
/// then.
#[test]
fn with_an_interval_durable_records_displace_pages_and_appends_wait_for_them() {
    for prepare_ahead in [true, false] {
        let options = WriterOptions { prepare_ahead, ..small(Io::Pwrite, LAZY) };
        let home = Home::new();
        let (mut writer, faults) = on_faulty(&home, &options);
        let full = || {
            let mut last = 0;
            while writer.committed().page() < u64::from(options.ring_size) {
                last += 1;
                writer.append_payloads(&[payload(last)]).unwrap();
            }
            last
        };
        let mut full = full;
        let last = full();
        // From here on no flush ends. The ring is full; the next page can be begun, the one after that
        // cannot.
        faults.permit_syncs(Some(0));
        let core = writer.core();
        let (sender, done) = std::sync::mpsc::channel();
        let appending = std::thread::spawn(move || {
            let outcome = writer.append_payloads(&payloads(last + 1..=last + 200));
            sender.send(()).unwrap();
            (writer, outcome)
        });
        let deadline = Instant::now() + Duration::from_secs(30);
        while core.committed().page() < u64::from(options.ring_size) + 1 {
            assert!(Instant::now() < deadline, "the page after the last one is not begun");
            std::thread::yield_now();
        }
        // It waits: whatever becomes durable from now on, the oldest page is still there.
        assert!(done.try_recv().is_err() && home.page(1).exists());
        assert!(core.durable().page() <= 1, "{}", core.durable());
        faults.permit_syncs(None);
        let (mut writer, outcome) = appending.join().unwrap();
        outcome.unwrap();
        assert!(core.durable().page() > 4 && counter(&writer, Counter::DiskWaits) > 0);
        writer.append_payloads(&payloads(last + 201..=last + 400)).unwrap();
        assert!(home.page_ids().len() <= options.ring_size as usize + 2);
        writer.close().unwrap();
    }
}

/// The list of pages to flush grew by one at each rotation and kept files open that had left the ring.
#[test]
fn what_has_left_the_ring_is_not_flushed_and_not_kept_open() {
    for prepare_ahead in [true, false] {
        let options =
            WriterOptions { page_len: 16 << 10, prepare_ahead, ..small(Io::Pwrite, Durability::PageCache) };
        let home = Home::new();
        let mut writer = home.open(&options);
        for start in (1..=3000).step_by(10) {
            writer.append_payloads(&payloads(start..=start + 9)).unwrap();
        }
        writer.settle();
        assert!(counter(&writer, Counter::TrimmedPages) > 100);
        let unflushed = writer.core.unflushed.len();
        assert!(unflushed <= options.ring_size as usize + 2, "{unflushed}");
        let open = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.starts_with(home.path()) && target.to_string_lossy().contains("page-"))
            .count();
        assert!(open <= options.ring_size as usize + 3, "{open}");
        let before = counter(&writer, Counter::Flushes);
        writer.sync().unwrap();
        assert!(counter(&writer, Counter::Flushes) - before <= u64::from(options.ring_size) + 2);
        writer.close().unwrap();
    }
}

/// As long as pages cannot be trimmed the log goes on in new ones, and takes as much room as the ring ever
/// may: whatever keeps the old ones may be over by then.
#[test]
fn where_no_page_can_be_trimmed_the_log_goes_on_as_far_as_there_is_room() {
    for options in regimes() {
        let home = Home::new();
        let (mut writer, faults) = on_faulty(&home, &options);
        faults.trim.store(libc::EIO as u64, Ordering::Relaxed);
        let mut last = 0;
        let tip = loop {
            last += 1;
            match writer.append_payloads(&[payload(last)]) {
                Ok(_) => {}
                Err(AppendError::NoPage { tip, .. }) => break tip,
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!((tip, writer.committed().page()), (last - 1, u64::from(options.ring_size) + 2));
        assert_eq!(home.page_ids().len(), options.ring_size as usize + 2, "{options:?}");
        drop(writer);
    }
}

/// While a flush goes on that will make records durable, a writer that promises nothing for power cuts trims
/// pages in front of them. A power cut could bring their names back, with other content under them: the flush
/// makes them durably gone before it calls anything behind them durable.
#[test]
fn what_is_trimmed_during_a_flush_is_durably_gone_before_the_flush_counts() {
    let home = Home::new();
    let options = WriterOptions { prepare_ahead: false, ..small(Io::Pwrite, Durability::PageCache) };
    let (mut writer, faults) = on_faulty(&home, &options);
    let mut last = 0;
    while writer.committed().page() < u64::from(options.ring_size) {
        last += 1;
        writer.append_payloads(&[payload(last)]).unwrap();
    }
    let core = writer.core();
    // What had happened when the position moved.
    let (sender, moved) = std::sync::mpsc::channel();
    let seen = (Arc::clone(&faults), parking_lot::Mutex::new(sender));
    let told = move || drop(seen.1.lock().send(seen.0.log()));
    assert!(core.on_durable.set(Box::new(told)).is_ok(), "nobody else prepares pages");
    let permit = Permit(Arc::clone(&faults));
    let before = core.durable();
    faults.permit_syncs(Some(0));
    // The flush in the background may have begun by itself; then it is that one which waits.
    core.unflushed.flush_soon();
    let deadline = Instant::now() + Duration::from_secs(30);
    while core.unflushed.flushing.try_lock().is_some() || core.unflushed.pages.lock().names_changed {
        assert!(Instant::now() < deadline, "no flush begins");
        std::thread::yield_now();
    }
    while writer.committed().page() < u64::from(options.ring_size) + 3 {
        last += 1;
        writer.append_payloads(&[payload(last)]).unwrap();
    }
    assert_eq!(core.durable(), before);
    assert!(core.unflushed.pages.lock().name_may_return.is_some());
    drop(permit);
    let log = moved.recv_timeout(Duration::from_secs(30)).unwrap();
    let trimmed = log.iter().rposition(|entry| entry.contains("scratch-trim-")).expect("pages were trimmed");
    assert!(log[trimmed..].contains(&"sync_dir".to_owned()), "{:?}", &log[trimmed..]);
    writer.close().unwrap();
}

/// With an interval a page waits for durable records that take its place. Their flush begins when a page of a
/// full ring is complete, and not when an append already waits for it.
#[test]
fn a_full_ring_flushes_by_itself_before_an_append_has_to_wait() {
    let home = Home::new();
    let options = WriterOptions { prepare_ahead: false, ..small(Io::Pwrite, LAZY) };
    let mut writer = home.open(&options);
    let (core, before) = (writer.core(), writer.core().durable());
    let mut last = 0;
    while writer.committed().page() <= u64::from(options.ring_size) {
        last += 1;
        writer.append_payloads(&[payload(last)]).unwrap();
    }
    assert_eq!(counter(&writer, Counter::DiskWaits), 0);
    let deadline = Instant::now() + Duration::from_secs(30);
    while core.durable() == before {
        assert!(Instant::now() < deadline, "no flush begins");
        std::thread::yield_now();
    }
    writer.close().unwrap();
}
