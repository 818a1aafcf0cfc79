//! The readers: a process each, or streams in one process.

use super::idle::wait_for_gate;
use super::note::Note;
use super::tally::{News, Tally};
use anyhow::{Context, anyhow};
use futures_core::Stream;
use std::cell::RefCell;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use waldo::reader::{Batches, Cursor, OnLapped, Reader, ReaderOptions, Ring, WaitStrategy};
use waldo::writer::Scheduling;
use waldo_harness::processes::child::{Words, cpu_ns, die_with, now_ns};
use waldo_harness::processes::event_log::EventWriter;

/// What every reader is told.
struct Task {
    first: usize,
    readers: usize,
    from_seq_no: u64,
    size: usize,
    board: PathBuf,
    home: PathBuf,
}

impl Task {
    /// Parent, scheduling, first reader's number, readers, newest record, payload size, board, home.
    fn read(words: &mut Words) -> anyhow::Result<Task> {
        die_with(words.word()?)?;
        words.word::<Scheduling>()?.apply().context("cannot change the readers' scheduling")?;
        Ok(Task {
            first: words.word()?,
            readers: words.word()?,
            from_seq_no: words.word()?,
            size: words.word()?,
            board: words.path().unwrap_or_default(),
            home: words.path().unwrap_or_default(),
        })
    }
}

/// Entry point of a reader process.
pub fn processes_main(words: &mut Words) -> anyhow::Result<()> {
    let task = Task::read(words)?;
    let mut board = EventWriter::open(&task.board)?;
    let reader = task.first;
    let note = match follow(&mut board, &task) {
        Ok(tally) => Note::Done { reader, sum: tally.sum() },
        Err(error) => Note::Failed { reader: Some(reader), error: format!("{error:#}") },
    };
    board.post(&note.line())
}

fn options() -> ReaderOptions {
    // With more readers than processors, spinning would only take time from the others.
    ReaderOptions::default().wait(WaitStrategy::Park).on_lapped(OnLapped::Oldest)
}

/// Attaches and reads one record, so that the newest page is mapped.
fn attach(home: &Path, from_seq_no: u64) -> anyhow::Result<(Reader, u64)> {
    let begun = now_ns();
    let ring = Ring::attach(home)?;
    let mut log = ring.reader_with(Cursor::From(from_seq_no), options())?;
    log.poll()?.context("the newest record is not there")?;
    Ok((log, now_ns() - begun))
}

fn lapsed(log: &Reader) -> u64 {
    log.lapses().lost.unwrap_or(u64::MAX)
}

fn follow(board: &mut EventWriter, task: &Task) -> anyhow::Result<Tally> {
    let reader = task.first;
    let (mut log, took_ns) = attach(&task.home, task.from_seq_no)?;
    board.post(&Note::Attached { reader, took_ns }.line())?;
    wait_for_gate();
    // What was appended while this reader did nothing is no part of the load.
    log.seek(Cursor::Tip)?;
    let mut tally = Tally::new(task.size);
    board.post(&Note::CaughtUp { reader }.line())?;
    let begun = cpu_ns();
    loop {
        let Some(batch) = log.recv(None)? else { continue };
        let news = tally.add(&batch, lapsed(&log))?;
        drop(batch);
        match news {
            News::None => {}
            News::Mark => {
                tally.set_cpu_ns(cpu_ns() - begun);
                board.post(&Note::CaughtUp { reader }.line())?;
            }
            News::End => return Ok(tally),
        }
    }
}

/// Entry point of the process that holds all streams.
pub fn streams_main(words: &mut Words) -> anyhow::Result<()> {
    let task = Task::read(words)?;
    let board = Rc::new(RefCell::new(EventWriter::open(&task.board)?));
    let runtime = tokio::runtime::Builder::new_current_thread().build().context("cannot start tokio")?;
    let ring = Ring::attach(&task.home)?;
    let mut streams = Vec::new();
    for reader in (task.first..).take(task.readers) {
        let begun = now_ns();
        let mut log = ring.reader_with(Cursor::From(task.from_seq_no), options())?;
        log.poll()?.context("the newest record is not there")?;
        board.borrow_mut().post(&Note::Attached { reader, took_ns: now_ns() - begun }.line())?;
        streams.push((reader, log));
    }
    wait_for_gate();
    let cpu = Rc::new(Cpu { begun: cpu_ns(), share: task.readers as u64 });
    let local = tokio::task::LocalSet::new();
    for (reader, log) in streams {
        let (board, cpu) = (Rc::clone(&board), Rc::clone(&cpu));
        local.spawn_local(async move {
            let note = match follow_stream(&board, &cpu, reader, log, task.size).await {
                Ok(tally) => Note::Done { reader, sum: tally.sum() },
                Err(error) => Note::Failed { reader: Some(reader), error: format!("{error:#}") },
            };
            // If the board is gone, so is whoever would read it.
            let _ = board.borrow_mut().post(&note.line());
        });
    }
    runtime.block_on(local);
    Ok(())
}

/// All streams run on one thread: each is taken to use its share of its time.
struct Cpu {
    begun: u64,
    share: u64,
}

async fn next(stream: &mut Batches) -> anyhow::Result<waldo::reader::Batch> {
    let mut stream = pin!(stream);
    let batch = poll_fn(|context| stream.as_mut().poll_next(context)).await;
    Ok(batch.ok_or_else(|| anyhow!("the stream has ended"))??)
}

async fn follow_stream(
    board: &RefCell<EventWriter>,
    cpu: &Cpu,
    reader: usize,
    mut log: Reader,
    size: usize,
) -> anyhow::Result<Tally> {
    log.seek(Cursor::Tip)?;
    let mut tally = Tally::new(size);
    board.borrow_mut().post(&Note::CaughtUp { reader }.line())?;
    let mut stream = log.into_stream();
    loop {
        let batch = next(&mut stream).await?;
        let news = tally.add(&batch, lapsed(stream.reader()))?;
        drop(batch);
        match news {
            News::None => {}
            News::Mark => {
                tally.set_cpu_ns((cpu_ns() - cpu.begun) / cpu.share);
                board.borrow_mut().post(&Note::CaughtUp { reader }.line())?;
            }
            News::End => return Ok(tally),
        }
    }
}
