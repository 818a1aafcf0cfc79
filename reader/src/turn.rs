//! How long a task may go on before it lets the other tasks of its thread run.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Longest time that a task goes on with records that are ready.
const TURN: Duration = Duration::from_micros(100);

/// The turn of one task on its executor.
///
/// A future that is always ready never returns to its executor, and no other task of that thread runs, no timer either:
/// with two loops over ready records on one thread, the second loop never began. So a loop that may find everything ready
/// asks before each step. Once the task has gone on for 100 us the answer is to wait once: the task is woken at once, and
/// comes after all others that are ready. That works with every executor.
///
/// The time is looked at and not the number of steps, because one step may hand out one record or 256 KiB of them, and the
/// program may do anything with them. To ask costs one look at the clock, about 25 ns (a query that finds a record costs
/// about 500 ns). To go to the back of the queue takes 60 ns (pollster) to 200 ns (tokio), so it costs less than 1% when it
/// happens every 100 us, and up to 40% if it happened in each query.
///
/// Streams ([`Batches`](crate::Batches)) ask by themselves. Programs that call [`Reader::poll`](crate::Reader::poll) in an
/// asynchronous loop of their own should do it too:
///
/// ```no_run
/// # async fn follow(mut reader: waldo_reader::Reader) -> Result<(), waldo_reader::ReadError> {
/// let mut turn = waldo_reader::Turn::default();
/// while let Some(batch) = reader.poll()? {
///     turn.take().await;
///     println!("{} records", batch.len());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Turn {
    /// When it began; `None` before the first step.
    since: Option<Instant>,
}

impl Turn {
    /// To be called before each step. Ready at once while the turn lasts; when it is over, pending once, after which
    /// the next turn begins.
    #[inline]
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        match self.since {
            Some(since) if now.saturating_duration_since(since) >= TURN => {
                self.since = None;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(_) => Poll::Ready(()),
            None => {
                self.since = Some(now);
                Poll::Ready(())
            }
        }
    }

    /// The same as a future.
    pub async fn take(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    /// To be called when the task is about to wait for something else, which ends its turn as well.
    pub(crate) fn end(&mut self) {
        self.since = None;
    }
}
