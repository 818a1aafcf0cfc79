//! Waldo: one `Writer`, and a `Reader` in each subscriber.

use crate::harness::spec::{FLUSH_INTERVAL, Spec};
use crate::system::{Facts, Publisher, Subscriber};
use anyhow::Context;
use std::path::PathBuf;
use std::time::Duration;
use waldo_reader::{Cursor, OnLapped, Reader, ReaderOptions, Ring};
use waldo_writer::{ControlPlace, Durability, Writer, WriterOptions};

pub const FACTS: Facts = Facts {
    name: "Waldo",
    persists: "page cache at once (survives kill -9), disk every second",
    slow: "nobody waits; one that falls a whole ring behind is told what it missed",
    wakes: "futex",
};

/// Length of a record's header, and what its length is rounded up to.
const HEADER: u64 = 48;
const ALIGN: u64 = 8;

struct Ringer(Writer);

pub fn publisher(spec: &Spec) -> anyhow::Result<Box<dyn Publisher>> {
    // The peers keep everything in these runs (LMDB and Redis delete nothing, iceoryx2 and the sockets make
    // the publisher wait), so the ring is made to hold everything too: nobody loses, and nothing is recycled.
    let page_len = WriterOptions::default().page_len;
    let bytes = (spec.size as u64 + HEADER).next_multiple_of(ALIGN) * spec.records_at_most();
    let pages =
        u32::try_from(bytes.div_ceil(page_len) + 2).context("so many records need a ring too large")?;
    // Committed is what LMDB gives with MDB_NOSYNC, and more than the others. The control segment is in the
    // round's own folder, on the same file system as the default: to be sure that it is removed.
    let options = WriterOptions::default()
        .ring_size(pages.max(WriterOptions::default().ring_size))
        .durability(Durability::Interval(FLUSH_INTERVAL))
        .control(ControlPlace::Path(spec.shm.join("control")))
        .remove_control(true);
    Ok(Box::new(Ringer(Writer::open(home(spec), options)?)))
}

impl Publisher for Ringer {
    fn publish(&mut self, records: &[Vec<u8>]) -> anyhow::Result<()> {
        self.0.append_payloads(records)?;
        Ok(())
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(self.0.close()?)
    }
}

struct Follower(Reader);

pub fn subscriber(spec: &Spec) -> anyhow::Result<Box<dyn Subscriber>> {
    // All defaults (sleep on a futex after a short look, check every header), but for what happens when the
    // ring overtakes it: go on and have the loss counted.
    let options = ReaderOptions::default().on_lapped(OnLapped::Oldest);
    Ok(Box::new(Follower(Ring::attach(home(spec))?.reader_with(Cursor::After(0), options)?)))
}

impl Subscriber for Follower {
    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
        if let Some(batch) = self.0.recv(Some(Duration::from_secs(1)))? {
            batch.iter().for_each(|record| take(record.data()));
        }
        Ok(())
    }
}

fn home(spec: &Spec) -> PathBuf {
    spec.data.join("ring")
}
