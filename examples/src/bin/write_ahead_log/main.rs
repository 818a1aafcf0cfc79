//! A key-value map whose write-ahead log is a ring, and replicas that follow the log.
//!
//! Leader and replica do the same: they read the log and apply each change to a map. The leader alone
//! appends, and answers when the change is on the disk. A ring drops its oldest records, so the map is saved
//! before the ring can have dropped a change that the saved map lacks. The map is saved together with its
//! place in the log.

mod map;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use map::{CHANGE_LEN_MAX, Change, State, with_suffix};
use std::convert::Infallible;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use waldo::reader::{ReadError, Ring};
use waldo::writer::{Durability, Writer, WriterOptions};

/// A key-value map with a write-ahead log, and replicas of it that other processes keep.
///
/// Leader and replica may be killed at any moment, Ctrl-C included, and go on where they were.
///
/// Exit codes: 0 done, 1 failure, 2 wrong usage.
#[derive(Parser)]
#[command(after_help = "Example:\n  write_ahead_log replica /var/tmp/wal /var/tmp/replica.json &\n  \
    echo 'put colour blue' | write_ahead_log leader /var/tmp/wal\n  cat /var/tmp/replica.json")]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Keeps the map in HOME.map.json, and the log in the ring HOME
    ///
    /// Reads `put KEY VALUE`, `delete KEY` and `get KEY` from standard input, one a line. The answer `ok`
    /// means that the change is durable.
    Leader {
        /// Directory of the ring; is made if it is missing
        home: PathBuf,
    },
    /// Follows the leader's log until it is killed
    Replica {
        /// Directory of the leader's ring
        home: PathBuf,
        /// Where this replica saves its own map
        file: PathBuf,
    },
}

/// Where the leader saves its map: beside the ring.
fn leaders_file(home: &Path) -> PathBuf {
    with_suffix(home, ".map.json")
}

fn lead(home: &Path) -> Result<()> {
    let options = WriterOptions::default().durability(Durability::Sync).page_len(1 << 20).ring_size(8);
    let mut writer = Writer::open(home, options)?;
    let file = leaders_file(home);
    let mut state = State::load(&file)?;
    let ring = Ring::attach(home)?;
    let mut reader = state.reader(&ring)?;
    // What a leader that was killed had appended. The last change may be one that it had not answered.
    state.catch_up(&ring, &mut reader, &file)?;
    for line in std::io::stdin().lock().lines() {
        let line = line.context("cannot read standard input")?;
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let change = match words[..] {
            ["get", key] => {
                println!("{}", state.map.get(key).map_or("(none)", String::as_str));
                continue;
            }
            ["put", key, value] => Change::Put { key: key.into(), value: value.into() },
            ["delete", key] => Change::Delete { key: key.into() },
            _ => {
                println!("error: {line:?} is neither put KEY VALUE nor delete KEY nor get KEY");
                continue;
            }
        };
        let record = serde_json::to_vec(&change)?;
        if record.len() > CHANGE_LEN_MAX {
            println!("error: the change takes {} bytes, at most {CHANGE_LEN_MAX} are taken", record.len());
            continue;
        }
        // Durable when this returns. An error ends the program: the map would no longer be what the log says.
        writer.append_payloads(&[record])?;
        state.catch_up(&ring, &mut reader, &file)?;
        println!("ok");
    }
    state.save(&file)?;
    Ok(writer.close()?)
}

fn replicate(home: &Path, file: &Path) -> Result<()> {
    let ring = Ring::attach(home).context("start the leader first")?;
    let mut state = State::load(file)?;
    loop {
        let Err(error) = follow(&ring, &mut state, file);
        let lapsed = matches!(error.downcast_ref(), Some(ReadError::Lapped { .. }));
        // Away for so long that the ring has dropped changes which this map lacks: the leader's map has them.
        let leaders = if lapsed { State::load(&leaders_file(home))? } else { return Err(error) };
        if leaders.place.map(|place| place.1) <= state.place.map(|place| place.1) {
            return Err(error.context("the leader's saved map is older than this one"));
        }
        eprintln!("the ring has overtaken this replica, which goes on with the leader's map");
        state = leaders;
        state.save(file)?;
    }
}

/// Goes on until an error, also through the death of the leader and its return.
fn follow(ring: &Ring, state: &mut State, file: &Path) -> Result<Infallible> {
    let mut reader = state.reader(ring)?;
    loop {
        // Sleeps for as long as nothing happens, and saves the map when there is a moment for that.
        let timeout = (state.unsaved > 0).then_some(Duration::from_millis(100));
        match reader.recv(timeout)? {
            Some(batch) => state.apply(ring, &batch, file)?,
            None => state.save(file)?,
        }
    }
}

fn main() -> ExitCode {
    let outcome = match Args::parse().role {
        Role::Leader { home } => lead(&home),
        Role::Replica { home, file } => replicate(&home, &file),
    };
    if let Err(error) = outcome {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
