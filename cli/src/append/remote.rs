//! `waldo append --socket`: to the service that has the ring.

use super::feed::Feed;
use super::sink::{Sink, Stored, payload_bytes};
use crate::attach::{Patience, parse_patience};
use crate::input::Source;
use crate::writer_args::WriterArgs;
use anyhow::Context as _;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use waldo::client::wire::{AppendFields, BATCH_RECORDS_MAX};
use waldo::client::{Producer, ProducerOptions, Ticket};
use waldo_terminal::failure::{Ended, Outcome, Usage};
use waldo_terminal::interrupt::{Interrupt, Ready};
use waldo_terminal::{notice, units};

/// Batches on their way, at most. The client's own limit of bytes counts too.
const TICKETS_MAX: usize = 256;

/// How long the answers to what has been sent are waited for after a signal.
const GRACE: Duration = Duration::from_secs(5);

/// What is up to whoever has the ring.
const RING_FLAGS: [&str; 8] =
    ["home", "no_sync", "sync_interval", "ring_size", "page_size", "resize", "control", "scheduling"];

/// To whom, and as whom.
#[derive(clap::Args, Debug)]
pub struct RemoteArgs {
    /// Append through the service that listens on this socket (waldo-service), beside other programs that do
    /// the same, instead of writing the ring oneself.
    #[arg(long, value_name = "PATH", conflicts_with_all = RING_FLAGS)]
    socket: Option<PathBuf>,
    /// The name under which the service knows this input. With a name each record is stored once, also when
    /// the service is killed in between; without, a batch whose answer was lost is there twice.
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
    /// The input is the same from its beginning as it was before under this name: go on behind the last
    /// record that is stored.
    #[arg(long)]
    resume: bool,
    /// Have records acknowledged when they survive power loss, in a ring that does not do so anyway.
    #[arg(long)]
    durable: bool,
    /// How long to try to reach a service that is not there, at the start and later: 5 s if this is not
    /// given, and for ever with `forever`.
    #[arg(long, value_name = "TIME", value_parser = parse_patience)]
    wait: Option<Patience>,
}

impl RemoteArgs {
    /// The socket, if the records go to a service.
    ///
    /// # Errors
    /// Flags that make no sense without it.
    pub fn socket(&self) -> Result<Option<&PathBuf>, Usage> {
        let others = self.producer.is_some() || self.resume || self.durable || self.wait.is_some();
        if self.socket.is_none() && others {
            return Err(Usage("--producer, --resume, --durable and --wait go with --socket".to_owned()));
        }
        if self.resume && self.producer.is_none() {
            return Err(Usage(
                "--resume needs --producer: by its name the service knows the input".to_owned(),
            ));
        }
        Ok(self.socket.as_ref())
    }

    fn options(&self) -> ProducerOptions {
        let patience = match self.wait {
            None => Some(Duration::from_secs(5)),
            Some(Patience::For(time)) => Some(time),
            Some(Patience::Forever) => None,
        };
        let options = ProducerOptions::default()
            .durable(self.durable)
            .connect_timeout(patience.unwrap_or(Duration::MAX))
            .reconnect_for(patience);
        match &self.producer {
            Some(name) => options.name(name),
            None => options,
        }
    }
}

/// Runs the command.
pub fn run(remote: &RemoteArgs, args: &WriterArgs, socket: &PathBuf) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    let bell = Bell::new()?;
    let connecting = Producer::connect_async(socket, remote.options());
    let producer = match bell.block_on(connecting, Until::Signal(&interrupt))? {
        Some(connected) => connected?,
        None => return Ok(Outcome::Interrupted(interrupt.signal().unwrap_or_default())),
    };
    let limit = producer.welcome().record_len_max as usize;
    let skip = if remote.resume { producer.last_stored() } else { 0 };
    if skip > 0 && !args.quiet {
        notice!("waldo: the first {} records are stored already", units::count(skip));
    }
    let mut feed = Feed::new(args, limit).skip(skip);
    let mut sink = ServiceSink {
        producer: Arc::new(producer),
        bell,
        interrupt: &interrupt,
        waiting: VecDeque::new(),
        stored: Stored::default(),
        deadline: None,
    };
    let pumped = Source::stdin().and_then(|stdin| feed.pump(&mut sink, stdin, &interrupt));
    let finished = sink.finish();
    feed.summary(&sink.stored);
    let outcome = pumped?;
    finished?;
    Ok(feed.judge(outcome))
}

/// A batch that has been sent.
struct Sent {
    ticket: Ticket,
    records: u64,
    bytes: u64,
}

/// The service of a ring.
struct ServiceSink<'a> {
    producer: Arc<Producer>,
    bell: Bell,
    interrupt: &'a Interrupt,
    /// What is not acknowledged, in order.
    waiting: VecDeque<Sent>,
    stored: Stored,
    /// Of the answers, once a signal has come.
    deadline: Option<Instant>,
}

