//! Brings the records of a ring into SQLite, each exactly once, whenever this program or the machine stops.
//!
//! The place in the ring is kept in the database and changes in the same transaction as the effect of the
//! records: a transaction that is cut off takes both back, and the next start reads those records again.

use anyhow::{Context, Result, bail};
use clap::Parser;
use futures_util::StreamExt;
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use waldo::reader::{Batch, Checkpoint, Cursor, ReaderOptions, Ring, Visibility};

/// Keeps accounts in SQLite by the records of a ring, each of the form `ACCOUNT AMOUNT`.
///
/// Each record counts exactly once. The program may be killed at any moment, and goes on where it was. It
/// follows the ring until Ctrl-C.
///
/// Exit codes: 0 ended by Ctrl-C, 1 failure, 2 wrong usage.
#[derive(Parser)]
#[command(after_help = "Example:\n  printf 'ann 5\\nbob 7\\nann -2\\n' | waldo append /var/tmp/payments\n  \
    to_sqlite /var/tmp/payments /var/tmp/accounts.db &\n  \
    sqlite3 /var/tmp/accounts.db 'SELECT * FROM account'")]
struct Args {
    /// Directory of the ring
    home: PathBuf,
    /// The database; is made if it is missing
    database: PathBuf,
}

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    -- A transaction is on the disk when COMMIT returns.
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS account (name TEXT PRIMARY KEY, balance INTEGER NOT NULL) STRICT;
    -- One row: the last record that is in the accounts, as a checkpoint names it.
    CREATE TABLE IF NOT EXISTS place (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        ring BLOB NOT NULL, seq_no INTEGER NOT NULL, epoch INTEGER NOT NULL, checksum INTEGER NOT NULL
    ) STRICT;";

/// A sum that is no integer of 64 bits any more is refused by the table.
const ADD: &str =
    "INSERT INTO account VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET balance = balance + ?2";

fn open(args: &Args) -> Result<Connection> {
    let database = Connection::open(&args.database)?;
    database.busy_timeout(Duration::from_secs(10))?;
    database.execute_batch(SCHEMA)?;
    Ok(database)
}

fn place(database: &Connection) -> Result<Option<Checkpoint>> {
    let row = database.query_row("SELECT ring, seq_no, epoch, checksum FROM place", [], |row| {
        Ok(Checkpoint {
            ring_id: row.get(0)?,
            seq_no: row.get(1)?,
            epoch: row.get(2)?,
            checksum: row.get(3)?,
        })
    });
    Ok(row.optional()?)
}

/// One transaction: the effect of a batch, and the place behind the batch.
fn store(
    database: &mut Connection,
    batch: &Batch,
    ring: &Ring,
    before: Option<Checkpoint>,
) -> Result<Checkpoint> {
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if place(&transaction)? != before {
        bail!("another process brings records into this database: stop one of the two");
    }
    let mut last = None;
    for record in batch {
        last = Some(record.checkpoint(ring.ring_id()));
        // A record that makes no sense must not stop all those behind it. It has no effect, and is reported.
        let Some((account, amount)) = parse(record.data()) else {
            eprintln!("record {} is not of the form ACCOUNT AMOUNT: passed over", record.seq_no());
            continue;
        };
        let added = transaction.prepare_cached(ADD)?.execute(params![account, amount]);
        match added {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                eprintln!("record {} is too much for {account}: passed over", record.seq_no());
            }
            other => drop(other?),
        }
    }
    let last = last.context("a batch without records")?;
    transaction.execute(
        "INSERT OR REPLACE INTO place VALUES (1, ?, ?, ?, ?)",
        params![last.ring_id, last.seq_no, last.epoch, last.checksum],
    )?;
    transaction.commit()?;
    Ok(last)
}

fn parse(record: &[u8]) -> Option<(&str, i64)> {
    let (account, amount) = std::str::from_utf8(record).ok()?.trim().rsplit_once(' ')?;
    Some((account, amount.parse().ok()?))
}

async fn run(args: &Args) -> Result<()> {
    let mut database = open(args).with_context(|| format!("cannot use {}", args.database.display()))?;
    let ring = Ring::attach(&args.home)?;
    // Without this, the database could know a record that a power cut takes from the ring.
    let options = ReaderOptions::default().visibility(Visibility::Durable);
    let mut before = place(&database)?;
    let reader = match &before {
        Some(checkpoint) => ring.resume(checkpoint, options),
        // An error if the ring has dropped records already: the accounts would be wrong without them.
        None => ring.reader_with(Cursor::After(0), options),
    };
    let mut batches = reader.context("cannot go on where the database ends")?.into_stream();
    loop {
        let batch = tokio::select! {
            batch = batches.next() => batch.context("the ring ended")??,
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
        };
        // SQLite blocks the thread; other tasks move to other threads meanwhile.
        let stored = tokio::task::block_in_place(|| store(&mut database, &batch, &ring, before));
        before = Some(stored.with_context(|| format!("cannot store record {}", batch.first_seq_no()))?);
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    if let Err(error) = run(&Args::parse()).await {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
