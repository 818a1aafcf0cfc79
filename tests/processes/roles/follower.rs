//! A reader that follows the log, checks every byte, and keeps account of what it was told it missed.

use crate::support::args::Args;
use crate::support::child::tell;
use crate::support::payload::check;
use crate::support::ring::{attach, careful};
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use waldo::reader::{Cursor, ReadError, Reader};

/// How long to wait before looking whether the end of the work has been named.
const LOOK: Duration = Duration::from_millis(20);

/// Arguments: `home`, `max`, `after` (0), `until` (may be told later as a line), `report` (0: only the first
/// record), `may_lapse`. Says `ready`, `at SEQ` every `report` records, `lapsed REQUESTED OLDEST LOST`, and
/// at `until`: `done RECEIVED LOST LAST`.
pub fn play(args: &Args) {
    let max = args.number("max") as usize;
    let ring = attach(Path::new(args.get("home")));
    let mut last = args.number("after");
    let mut reader = ring.reader_with(Cursor::After(last), careful()).unwrap();
    let until = Arc::new(AtomicU64::new(if args.has("until") { args.number("until") } else { u64::MAX }));
    let told = Arc::clone(&until);
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            told.store(line.parse().unwrap(), Ordering::Relaxed);
        }
    });
    tell("ready");
    let (mut received, mut lost, mut reported) = (0u64, 0u64, false);
    while last < until.load(Ordering::Relaxed) {
        match reader.recv(Some(LOOK)) {
            Ok(None) => {}
            Ok(Some(batch)) => {
                for record in &batch {
                    check(&record, last, max);
                    last = record.seq_no();
                    received += 1;
                    let report = args.number("report");
                    if !std::mem::replace(&mut reported, true)
                        || (report > 0 && received.is_multiple_of(report))
                    {
                        tell(format!("at {last}"));
                    }
                }
                assert_eq!(reader.last_seq_no(), Some(last));
            }
            Err(error) if args.has("may_lapse") => {
                let missed = lapsed(&mut reader, &error, last);
                lost += missed;
                last += missed;
            }
            Err(error) => panic!("after {last}: {error}"),
        }
    }
    tell(format!("done {received} {lost} {last}"));
}

/// Checks what a lapped reader is told, and sends it on. Returns how many records it missed.
fn lapsed(reader: &mut Reader, error: &ReadError, last: u64) -> u64 {
    let ReadError::Lapped { requested, oldest, lost } = *error else { panic!("after {last}: {error}") };
    assert_eq!(requested, last, "what was asked for");
    let lost = lost.expect("a reader that has read from the start knows how many it missed");
    assert_eq!(oldest, last + lost + 1, "numbers are without gaps here");
    tell(format!("lapsed {requested} {oldest} {lost}"));
    // The error stays until the reader is sent elsewhere; the ring may have moved on meanwhile.
    match reader.poll() {
        Err(ReadError::Lapped { requested: again, oldest: later, .. }) => {
            assert_eq!(again, last);
            assert!(later >= oldest);
        }
        other => panic!("the error went away by itself: {other:?}"),
    }
    loop {
        reader.seek(Cursor::Oldest).unwrap();
        match reader.poll() {
            // Overtaken again between the two calls.
            Err(ReadError::Lapped { .. }) => continue,
            Ok(Some(batch)) => {
                let missed = batch.first_seq_no() - last - 1;
                assert!(missed >= lost);
                // Hand it out again, to be checked like all others.
                match reader.seek(Cursor::From(batch.first_seq_no())) {
                    Err(ReadError::Lapped { .. }) => continue,
                    outcome => outcome.unwrap(),
                }
                return missed;
            }
            other => panic!("nothing at the oldest record: {other:?}"),
        }
    }
}
