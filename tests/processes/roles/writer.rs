//! The writer of a ring, told what to do line by line.

use super::restricted::{limit_file_length, limit_threads};
use crate::support::args::Args;
use crate::support::child::tell;
use crate::support::payload::{END, mix, payloads};
use crate::support::ring::Setup;
use std::collections::VecDeque;
use std::io::BufRead;
use std::path::Path;
use waldo::writer::{AppendError, OpenError, SharedWriter, Ticket, Writer};

/// Says `opened CLEAN TIP EPOCH CUT ENGINE` or `refused KIND MESSAGE`, then obeys:
///
/// `append N BATCH` answers `acked TIP`; `end` appends [`END`] and answers `acked TIP`; `sync` answers
/// `synced`; `close` answers `closed` and ends; `fail LEN` appends with files limited to `LEN` bytes until
/// that fails, and answers `failed ERRNO TIP`; `starve N BATCH` appends from another thread, when no more
/// threads can be started, and answers `acked TIP`; `torrent SEED BATCHES` appends batches of random length,
/// answering `acked TIP` after each; `flood SEED BATCHES` has several large ones in flight, answers for each
/// as it is acknowledged, and ends with the next line.
pub fn play(args: &Args) {
    let setup = Setup::from_args(args);
    let mut writer = match Writer::open(Path::new(args.get("home")), setup.options()) {
        Ok(writer) => writer,
        Err(error) => return tell(format!("refused {} {error}", kind(&error))),
    };
    let opened = writer.open_report().clone();
    let cut = opened.cut.map_or(0, |cut| cut.zeroed.max(1));
    tell(format!(
        "opened {} {} {} {cut} {:?}",
        opened.clean,
        opened.tip.unwrap_or(0),
        opened.epoch,
        opened.engine
    ));
    let mut lines = std::io::stdin().lock().lines();
    while let Some(line) = lines.next() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| -> u64 { words[at].parse().unwrap() };
        match words[0] {
            "append" => {
                append(&mut writer, number(1), number(2), setup.max);
                tell(format!("acked {}", writer.tip().unwrap_or(0)));
            }
            "end" => {
                writer.append_payloads(&[END]).unwrap();
                tell(format!("acked {}", writer.tip().unwrap_or(0)));
            }
            "torrent" => torrent(&mut writer, number(1), number(2), setup.max),
            "flood" => {
                let writer = SharedWriter::new(writer);
                flood(&writer, number(1), number(2), setup.max);
                // Not closed before it is told to, or killed.
                lines.next();
                return writer.close().unwrap();
            }
            "fail" => {
                limit_file_length(number(1));
                let (errno, tip) = fail(&mut writer, setup.max);
                tell(format!("failed {errno} {tip}"));
            }
            "starve" => {
                // The kernel's threads for io_uring belong to the thread that submits.
                let (count, batch) = (number(1), number(2));
                let another = std::thread::spawn(move || {
                    limit_threads(0);
                    append(&mut writer, count, batch, setup.max);
                    writer
                });
                writer = another.join().unwrap();
                tell(format!("acked {}", writer.tip().unwrap_or(0)));
            }
            "sync" => {
                writer.sync().unwrap();
                tell("synced");
            }
            "close" => {
                writer.close().unwrap();
                return tell("closed");
            }
            _ => panic!("no command {line}"),
        }
    }
}

/// Opens the ring with ever more threads allowed until that succeeds; says `refused KIND LEFT` each time,
/// `LEFT` being the number of the writer's threads that are left, and at last `opened`.
pub fn starve(args: &Args) {
    let setup = Setup::from_args(args);
    let tasks = || -> Vec<String> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        // One that has ended meanwhile has no name.
        tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok()).collect()
    };
    let own = tasks().len() as u64;
    for more in 0..20 {
        limit_threads(own + more);
        match Writer::open(Path::new(args.get("home")), setup.options()) {
            Ok(writer) => {
                writer.close().unwrap();
                return tell("opened");
            }
            Err(error) => {
                let left = tasks().iter().filter(|name| name.starts_with("waldo-")).count();
                tell(format!("refused {} {left}", kind(&error)));
            }
        }
    }
}

pub fn append(writer: &mut Writer, count: u64, batch: u64, max: usize) {
    let mut next = writer.tip().unwrap_or(0) + 1;
    let end = next + count;
    while next < end {
        let last = (next + batch).min(end) - 1;
        let appended = writer.append_payloads(&payloads(next, last, max)).unwrap();
        assert_eq!((appended.first_seq_no, appended.last_seq_no), (next, last));
        next = last + 1;
    }
}

/// Appends single records until that fails; the error number and the last record that was acknowledged.
fn fail(writer: &mut Writer, max: usize) -> (i32, u64) {
    loop {
        let tip = writer.tip().unwrap_or(0);
        let Err(error) = writer.append_payloads(&payloads(tip + 1, tip + 1, max)) else { continue };
        let AppendError::Failed { cause } = error else { panic!("{error}") };
        // It stays so.
        let again = writer.append_payloads(&[b"more"]);
        assert!(matches!(again, Err(AppendError::Failed { .. })), "{again:?}");
        assert!(matches!(writer.sync(), Err(AppendError::Failed { .. })));
        return (cause.errno(), tip);
    }
}

fn torrent(writer: &mut Writer, seed: u64, batches: u64, max: usize) {
    let mut state = mix(seed);
    for _ in 0..batches {
        state = mix(state);
        let next = writer.tip().unwrap_or(0) + 1;
        writer.append_payloads(&payloads(next, next + state % 20, max)).unwrap();
        tell(format!("acked {}", writer.tip().unwrap_or(0)));
    }
}

fn flood(writer: &SharedWriter, seed: u64, batches: u64, max: usize) {
    const IN_FLIGHT: usize = 8;
    let mut state = mix(seed);
    let mut next = writer.tip().unwrap_or(0) + 1;
    let mut tickets = VecDeque::new();
    let acked = |ticket: Ticket| tell(format!("acked {}", ticket.wait().unwrap().last_seq_no));
    for _ in 0..batches {
        state = mix(state);
        let last = next + state % 60;
        tickets.push_back(writer.try_append_payloads(&payloads(next, last, max)).unwrap());
        next = last + 1;
        if tickets.len() == IN_FLIGHT {
            tickets.pop_front().into_iter().for_each(acked);
        }
    }
    tickets.into_iter().for_each(acked);
}

fn kind(error: &OpenError) -> &'static str {
    match error {
        OpenError::Locked { .. } => "Locked",
        OpenError::Uring { .. } => "Uring",
        OpenError::Io { .. } => "Io",
        OpenError::Corrupt { .. } => "Corrupt",
        OpenError::Control { .. } => "Control",
        OpenError::FileLength { .. } => "FileLength",
        OpenError::Threads { .. } => "Threads",
        OpenError::Rights { .. } => "Rights",
        _ => "Other",
    }
}
