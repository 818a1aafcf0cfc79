//! How long a task may run before it lets the other tasks of its thread run.

use std::future::poll_fn;
use std::task::{Context, Poll};

/// Steps of one turn.
const STEPS: u32 = 8;

/// The turn of one task on its executor.
///
/// A future that is always ready never returns to its executor, so no other task of that thread runs, and no
/// timer either: with two loops over ready records on one thread, the second loop never began. So a loop that
/// may find everything ready takes a turn before each step. After 8 steps the turn is pending once: the task
/// is woken at once, and runs after all other ready tasks. That works with every executor.
///
/// The cost, on a busy virtual machine with two processors (`what_a_turn_costs` in `tests/fairness.rs`):
/// going to the back of the queue takes 70 ns (pollster) to 130 ns (tokio), and a query that finds a record
/// takes 1,100 ns. That is about 10% if every query yields, and about 1% if every eighth does. Measuring time
/// instead would cost a look at the clock in each step, which takes 80 to 115 ns there, as much as yielding
/// each time.
///
/// Streams ([`Batches`](crate::Batches)) take turns by themselves. Programs that call
/// [`Reader::poll`](crate::Reader::poll) in an asynchronous loop of their own should do so too:
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
    /// Steps taken.
    steps: u32,
}

impl Turn {
    /// A turn that is over: the first step lets other tasks run.
    pub fn ended() -> Turn {
        Turn { steps: STEPS }
    }

    /// Must be called before each step. Ready at once while the turn lasts; when the turn is over, pending
    /// once, after which the next turn begins.
    #[inline]
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.steps >= STEPS {
            self.steps = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.steps += 1;
        Poll::Ready(())
    }

    /// The same as a future.
    pub async fn take(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }
}
