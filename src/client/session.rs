//! The two threads of a producer: one connects and writes, one reads the answers. Where there is a lane,
//! whoever appends puts the frames in, and so does the reading thread when answers make room for more.
//!
//! ```text
//!   +--> connect --> write what waits, reader thread takes the answers --> end
//!   |                      |
//!   +--- back off <--- broken
//! ```

use super::backlog::{Backlog, Reply};
use super::backoff::Backoff;
use super::connection::{Frames, Opened, connect_error, open, refused};
use super::lane::Receiving;
use super::wire::{Ack, ErrorCode, ErrorFrame, Kind, WireFault, encode_empty};
use super::{ProducerError, ProducerOptions, Stored};
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Frames are written together up to about this many bytes.
const WRITE_BYTES: usize = 128 << 10;

/// What the program's threads share with the producer's own.
pub(super) struct Session {
    pub(super) path: PathBuf,
    pub(super) options: ProducerOptions,
    backlog: Mutex<Backlog>,
    /// Something can be sent, or everything is over.
    pub(super) work: Condvar,
    /// Something has been answered.
    pub(super) space: Condvar,
}

impl Session {
    pub(super) fn new(path: PathBuf, options: ProducerOptions, backlog: Backlog) -> Session {
        let backlog = Mutex::new(backlog);
        Session { path, options, backlog, work: Condvar::new(), space: Condvar::new() }
    }

    /// Nobody runs foreign code with the lock held, so a poisoned lock still guards whole data.
    pub(super) fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what may be sent: through the lane at once, over the socket by the writing thread. To wake
    /// somebody is a system call, whether or not anybody waits; so only those that wait are woken.
    pub(super) fn pass_on(&self, backlog: &mut Backlog) {
        backlog.fill_lane();
        let over = backlog.broken.is_some() || (backlog.closing && backlog.is_empty());
        let sends = !backlog.has_lane() && backlog.can_send();
        if backlog.is_idle && (over || sends) {
            backlog.is_idle = false;
            self.work.notify_one();
        }
    }

    /// Something has been answered: more may be sent, and those that wait for space are woken.
    fn go_on(&self) {
        let (wakers, blocked) = {
            let mut backlog = self.lock();
            self.pass_on(&mut backlog);
            (backlog.waiters.take(), backlog.blocked)
        };
        if blocked > 0 {
            self.space.notify_all();
        }
        wakers.into_iter().for_each(|waker| wake_client(|| waker.wake()));
    }

    /// The program gives up what waits.
    pub(super) fn abandon(&self) {
        self.end(ProducerError::Closed);
        self.work.notify_all();
    }

    /// Everything that waits fails, and everything that comes.
    fn end(&self, error: ProducerError) {
        let replies = self.lock().end(error.clone());
        self.go_on();
        for reply in replies {
            tell(reply, Err(error.clone()));
        }
    }

    fn broke(&self, error: ProducerError) {
        self.lock().broken.get_or_insert(error);
        self.work.notify_all();
    }

