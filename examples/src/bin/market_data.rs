//! Quotes from one publisher to many processes: one that spins on a processor of its own for the shortest
//! delay, and many that sleep until there is something. All of them read the same bytes; the publisher knows
//! none of them.

use anyhow::{Context, Result, anyhow, bail};
use clap::{Parser, Subcommand};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use waldo::reader::{Cursor, OnLapped, ReaderOptions, Ring, WaitStrategy, Wakeup, WriterStatus};
use waldo::writer::{Durability, Writer, WriterOptions};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A market-data fan-out: prints how long quotes take from the publisher to each kind of subscriber.
///
/// Exit codes: 0 done, 1 failure, 2 wrong usage.
#[derive(Parser)]
#[command(after_help = "Example:\n  market_data run /var/tmp/quotes --sleepers 100 --rate 5000")]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Starts the subscribers, publishes to them, and prints their latencies
    Run {
        /// Directory of the ring; is made if it is missing
        home: PathBuf,
        /// Subscribers that sleep between quotes
        #[arg(long, default_value_t = 20)]
        sleepers: usize,
        /// Quotes to publish
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
        quotes: u64,
        /// Quotes a second
        #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        rate: u64,
    },
    /// Reads quotes until the publisher closes the ring, and prints each one's latency in nanoseconds
    Subscribe {
        /// Directory of the ring
        home: PathBuf,
        /// Keep a processor busy rather than sleep
        #[arg(long)]
        spin: bool,
    },
}

/// A record as it lies in the ring. Both sides run on one machine, so its order of bytes will do.
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Quote {
    instrument: u64,
    price: i64,
}

/// A subscriber process. A publisher that fails leaves none behind.
struct Subscriber(Child, BufReader<ChildStdout>);

impl Drop for Subscriber {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Subscriber {
    fn start(home: &Path, spin: bool) -> Result<Subscriber> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("subscribe").arg(home).args(spin.then_some("--spin")).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start a subscriber")?;
        let output = BufReader::new(child.stdout.take().context("a subscriber without output")?);
        let mut subscriber = Subscriber(child, output);
        // It starts at the tip: quotes from before it has attached are not for it.
        let mut line = String::new();
        subscriber.1.read_line(&mut line)?;
        if line.trim() == "ready" { Ok(subscriber) } else { bail!("a subscriber did not start") }
    }

    fn latencies(mut self) -> Result<Vec<u64>> {
        let mut text = String::new();
        self.1.read_to_string(&mut text)?;
        if !self.0.wait()?.success() {
            bail!("a subscriber failed");
        }
        text.lines().map(|line| line.parse().with_context(|| format!("{line:?} is no latency"))).collect()
    }
}

fn run(home: &Path, sleepers: usize, quotes: u64, rate: u64) -> Result<()> {
    // A quote that survives the publisher's death is good enough: no append waits for the disk.
    let options = WriterOptions::default().durability(Durability::PageCache).page_len(1 << 20);
    let mut writer = Writer::open(home, options)?;
    let spinning = vec![Subscriber::start(home, true)?];
    let sleeping = (0..sleepers).map(|_| Subscriber::start(home, false)).collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    for n in 0..quotes {
        let due = start + Duration::from_nanos(n * 1_000_000_000 / rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let quote = Quote { instrument: n % 50, price: 10_000 + (n % 7) as i64 };
        writer.append_payloads(&[quote.as_bytes()])?;
    }
    // That is how subscribers learn that nothing more comes, those included that the ring has overtaken.
    writer.close()?;
    for (kind, subscribers) in [("spinning", spinning), ("sleeping", sleeping)] {
        let count = subscribers.len();
        let mut all = Vec::new();
        for subscriber in subscribers {
            all.extend(subscriber.latencies()?);
        }
        all.sort_unstable();
        let at = |part: f64| all.get(((all.len() as f64 * part) as usize).min(all.len().saturating_sub(1)));
        let us = |part| at(part).map_or(0.0, |ns| *ns as f64 / 1000.0);
        println!(
            "{count:>6} {kind}  {:>9} quotes  half within {:>8.1} us  99% within {:>8.1} us  all within {:>8.1} us",
            all.len(),
            us(0.5),
            us(0.99),
            us(1.0)
        );
    }
    Ok(())
}

fn subscribe(home: &Path, spin: bool) -> Result<()> {
    let wait = if spin { WaitStrategy::Spin } else { WaitStrategy::Park };
    // An old quote is worth nothing: who is overtaken goes on with the newest one.
    let options = ReaderOptions::default().wait(wait).on_lapped(OnLapped::Tip);
    let mut reader = Ring::attach(home)?.reader_with(Cursor::Tip, options)?;
    println!("ready");
    let mut latencies = Vec::new();
    let mut closed = false;
    loop {
        while let Some(batch) = reader.poll()? {
            for record in &batch {
                // The writer stamps each record with the system's clock.
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
                latencies.push(now.saturating_sub(record.time_ns()));
                // A strategy would look at the quote's instrument and price here.
                let _quote = Quote::read_from_bytes(record.data())
                    .map_err(|_| anyhow!("record {} is no quote", record.seq_no()))?;
            }
        }
        if closed {
            break;
        }
        match reader.wait(None)? {
            // What it appended last may have come since the look.
            Wakeup::Writer(WriterStatus::Closed) => closed = true,
            Wakeup::Writer(status) if status != WriterStatus::Live => bail!("the publisher is {status}"),
            _ => {}
        }
    }
    if let Some(lost) = reader.lapses().lost.filter(|lost| *lost > 0) {
        eprintln!("{lost} quotes were missed: the ring is too small, or this process too slow");
    }
    let lines: String = latencies.iter().map(|ns| format!("{ns}\n")).collect();
    Ok(std::io::stdout().write_all(lines.as_bytes())?)
}

fn main() -> ExitCode {
    let outcome = match Args::parse().action {
        Action::Run { home, sleepers, quotes, rate } => run(&home, sleepers, quotes, rate),
        Action::Subscribe { home, spin } => subscribe(&home, spin),
    };
    if let Err(error) = outcome {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
