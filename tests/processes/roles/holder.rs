//! A reader that takes one batch and keeps it while the ring goes on.

use crate::support::args::Args;
use crate::support::child::tell;
use crate::support::payload::check_batch;
use crate::support::ring::{attach, careful};
use std::io::BufRead;
use std::path::Path;
use waldo::reader::{Cursor, ReadError};

/// Says `holding FIRST LAST`. On any line checks the batch again, byte for byte, and says `unchanged`; then
/// goes on reading to the end of its page and says `lapsed REQUESTED OLDEST LOST`, seeks to the oldest
/// record, and says `done FIRST LAST` of everything that is left.
pub fn play(args: &Args) {
    let max = args.number("max") as usize;
    let ring = attach(Path::new(args.get("home")));
    let mut reader = ring.reader_with(Cursor::Oldest, careful()).unwrap();
    let mut lines = std::io::stdin().lock().lines();
    let batch = reader.recv(None).unwrap().unwrap();
    let before = batch.first_seq_no() - 1;
    check_batch(&batch, before, max);
    tell(format!("holding {} {}", batch.first_seq_no(), batch.last_seq_no()));
    lines.next();
    batch.verify().unwrap();
    let mut last = check_batch(&batch, before, max);
    tell("unchanged");
    // A lapped reader finishes the page it has mapped.
    let (requested, oldest, lost) = loop {
        match reader.poll() {
            Ok(Some(batch)) => last = check_batch(&batch, last, max),
            Ok(None) => panic!("not lapped"),
            Err(ReadError::Lapped { requested, oldest, lost }) => break (requested, oldest, lost.unwrap()),
            Err(error) => panic!("after {last}: {error}"),
        }
    };
    assert_eq!(requested, last);
    tell(format!("lapsed {requested} {oldest} {lost}"));
    drop(batch);
    reader.seek(Cursor::Oldest).unwrap();
    tell("parted");
    lines.next();
    let mut last = oldest - 1;
    while let Some(batch) = reader.poll().unwrap() {
        last = check_batch(&batch, last, max);
    }
    tell(format!("done {oldest} {last}"));
}