    /// Waits for `time`, or until nobody wants the connection any more.
    fn back_off(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut backlog = self.lock();
        while backlog.ended.is_none() && !(backlog.closing && backlog.is_empty()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            backlog = self.work.wait_timeout(backlog, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Runs `wake`, which wakes a task or thread of the program. A waker is the program's code and may panic: the
/// panic hook has reported that by then, and this thread must go on for all other tickets.
fn wake_client(wake: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(wake)) {
        // The payload is the program's too, and its destructor might panic again.
        std::mem::forget(panic);
    }
}

/// Answers a ticket. Nobody listens if it was dropped.
fn tell(reply: Reply, outcome: Result<Stored, ProducerError>) {
    wake_client(|| {
        let _ = reply.send(outcome);
    });
}

/// The writing thread's whole life, from the first connection on.
pub(super) fn run(shared: &Arc<Session>, mut opened: Opened) {
    let end = loop {
        match converse(shared, opened) {
            Ok(()) => break ProducerError::Closed,
            Err(error) if error.is_passing() => {}
            Err(error) => break error,
        }
        match reconnect(shared) {
            Ok(again) => opened = again,
            Err(error) => break error,
        }
    };
    shared.end(end);
}

fn reconnect(shared: &Session) -> Result<Opened, ProducerError> {
    let begin = Instant::now();
    let mut backoff = Backoff::new(&shared.options);
    loop {
        shared.back_off(backoff.next());
        {
            let backlog = shared.lock();
            if let Some(error) = &backlog.ended {
                return Err(error.clone());
            }
            if backlog.closing && backlog.is_empty() {
                return Err(ProducerError::Closed);
            }
        }
        let left = shared.options.reconnect_for.map(|limit| limit.saturating_sub(begin.elapsed()));
        match open(&shared.path, &shared.options, left) {
            Ok(opened) => {
                let mut backlog = shared.lock();
                if opened.welcome.ring_id != backlog.welcome().ring_id {
                    return Err(ProducerError::RingChanged { path: shared.path.clone() });
                }
                backlog.reconnected(opened.welcome)?;
                return Ok(opened);
            }
            Err(error) if !error.is_passing() => return Err(error),
            Err(error) => {
                let after = begin.elapsed();
                if shared.options.reconnect_for.is_some_and(|limit| after >= limit) {
                    return Err(ProducerError::GaveUp { after, last: Box::new(error) });
                }
            }
        }
    }
}

/// One connection: writes until it breaks, or everything is answered and the producer closed.
fn converse(shared: &Arc<Session>, opened: Opened) -> Result<(), ProducerError> {
    let Opened { stream, frames, lane, .. } = opened;
    shared.lock().set_lane(lane);
    let outcome = thread::scope(|scope| {
        let reader = thread::Builder::new()
            .name("waldo-acks".into())
            .spawn_scoped(scope, || {
                let outcome = listen(shared, frames);
                // A write that waits for the service to read ends, too.
                let _ = stream.shutdown(Shutdown::Both);
                outcome
            })
            .map_err(|error| connect_error(&shared.path, error))?;
        let written = write(shared, &stream);
        if written.is_err() {
            // What the service said before it closed the connection is still to be read: why it did.
            let _ = stream.shutdown(Shutdown::Write);
            let stopped = shared.lock().ended.is_some();
            if stopped {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        let heard = reader.join().unwrap_or(Err(ProducerError::Closed));
        match (written, heard) {
            // What the service has to say counts for more than how its socket broke.
            (_, Err(error)) if !matches!(error, ProducerError::Connect { .. }) => Err(error),
            (Err(error), _) => Err(error),
            (Ok(()), heard) => {
                let done = shared.lock().is_empty();
                if done { Ok(()) } else { heard.and(Err(unexpected_end(&shared.path))) }
            }
        }
    });
    shared.lock().set_lane(None);
    outcome
}

fn unexpected_end(path: &Path) -> ProducerError {
    connect_error(path, io::ErrorKind::UnexpectedEof.into())
}

/// Writes what may be sent. Returns after GOODBYE.
fn write(shared: &Session, mut stream: &UnixStream) -> Result<(), ProducerError> {
    let mut out = Vec::with_capacity(WRITE_BYTES);
    loop {
        out.clear();
        let mut goodbye = false;
        {
            let mut backlog = shared.lock();
            loop {
                backlog.fill_lane();
                if let Some(error) = &backlog.ended {
                    return Err(error.clone());
                }
                if let Some(error) = &backlog.broken {
                    return Err(error.clone());
                }
                if !backlog.has_lane() && backlog.can_send() {
                    backlog.take(&mut out, WRITE_BYTES);
                    break;
                }
                if backlog.closing && backlog.is_empty() {
                    goodbye = true;
                    break;
                }
                backlog.is_idle = true;
                backlog = shared.work.wait(backlog).unwrap_or_else(PoisonError::into_inner);
                backlog.is_idle = false;
            }
        }
        if goodbye {
            encode_empty(&mut out, Kind::Goodbye, shared.options.checksums);
        }
        stream.write_all(&out).map_err(|error| connect_error(&shared.path, error))?;
        if goodbye {
            return Ok(());
        }
    }
}

/// Takes the answers until the connection ends.
fn listen(shared: &Session, mut frames: Frames<Receiving>) -> Result<(), ProducerError> {
    let outcome = loop {
        match frames.next() {
            Ok(Some((kind, body))) => match answer(shared, kind, body) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            },
            Ok(None) => break Err(unexpected_end(&shared.path)),
            Err(error) => break Err(error),
        }
        // Answers come many at a time.
        if !frames.has_next() {
            shared.go_on();
        }
    };
    shared.go_on();
    if let Err(error) = &outcome {
        shared.broke(error.clone());
    } else {
        shared.broke(unexpected_end(&shared.path));
    }
    outcome
}

/// Handles one frame; `false` if the service will send no more.
fn answer(shared: &Session, kind: Kind, body: &[u8]) -> Result<bool, ProducerError> {
    match kind {
        Kind::Ack => {
            let ack = Ack::check(body)?;
            let reply = shared.lock().acked(&ack);
            if let Some(reply) = reply {
                let Ack { first_seq_no, last_seq_no, last_number, duplicates, .. } = ack;
                let durable = ack.flags & super::wire::ACK_DURABLE != 0;
                tell(reply, Ok(Stored { first_seq_no, last_seq_no, last_number, duplicates, durable }));
            }
        }
        Kind::Error => {
            let error = ErrorFrame::check(body)?;
            if error.fatal || error.code != ErrorCode::Conflict {
                return Err(refused(error));
            }
            let answered = shared.lock().conflicted(error.batch, error.detail);
            if let Some((reply, error)) = answered {
                tell(reply, Err(error));
            }
        }
        Kind::Goodbye => return Ok(false),
        // There is room in the lane. The lane is filled after every group of answers, so there is nothing to
        // do here.
        Kind::Bell => {}
        kind => return Err(WireFault::Kind(kind as u8).into()),
    }
    Ok(true)
}
