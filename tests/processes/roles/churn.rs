//! A reader that races the writer for the oldest page: opens it, reads a little, and lets go again.

use crate::support::args::Args;
use crate::support::child::tell;
use crate::support::payload::check_bytes;
use crate::support::ring::{attach, careful};
use std::path::Path;
use waldo::reader::{Cursor, ReadError};

/// Until it has opened `pages` pages. Says `ready`, then at the end `done PAGES RECORDS LAPSED`.
pub fn play(args: &Args) {
    let (max, wanted) = (args.number("max") as usize, args.number("pages"));
    let home = Path::new(args.get("home"));
    let (mut pages, mut records, mut lapsed) = (0u64, 0u64, 0u64);
    tell("ready");
    while pages < wanted {
        // A new attachment, so that nothing is mapped from before.
        let mut reader = match attach(home).reader_with(Cursor::Oldest, careful()) {
            Ok(reader) => reader,
            Err(ReadError::Lapped { .. }) => {
                lapsed += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        pages += 1;
        let mut last = None;
        loop {
            match reader.poll() {
                Ok(None) => break,
                Ok(Some(batch)) => {
                    for record in &batch {
                        assert_eq!(record.prev_seq_no(), last.unwrap_or(record.prev_seq_no()), "a gap");
                        check_bytes(&record, max);
                        last = Some(record.seq_no());
                        records += 1;
                    }
                }
                Err(ReadError::Lapped { .. }) => {
                    lapsed += 1;
                    break;
                }
                Err(error) => panic!("after {last:?}: {error}"),
            }
        }
    }
    tell(format!("done {pages} {records} {lapsed}"));
}
