//! `waldo append --socket`: appending through the service that owns the ring.

use super::bell::{Bell, Until};
use super::feed::Feed;
use super::sink::{Sink, Stored, payload_bytes};
use crate::attach::{Patience, parse_patience};
use crate::input::Source;
use crate::writer_args::WriterArgs;
use anyhow::Context;
use std::collections::VecDeque;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};
use waldo::client::wire::{AppendFields, BATCH_RECORDS_MAX};
use waldo::client::{self, Producer, ProducerError, ProducerOptions, Ticket};
use waldo_terminal::failure::{Ended, Outcome, Usage};
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::{notice, units};

/// Batches on their way, at most. The client's own limit of bytes counts too.
const TICKETS_MAX: usize = 256;

/// How long the answers to what has been sent are waited for after a signal.
const GRACE: Duration = Duration::from_secs(5);

/// Flags that only the ring's writer can apply.
const RING_FLAGS: [&str; 15] = [
    "home",
    "no_sync",
    "sync_interval",
    "ring_size",
    "size",
    "keep",
    "rate",
    "page_size",
    "on_full",
    "keep_for",
    "resize",
    "control",
    "mode",
    "group",
    "scheduling",
];

/// To whom, and as whom.
#[derive(clap::Args, Debug)]
pub struct RemoteArgs {
    /// Append through the service that listens on this socket (waldo-service), together with other programs,
    /// instead of writing to the ring directly.
    #[arg(long, value_name = "PATH", conflicts_with_all = RING_FLAGS)]
    socket: Option<PathBuf>,
    /// The name under which the service knows this input. With a name each record is stored once, even if the
    /// service is killed in between; without a name, a batch whose answer was lost is stored twice.
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
    /// The input is the same, from its beginning, as in an earlier run under this name: continue after the
    /// last record that is stored.
    #[arg(long)]
    resume: bool,
    /// Wait until records survive power loss, even if the ring does not make every append durable.
    #[arg(long)]
    durable: bool,
    /// Send over the socket alone, and not through memory that is shared with the service.
    #[arg(long)]
    no_lane: bool,
    /// How long to try to reach a service that is not there or does not answer, at the start and later;
    /// `forever` for no limit. An attempt that has begun gets a second. Default: 5 s, and 30 s more for the
    /// answer of a service that has taken the connection.
    #[arg(long, value_name = "TIME", value_parser = parse_patience)]
    wait: Option<Patience>,
}

impl RemoteArgs {
    /// The socket, if the records go to a service.
    ///
    /// # Errors
    /// Flags that make no sense without it.
    pub fn socket(&self) -> Result<Option<&PathBuf>, Usage> {
        let others =
            self.producer.is_some() || self.resume || self.durable || self.no_lane || self.wait.is_some();
        if self.socket.is_none() && others {
            return Err(Usage(
                "--producer, --resume, --durable, --no-lane and --wait go with --socket".to_owned(),
            ));
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
            .lane(!self.no_lane)
            .connect_timeout(patience.unwrap_or(Duration::MAX))
            .reconnect_for(patience)
            .welcome_in_time(self.wait.is_some());
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
        next: 1,
        refused: None,
        unanswered: 0,
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
    /// Number of its first record in the input.
    number: u64,
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
    /// Number in the input of the next record to be sent.
    next: u64,
    /// The same of the first one whose answer was an error.
    refused: Option<u64>,
    /// Records whose answer was an error.
    unanswered: u64,
    stored: Stored,
    /// Of the answers, once a signal has come.
    deadline: Option<Instant>,
}

impl Sink for ServiceSink<'_> {
    fn append(&mut self, number: u64, payloads: &[&[u8]]) -> anyhow::Result<()> {
        self.next = number;
        self.send(payloads).map_err(|error| self.explain(error))
    }

    fn check(&mut self) -> anyhow::Result<()> {
        let checked = self.take_ready().and_then(|()| Ok(self.producer.check_usable()?));
        checked.map_err(|error| self.explain(error))
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
    fn send(&mut self, payloads: &[&[u8]]) -> anyhow::Result<()> {
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
            self.waiting.push_back(Sent { ticket, number: self.next, records, bytes });
            self.next += records;
        }
        Ok(())
    }

    /// An error, with what it means for the input: the answers come in its order, and much later than
    /// records are sent.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let first = self.refused.or(self.waiting.front().map(|sent| sent.number)).unwrap_or(self.next);
        error.context(format!("the service has not acknowledged the input from record {first} on"))
    }

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
        let Some(mut sent) = self.waiting.pop_front() else { return Ok(()) };
        let answer = match self.block_on(&mut sent.ticket) {
            Ok(answer) => answer,
            Err(ended) => {
                self.waiting.push_front(sent);
                return Err(ended);
            }
        };
        self.count(sent, answer)
    }

    /// Takes the answers that have come.
    fn take_ready(&mut self) -> anyhow::Result<()> {
        let mut context = TaskContext::from_waker(Waker::noop());
        while let Some(sent) = self.waiting.front_mut()
            && let Poll::Ready(answer) = pin!(&mut sent.ticket).poll(&mut context)
            && let Some(sent) = self.waiting.pop_front()
        {
            self.count(sent, answer)?;
        }
        Ok(())
    }

    fn count(&mut self, sent: Sent, answer: Result<client::Stored, ProducerError>) -> anyhow::Result<()> {
        let Sent { number, records, bytes, .. } = sent;
        if answer.is_err() {
            self.refused.get_or_insert(number);
            self.unanswered += records;
        }
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
        let open = self.unanswered + self.waiting.iter().map(|sent| sent.records).sum::<u64>();
        if open > 0 {
            notice!(
                "waldo: {} records were sent and not acknowledged: they may be stored or not",
                units::count(open)
            );
        }
        match outcome {
            // Whoever has the signal's exit code knows that something is missing.
            Err(error) if error.is::<Ended>() => Ok(()),
            Err(error) => Err(self.explain(error)),
            Ok(()) => self.producer.close().context("cannot take leave of the service"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command};

    /// What a writer's flag does is done by the service, or by this command.
    #[test]
    fn every_flag_of_a_writer_is_refused_with_a_socket_or_means_the_command() {
        let of_command = ["batch", "framed", "long_lines", "quiet"];
        let command = WriterArgs::augment_args(Command::new("append"));
        let flags: Vec<_> = command.get_arguments().map(|flag| flag.get_id().as_str()).collect();
        assert!(flags.len() > of_command.len());
        for flag in flags {
            assert!(RING_FLAGS.contains(&flag) != of_command.contains(&flag), "{flag}");
        }
    }

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
