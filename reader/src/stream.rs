//! A reader as an asynchronous stream.

use crate::batch::Batch;
use crate::error::ReadError;
use crate::reader::Reader;
use crate::status::WriterStatus;
use crate::turn::Turn;
use crate::waiter::Ticket;
use futures_core::{FusedStream, Stream};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The batches of a reader as they come, on any runtime. All streams of a process that belong to one
/// [`Ring`](crate::Ring) share one sleeping thread, so ten thousand streams are fine.
///
/// The stream continues through restarts of the writer; it ends after the first error.
/// [`Batches::into_reader`] gives back the reader, which can then be moved with [`Reader::seek`].
///
/// A stream that always has records ready lets other tasks run after every eight batches; see [`Turn`].
///
/// A child process that has inherited the stream by a `fork` may continue to use it; the child gets a waiting
/// thread of its own. As in every program with several threads, a mutex that another thread held at the
/// moment of the fork stays locked in the child: a long-lived child should attach to the ring again.
#[derive(Debug)]
pub struct Batches {
    reader: Reader,
    ticket: Ticket,
    turn: Turn,
    failed: bool,
}

impl Reader {
    /// The same as an asynchronous stream, for any runtime.
    pub fn into_stream(self) -> Batches {
        Batches::new(self)
    }
}

impl Batches {
    pub(crate) fn new(mut reader: Reader) -> Batches {
        reader.window.forget_recent();
        // Streams share their mappings.
        reader.window.tail_mut().awake();
        let ticket = Ticket::new(reader.ring.clone(), reader.options.visibility);
        Batches { reader, ticket, turn: Turn::default(), failed: false }
    }

    /// The reader, at its present place.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The reader back.
    pub fn into_reader(self) -> Reader {
        self.reader
    }

    /// The writer's state now, which a stream does not report.
    ///
    /// # Errors
    /// [`ReadError::Control`] if the control segment is not valid.
    pub fn writer(&self) -> Result<WriterStatus, ReadError> {
        let ring = &self.reader.ring;
        ring.attend(&ring.current())?.writer(&ring.options)
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Result<Option<Batch>, ReadError> {
        if let Some(batch) = self.reader.poll()? {
            return Ok(Some(batch));
        }
        self.ticket.register(cx.waker())?;
        // Look again: a record that came between the first look and the registration would not wake the
        // stream.
        let batch = self.reader.poll()?;
        if batch.is_none() {
            self.reader.let_go_behind();
        }
        Ok(batch)
    }
}

impl Stream for Batches {
    type Item = Result<Batch, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.failed {
            return Poll::Ready(None);
        }
        if self.turn.poll(cx).is_pending() {
            return Poll::Pending;
        }
        match self.next(cx) {
            Ok(Some(batch)) => Poll::Ready(Some(Ok(batch))),
            Ok(None) => {
                self.turn = Turn::default();
                Poll::Pending
            }
            Err(error) => {
                self.failed = true;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

impl FusedStream for Batches {
    fn is_terminated(&self) -> bool {
        self.failed
    }
}
