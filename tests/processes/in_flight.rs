//! Writes that a killed writer had given to the kernel, and the next writer, which starts at once.

use crate::support::child::Child;
use crate::support::payload::check_batch;
use crate::support::ring::{Setup, TestRing};
use crate::support::wait::wait_until;
use nix::sys::signal::Signal;
use std::fs;
use waldo::reader::Cursor;
use waldo::writer::{Io, OpenError, Writer};

const KILLS: u64 = 8;

/// The next writer gets the lock when nothing of the one before can land any more: what it has found stays as
/// it is. It begins before the killed process has been reaped, so the kernel may still be at it.
#[test]
fn nothing_of_a_killed_writer_lands_after_the_next_one_has_looked() {
    for interval_ms in [None, Some(20)] {
        let ring = TestRing::new();
        let setup = Setup {
            io: Io::Uring,
            interval_ms,
            ring_size: 1024,
            page_len: 256 << 10,
            max: 30_000,
            ..Setup::default()
        };
        let mut read = 0;
        for round in 0..KILLS {
            let mut writer = Child::spawn("writer", setup.args(ring.home()));
            writer.expect("opened");
            // Large appends, several in flight at any time.
            writer.say(format!("flood {round} 40"));
            for _ in 0..1 + round % 5 {
                writer.expect("acked");
            }
            writer.signal(Signal::SIGKILL);
            let mut next = None;
            wait_until("the lock is free", || match Writer::open(ring.home(), setup.options()) {
                Ok(writer) => {
                    next = Some(writer);
                    true
                }
                Err(OpenError::Locked { .. }) => false,
                Err(error) => panic!("{error}"),
            });
            let mut next = next.unwrap();
            // The page behind them may just be getting its name.
            let last = next.committed().page();
            let pages = || (1..=last).map(|id| fs::read(ring.page(id)).unwrap()).collect::<Vec<_>>();
            let found = pages();
            // Now every thread that worked for the killed process is gone.
            writer.kill();
            for (id, (before, after)) in (1..).zip(found.iter().zip(pages())) {
                assert!(*before == after, "round {round}: page {id} has changed");
            }
            next.append_payloads(&crate::support::payload::payloads(
                next.tip().unwrap_or(0) + 1,
                next.tip().unwrap_or(0) + 20,
                setup.max,
            ))
            .unwrap();
            next.close().unwrap();
            let mut reader = ring.reader(Cursor::After(read));
            while let Some(batch) = reader.poll().unwrap() {
                read = check_batch(&batch, read, setup.max);
            }
        }
        assert!(read > KILLS * 20);
    }
}