impl Sink for ServiceSink<'_> {
    fn append(&mut self, payloads: &[&[u8]]) -> anyhow::Result<()> {
        let frame_max = self.producer.welcome().frame_len_max as usize - size_of::<AppendFields>();
        let mut rest = payloads;
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at(batch_len(rest, frame_max));
            rest = behind;
            while self.waiting.len() >= TICKETS_MAX {
                self.take_one()?;
            }
            let producer = Arc::clone(&self.producer);
            let ticket = self.block_on(pin!(producer.append_async(batch)))??;
            let (records, bytes) = (batch.len() as u64, payload_bytes(batch));
            self.waiting.push_back(Sent { ticket, records, bytes });
        }
        Ok(())
    }
}

/// How many of these records fit a frame, at least one.
fn batch_len(payloads: &[&[u8]], frame_max: usize) -> usize {
    let mut room = frame_max;
    let fits = |payload: &&&[u8]| {
        let len = payload.len() + size_of::<u32>();
        let fits = len <= room;
        room = room.saturating_sub(len);
        fits
    };
    payloads.iter().take(BATCH_RECORDS_MAX).take_while(fits).count().max(1)
}

impl ServiceSink<'_> {
    /// Waits until a signal comes, and after it for a grace more; what comes later is an error.
    fn block_on<F: Future + Unpin>(&mut self, mut future: F) -> anyhow::Result<F::Output> {
        if self.deadline.is_none() {
            if let Some(output) = self.bell.block_on(&mut future, Until::Signal(self.interrupt))? {
                return Ok(output);
            }
            self.deadline = Some(Instant::now() + GRACE);
        }
        let until = Until::Time(self.deadline.unwrap_or_else(Instant::now));
        self.bell.block_on(future, until)?.ok_or_else(|| self.ended())
    }

    fn ended(&self) -> anyhow::Error {
        Ended(self.interrupt.signal().unwrap_or_default()).into()
    }

    /// Takes the answer to the oldest batch.
    fn take_one(&mut self) -> anyhow::Result<()> {
        let Some(Sent { mut ticket, records, bytes }) = self.waiting.pop_front() else { return Ok(()) };
        let answer = match self.block_on(&mut ticket) {
            Ok(answer) => answer,
            Err(ended) => {
                self.waiting.push_front(Sent { ticket, records, bytes });
                return Err(ended);
            }
        };
        let stored = answer?;
        self.stored.add(records, bytes, stored.first_seq_no, stored.last_seq_no);
        Ok(())
    }

    /// Waits for all answers.
    fn finish(&mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while !self.waiting.is_empty() && outcome.is_ok() {
            outcome = self.take_one();
        }
        let open: u64 = self.waiting.iter().map(|sent| sent.records).sum();
        if open > 0 {
            notice!(
                "waldo: {} records were sent and not acknowledged: they may be stored or not",
                units::count(open)
            );
        }
        match outcome {
            // Whoever has the signal's exit code knows that something is missing.
            Err(error) if error.is::<Ended>() => Ok(()),
            Err(error) => Err(error.context("the service did not store everything")),
            Ok(()) => self.producer.close().context("cannot take leave of the service"),
        }
    }
}

/// How long something is waited for.
#[derive(Clone, Copy)]
enum Until<'a> {
    Signal(&'a Interrupt),
    Time(Instant),
}

/// Wakes this thread when a future can go on: by a descriptor, so that a signal is heard at the same time.
struct Bell {
    ear: UnixStream,
    waker: Waker,
}

struct Button(UnixStream);

impl Wake for Button {
    fn wake(self: Arc<Button>) {
        // A full socket wakes as well.
        let _ = (&self.0).write(&[1]);
    }
}

impl Bell {
    fn new() -> anyhow::Result<Bell> {
        let (ear, button) = UnixStream::pair().context("cannot make a socket pair")?;
        ear.set_nonblocking(true)?;
        button.set_nonblocking(true)?;
        Ok(Bell { ear, waker: Waker::from(Arc::new(Button(button))) })
    }

    /// Waits for `future`; `None` if that took too long.
    fn block_on<F: Future>(&self, future: F, until: Until<'_>) -> anyhow::Result<Option<F::Output>> {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                return Ok(Some(output));
            }
            match until {
                Until::Signal(interrupt) => {
                    if let Ready::Signal(_) = interrupt.wait_readable(Some(self.ear.as_fd()), None)? {
                        return Ok(None);
                    }
                }
                Until::Time(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    let mut fds = [PollFd::new(self.ear.as_fd(), PollFlags::POLLIN)];
                    let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                    match poll(&mut fds, left) {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(errno) => {
                            return Err(anyhow::Error::new(errno).context("cannot wait for the service"));
                        }
                    }
                }
            }
            while (&self.ear).read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_fits_a_frame_in_bytes_and_in_records() {
        let empty: &[u8] = b"";
        assert_eq!(batch_len(&vec![empty; 70_000], 2 << 20), BATCH_RECORDS_MAX);
        let record: &[u8] = &[0; 96];
        assert_eq!(batch_len(&[record; 20], 1000), 10);
        // The service says what is wrong with it.
        assert_eq!(batch_len(&[record; 2], 50), 1);
    }
}
