//! From an append of the embedded API to a query of the same process that waits for it.

use super::streams::Bell;
use crate::result_table::{Goal, Unit};
use crate::ring::{self, COMMITTED};
use crate::session::Session;
use anyhow::Context as _;
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use waldo::{Cursor, Log, Waldo};

const PAYLOAD: [u8; 100] = [0x5a; 100];
/// Between two appends, so that whoever waits is asleep.
const PAUSE: Duration = Duration::from_millis(1);
/// Longest that a record may take.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// One row.
pub fn run(session: &mut Session) -> anyhow::Result<()> {
    session.sheet.topic(
        "waiting",
        "from before Waldo::append until a task of the same process, which waits in Waldo::query, has the record; floor: a \
         task that waits for a number, woken by who has changed that",
    );
    let area = session.scratch.area()?;
    let options = ring::options(&session.plan, &area, COMMITTED);
    let waldo = pollster::block_on(Waldo::open_with(area.home(), options))?;
    let runtime = Builder::new_multi_thread().build()?;
    let seen = Arc::new(AtomicU64::new(0));
    runtime.spawn(follow(waldo.clone(), Arc::clone(&seen)));
    let (bell, heard) = (Arc::new(Bell::new(1)), Arc::new(AtomicU64::new(0)));
    runtime.spawn({
        let (bell, heard) = (Arc::clone(&bell), Arc::clone(&heard));
        async move {
            let mut last = 0;
            loop {
                last = bell.after(0, last).await;
                heard.store(last, Ordering::Release);
            }
        }
    });
    let (mut newest, mut number) = (0, 0);
    let mut ours = || {
        thread::sleep(PAUSE);
        newest += 1;
        let log = Log::new_borrowed(newest, newest - 1, &PAYLOAD);
        let start = Instant::now();
        pollster::block_on(waldo.append(&[log]))?;
        until(&seen, newest)?;
        Ok(start.elapsed().as_nanos() as f64)
    };
    let mut bare = || {
        thread::sleep(PAUSE);
        number += 1;
        let start = Instant::now();
        bell.ring();
        until(&heard, number)?;
        Ok(start.elapsed().as_nanos() as f64)
    };
    let name = "Waldo::append to a waiting Waldo::query, 100 B";
    let duel = session.compare(name, &mut ours, &mut bare);
    runtime.shutdown_timeout(LOST_AFTER);
    let duel = duel?;
    pollster::block_on(waldo.close());
    session.sheet.duel(name, Unit::Ns, &duel, Goal::None);
    Ok(())
}

async fn follow(mut waldo: Waldo, seen: Arc<AtomicU64>) {
    let mut last = 0;
    while let Ok(found) = waldo.query(Cursor::After(last), true).await {
        last = found.into_iter().last().map_or(last, |log| log.seq_no());
        seen.store(last, Ordering::Release);
    }
}

fn until(seen: &AtomicU64, number: u64) -> anyhow::Result<()> {
    let start = Instant::now();
    while seen.load(Ordering::Acquire) < number {
        (start.elapsed() < LOST_AFTER).then_some(()).context("a record has not reached the query")?;
        spin_loop();
    }
    Ok(())
}
