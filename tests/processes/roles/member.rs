//! One reader of a crowd: follows the log to its last record, asleep whenever it can be.

use crate::support::args::Args;
use crate::support::child::tell;
use crate::support::payload::{END, check_bytes};
use waldo::reader::{AttachOptions, Cursor, ReadError, ReaderOptions, Ring, WaitStrategy};

/// Arguments: `number`, `home`, `max`, `report` (0: never), `tip` (start there instead of at the first
/// record), `may_lapse`. Each line begins with its number: `ready`; `at SEQ` every `report` records; `lapsed
/// AFTER LOST`; and when it has read the record that holds [`END`], `done FIRST RECEIVED LOST LAST`.
pub fn play(args: &Args) {
    let (number, max, report) = (args.number("number"), args.number("max") as usize, args.number("report"));
    // Seldom, as it is by default: with thousands of processes the looks would be most of the work.
    let ring = Ring::attach_with(args.get("home"), AttachOptions::default()).unwrap();
    let options = ReaderOptions::default().wait(WaitStrategy::Park);
    let cursor = if args.has("tip") { Cursor::Tip } else { Cursor::After(0) };
    let mut reader = ring.reader_with(cursor, options).unwrap();
    tell(format!("{number} ready"));
    let mut last = reader.last_seq_no().unwrap_or(0);
    let (first, mut received, mut lost) = (last + 1, 0, 0);
    loop {
        let batch = match reader.recv(None) {
            Ok(batch) => batch.unwrap(),
            Err(ReadError::Lapped { requested, lost: missed, .. }) if args.has("may_lapse") => {
                assert_eq!(requested, last, "what was asked for");
                tell(format!("{number} lapsed {last} {}", missed.unwrap()));
                while let Err(error) = reader.seek(Cursor::Oldest) {
                    // Overtaken again.
                    assert!(matches!(error, ReadError::Lapped { .. }), "{error}");
                }
                // What it skips now is checked against what it is told it skips.
                let oldest = reader.last_seq_no().unwrap();
                assert!(oldest >= last + missed.unwrap(), "{oldest} is not behind {last} and {missed:?}");
                lost += oldest - last;
                last = oldest;
                continue;
            }
            Err(error) => panic!("{number} after {last}: {error}"),
        };
        for record in &batch {
            assert_eq!(record.prev_seq_no(), last, "{number}: predecessor of {}", record.seq_no());
            assert_eq!(record.seq_no(), last + 1, "{number}: a gap after {last}");
            last = record.seq_no();
            received += 1;
            if record.data() == END {
                return tell(format!("{number} done {first} {received} {lost} {last}"));
            }
            check_bytes(&record, max);
            if report > 0 && last.is_multiple_of(report) {
                tell(format!("{number} at {last}"));
            }
        }
    }
}
