//! The runs. By default they are short; `WALDO_HISTORIES` says how many histories a long one is to have.

use super::exhaustive::every_crash;
use super::images::Recorded;
use super::life::{Life, Regime};
use super::random::{CONTROL, Scope, history};
use super::recovery::recover;
use super::tally::Tally;
use super::truth::Truth;
use crate::disk::simulated::{Faults, Known, Lie, Op, Rng, SimDisk, State, Style, Styled};
use crate::testing::LAZY;
use crate::{ControlPlace, Durability, Io, Writer, WriterOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use waldo_shm_protocol::limits::RECORD_HEADER_LEN;

const HONEST: Lie = Lie { names: None, data: None, durable_writes: false, rewrites: false, zeros: false };
const SCOPE: Scope = Scope {
    images: 150,
    threads: true,
    page_cache: true,
    old_meta: true,
    faults: 4,
    flush: 0,
    lie: HONEST,
    lie_opening: HONEST,
};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[test]
fn histories_by_chance() {
    let home = tempfile::tempdir().unwrap();
    if let Some(seed) = number(super::SEED) {
        let mut tally = Tally::new(true);
        history(seed, home.path(), &SCOPE, &mut tally);
        tally.assert_none();
        return;
    }
    let wanted = number("WALDO_HISTORIES");
    let mut tally = Tally::new(wanted.is_some());
    let mut seed = number("WALDO_HISTORIES_FIRST").unwrap_or(1);
    let begun = Instant::now();
    while tally.histories() < wanted.unwrap_or(20_000) {
        if wanted.is_none() && begun.elapsed() > Duration::from_secs(5) {
            break;
        }
        history(seed, home.path(), &SCOPE, &mut tally);
        seed += 1;
    }
    if wanted.is_some() {
        println!("{tally}");
    }
    tally.assert_none();
}

/// Options of the smallest pages.
fn smallest(home: &Path, durability: Durability, ring_size: u32) -> WriterOptions {
    WriterOptions {
        ring_size,
        page_len: 16 << 10,
        page_records_max: 2,
        index_capacity: 1,
        durability,
        io: Io::Pwrite,
        buffers: 2,
        buffer_len: 4096,
        control: ControlPlace::Path(home.join(CONTROL)),
        prepare_ahead: false,
        ..WriterOptions::default()
    }
}

#[test]
fn histories_without_exception() {
    let home = tempfile::tempdir().unwrap();
    let steps = number("WALDO_HISTORIES_STEPS").unwrap_or(3);
    let loud = number("WALDO_HISTORIES").is_some();
    let mut tally = Tally::new(loud);
    for durability in [Durability::Sync, LAZY, Durability::PageCache] {
        for ring_size in [1, 2] {
            let _ = std::fs::remove_file(home.path().join(CONTROL));
            let (mut truth, start) = (Truth::default(), State::default());
            let known = Known { floor: 1, ring_size, ..Known::default() };
            let regime = Regime {
                options: smallest(home.path(), durability, ring_size),
                shared: false,
                several: false,
                steps,
                payload_max: 300,
                faults: Faults::none(),
                lie: HONEST,
                faulty: false,
            };
            let life = Life::new(home.path(), &mut truth, 1, known, Rng::new(7));
            let lived = life.live(start.clone(), false, &regime);
            lived.outcome.as_ref().unwrap();
            let recorded = Recorded {
                truth: &truth,
                start: &start,
                journal: &lived.journal,
                known,
                lie: HONEST,
                durability,
            };
            let extent = every_crash(&recorded, 7, true, &mut tally);
            if loud {
                println!(
                    "{durability:?}, ring of {ring_size}, {steps} steps, {} operations: {extent:?}",
                    lived.journal.len()
                );
            }
        }
    }
    if loud {
        println!("{tally}");
    }
    tally.assert_none();
}

/// Runs histories on a disk that makes a guard void, until one of them is bad.
fn finds(scope: Scope) -> Option<(u64, String)> {
    let home = tempfile::tempdir().unwrap();
    let mut tally = Tally::new(false);
    for seed in 1..=1500 {
        history(seed, home.path(), &scope, &mut tally);
        if tally.bad() > 0 {
            return Some((seed, tally.rules().join(", ")));
        }
    }
    None
}

/// Each guard is removed by a disk that does not do what the guard asks for. Histories that did not notice
/// would not be worth much.
#[test]
fn histories_notice_when_a_guard_is_gone() {
    let guards = [
        ("the header is flushed before the page is named", Lie { data: Some("scratch-"), ..HONEST }, HONEST),
        ("pages are flushed", Lie { data: Some("page-"), ..HONEST }, HONEST),
        ("a lone append is written durably", Lie { durable_writes: true, ..HONEST }, HONEST),
        ("the name of a new page is made durable", Lie { names: Some("page-"), ..HONEST }, HONEST),
        (
            "a trimmed page loses its name before it is changed",
            Lie { names: Some("scratch-trim"), ..HONEST },
            HONEST,
        ),
        ("ring.meta is flushed", HONEST, Lie { data: Some("ring.meta"), ..HONEST }),
        ("what may not be durable is written again", HONEST, Lie { rewrites: true, ..HONEST }),
        ("the end of the log is cleared", HONEST, Lie { zeros: true, ..HONEST }),
        ("recovery makes names durable", HONEST, Lie { names: Some(""), ..HONEST }),
        ("recovery flushes pages", HONEST, Lie { data: Some("page-"), ..HONEST }),
    ];
    let mut unnoticed = Vec::new();
    for (guard, lie, lie_opening) in guards {
        let begun = Instant::now();
        // Only after a flush that failed is there anything to be written again.
        let (faults, flush) = if lie_opening.rewrites { (1, 8) } else { (SCOPE.faults, SCOPE.flush) };
        let quiet = Scope { threads: false, page_cache: false, old_meta: false, ..SCOPE };
        let found = finds(Scope { faults, flush, lie, lie_opening, ..quiet });
        println!("{guard}: {found:?} after {:.1?}", begun.elapsed());
        if found.is_none() {
            unnoticed.push(guard);
        }
    }
    assert!(unnoticed.is_empty(), "removing these changes nothing: {unnoticed:?}");
}

/// A flush failed that covered the seal of a page, before there was a record behind it. The cache had the
/// seal, the disk had not. After a kill the next opening wrote the records again, for a flush that means it,
/// but not the seal: the ring was durable beyond a seal that was not, and did not open after a power cut, nor
/// ever again.
#[test]
fn a_seal_that_only_the_cache_has_is_durable_once_a_ring_is_open() {
    let home = tempfile::tempdir().unwrap();
    let disk = SimDisk::new(State::default(), Faults::none());
    let options = smallest(home.path(), LAZY, 4);
    let mut writer = Writer::open_on(home.path(), Arc::new(disk.clone()), options).unwrap();
    // Two records fill a page. They end where a sector does, so that the seal stands in one of its own.
    for n in 1..=3 {
        writer.append_payloads(&[[n; 256 - RECORD_HEADER_LEN]]).unwrap();
    }
    drop(writer);
    let mut state = State::default();
    let journal = disk.take_journal();
    let is_seal = |op: &&Op| matches!(op, Op::Write { bytes, .. } if bytes.len() == RECORD_HEADER_LEN);
    let seal = journal.iter().position(|op| is_seal(&op)).unwrap();
    journal[..=seal].iter().for_each(|op| state.apply(op));
    let Op::Write { inode, .. } = journal[seal] else { panic!("not a write") };
    state.apply(&Op::FailedSync { inode, reached: Vec::new(), evicted: false });
    let killed = SimDisk::new(state, Faults::none());
    let first = recover(&killed, LAZY).unwrap().unwrap();
    assert_eq!(first.pages.iter().map(|page| page.records).sum::<u64>(), 2);
    let cut = killed.state().cut(&mut Styled::of_style(Rng::new(0), Style::Oldest));
    let second = recover(&SimDisk::new(cut, Faults::none()), LAZY).unwrap().unwrap();
    assert_eq!(first.pages, second.pages);
}
