//! LMDB through `heed`: one process that writes, subscribers that look at the number of the last transaction
//! and, when it has changed, read what is new in a read transaction.

use crate::harness::spec::{FLUSH_INTERVAL, Spec};
use crate::system::{Facts, Publisher, Subscriber};
use anyhow::Context;
use heed::byteorder::BigEndian;
use heed::types::{Bytes, U64};
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, PutFlags};
use std::ops::Bound;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const FACTS: Facts = Facts {
    name: "LMDB",
    persists: "page cache at once (survives kill -9), disk every second",
    slow: "nobody waits; the file grows, and pages that an old read transaction may see are not used again",
    wakes: "no way to: looks every --lmdb-poll",
};

type Table = Database<'static, U64<BigEndian>, Bytes>;

/// Opens the environment. What is set, and why:
/// - The map must be as large as the database will ever get, and costs address space only. Four times the
///   payload leaves room for half-full pages and for the copies that each commit makes.
/// - `max_readers` is 126 if it is left alone; each reader process needs a slot.
/// - MDB_NOSYNC: commits go to the page cache and a thread flushes every second, the counterpart of Waldo's
///   `Durability::Interval`. LMDB warns that a power loss may then corrupt the database; Waldo recovers from
///   one.
/// - MDB_WRITEMAP for the writer, so that commits store into the map instead of calling pwrite for each page:
///   LMDB's faster mode. MDB_NOMEMINIT then has no effect, and readers may not use it.
/// - No MDB_NOTLS: each reader has one thread, and its slot is then used again from one transaction to the
///   next.
fn open(spec: &Spec, reader: bool) -> anyhow::Result<Env> {
    let page = 4096;
    let payload = (spec.size as u64 + 64) * spec.records_at_most();
    let map_size = usize::try_from((payload * 4 + (256 << 20)).next_multiple_of(page))?;
    let mut options = EnvOpenOptions::new();
    options.map_size(map_size).max_readers(u32::try_from(spec.subscribers)? + 16);
    let flags = if reader { EnvFlags::READ_ONLY } else { EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP };
    let home = spec.data.join("lmdb");
    if !reader {
        std::fs::create_dir(&home).context("cannot make the folder for LMDB")?;
    }
    #[allow(unsafe_code, reason = "heed leaves these two promises to its caller")]
    // SAFETY: MDB_NOSYNC and MDB_WRITEMAP put the file's integrity at risk in a power loss only, and it is
    // deleted when the round is over.
    unsafe {
        options.flags(flags);
    }
    #[allow(unsafe_code, reason = "heed leaves these two promises to its caller")]
    // SAFETY: the file is in a folder that this round has just made, nobody but its processes uses it, all of
    // them through LMDB, and each opens it once.
    let env = unsafe { options.open(&home) };
    env.context("cannot open the LMDB environment")
}

struct Store {
    env: Env,
    table: Table,
    next: u64,
    /// Dropping the sender ends the flusher.
    flusher: Option<(Sender<()>, JoinHandle<()>)>,
}

pub fn publisher(spec: &Spec) -> anyhow::Result<Box<dyn Publisher>> {
    let env = open(spec, false)?;
    let table = env
        .create_databases_and_commit(env.write_txn()?, |opener, write| {
            opener.create_database(write, None).map(CommitOrAbort::<_, ()>::Commit)
        })?
        .unwrap_commit();
    let (stop, stopped) = channel::<()>();
    let flushed = env.clone();
    let thread = std::thread::spawn(move || {
        while stopped.recv_timeout(FLUSH_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            if let Err(error) = flushed.force_sync() {
                eprintln!("waldo-compare: LMDB cannot flush: {error}");
            }
        }
    });
    Ok(Box::new(Store { env, table, next: 1, flusher: Some((stop, thread)) }))
}

impl Publisher for Store {
    fn publish(&mut self, records: &[Vec<u8>]) -> anyhow::Result<()> {
        let mut write = self.env.write_txn()?;
        for record in records {
            // MDB_APPEND: the keys come in order, which spares LMDB the search and fills pages to the brim.
            self.table.put_with_flags(&mut write, PutFlags::APPEND, &self.next, record)?;
            self.next += 1;
        }
        Ok(write.commit()?)
    }

    fn close(mut self: Box<Self>) -> anyhow::Result<()> {
        if let Some((stop, thread)) = self.flusher.take() {
            drop(stop);
            // It does not panic.
            let _ = thread.join();
        }
        Ok(self.env.force_sync()?)
    }
}

struct Poller {
    env: Env,
    table: Table,
    poll: Duration,
    seen_txn: usize,
    last: u64,
}

pub fn subscriber(spec: &Spec) -> anyhow::Result<Box<dyn Subscriber>> {
    let env = open(spec, true)?;
    let table = env
        .open_databases_and_commit(env.read_txn()?, |opener, read| {
            opener.open_database(read, None).map(CommitOrAbort::<_, ()>::Commit)
        })?
        .unwrap_commit()
        .context("the writer has made no table")?;
    Ok(Box::new(Poller { env, table, poll: spec.lmdb_poll, seen_txn: 0, last: 0 }))
}

impl Subscriber for Poller {
    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(1);
        loop {
            // Cheaper than a transaction: it looks at the two meta pages.
            let txn = self.env.info().last_txn_id;
            if txn != self.seen_txn {
                self.seen_txn = txn;
                break;
            }
            if Instant::now() >= end {
                return Ok(());
            }
            std::thread::sleep(self.poll);
        }
        let read = self.env.read_txn()?;
        let range = (Bound::Excluded(self.last), Bound::Unbounded);
        for entry in self.table.range(&read, &range)? {
            let (number, record) = entry?;
            take(record);
            self.last = number;
        }
        Ok(())
    }
}
