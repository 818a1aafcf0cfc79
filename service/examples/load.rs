//! How many records producers get through the socket: a service in a process of its own, producers as threads
//! of this one.
//!
//! ```text
//! cargo run --release -p waldo-service --example load -- [NAME=VALUE ...]
//! ```
//!
//! `producers` (16), `batch` (100 records), `size` (100 bytes), `seconds` (5), `window` (32 batches that a
//! producer has on their way), `durability` (`cache`, `interval`, `sync`), `durable` (0 or 1: what
//! acknowledgements are asked for), `named` (0 or 1), `checksums` (0 or 1), `dir` (where the ring is made; `/tmp`),
//! `embedded` (1: no service, the same appends by threads of the writer's own process).
#![allow(clippy::unwrap_used, reason = "a measurement ends at the first thing that goes wrong")]

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use waldo::client::{Producer, ProducerOptions};
use waldo::writer::{ControlPlace, Durability, SharedWriter, Writer, WriterOptions};
use waldo_service::{Service, ServiceOptions};

struct Settings(HashMap<String, String>);

impl Settings {
    fn number(&self, name: &str, default: u64) -> u64 {
        self.0.get(name).map_or(default, |text| text.parse().unwrap())
    }

    fn durability(&self) -> Durability {
        match self.0.get("durability").map_or("cache", String::as_str) {
            "sync" => Durability::Sync,
            "interval" => Durability::Interval(Duration::from_millis(100)),
            _ => Durability::PageCache,
        }
    }
}

fn main() {
    let pairs = std::env::args().skip(1).map(|arg| {
        let (name, value) = arg.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    let settings = Settings(pairs.collect());
    match settings.0.get("serve") {
        Some(dir) => serve(Path::new(dir), &settings),
        None if settings.number("embedded", 0) == 1 => embed(&settings),
        None => measure(&settings),
    }
}

fn open(dir: &Path, settings: &Settings) -> Writer {
    let options = WriterOptions::default()
        .durability(settings.durability())
        .control(ControlPlace::Path(dir.join("control")));
    Writer::open(dir.join("ring"), options).unwrap()
}

/// What the service is held against: threads that share the writer, and wait for each batch.
fn embed(settings: &Settings) {
    let temporary = tempfile::tempdir_in(settings.0.get("dir").map_or("/tmp", String::as_str)).unwrap();
    let writer = SharedWriter::new(open(temporary.path(), settings));
    let seconds = Duration::from_secs(settings.number("seconds", 5));
    let payload = vec![b'x'; settings.number("size", 100) as usize];
    let batch = vec![payload.as_slice(); settings.number("batch", 100) as usize];
    let producers = settings.number("producers", 16);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..producers {
            scope.spawn(|| {
                while start.elapsed() < seconds {
                    writer.append_payloads(&batch).unwrap();
                }
            });
        }
    });
    let rate = writer.tip().unwrap() as f64 / start.elapsed().as_secs_f64();
    println!("{producers} threads, embedded: {rate:.0} records/s");
}

fn serve(dir: &Path, settings: &Settings) {
    let writer = open(dir, settings);
    let service = Service::bind(writer, dir.join("socket"), ServiceOptions::default()).unwrap();
    println!("ready");
    let (stop, stopped) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        let _ = stop.send(());
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let counters = runtime.block_on(service.run(async { stopped.await.unwrap() })).unwrap();
    println!("{counters:?}");
}

fn measure(settings: &Settings) {
    let temporary = tempfile::tempdir_in(settings.0.get("dir").map_or("/tmp", String::as_str)).unwrap();
    let dir: PathBuf = temporary.path().to_owned();
    let mut service = Command::new(std::env::current_exe().unwrap())
        .arg(format!("serve={}", dir.display()))
        .args(std::env::args().skip(1))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(service.stdout.take().unwrap()).lines();
    assert_eq!(output.next().unwrap().unwrap(), "ready");
    let producers = settings.number("producers", 16);
    let begin = Barrier::new(producers as usize);
    let results: Vec<(u64, Duration, Vec<Duration>)> = thread::scope(|scope| {
        let (dir, begin) = (&dir, &begin);
        let threads: Vec<_> =
            (0..producers).map(|index| scope.spawn(move || produce(settings, dir, begin, index))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let records: u64 = results.iter().map(|result| result.0).sum();
    let time = results.iter().map(|result| result.1).max().unwrap();
    let mut latencies: Vec<Duration> = results.into_iter().flat_map(|result| result.2).collect();
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{producers} producers: {:.0} records/s; batch acknowledged after p50 {:?}, p99 {:?}",
        records as f64 / time.as_secs_f64(),
        at(0.5),
        at(0.99)
    );
    drop(service.stdin.take());
    for line in output {
        eprintln!("{}", line.unwrap());
    }
    service.wait().unwrap();
}

/// Appends until the time is over. Returns records, time, and how long each batch took to be acknowledged.
fn produce(settings: &Settings, dir: &Path, begin: &Barrier, index: u64) -> (u64, Duration, Vec<Duration>) {
    let mut options = ProducerOptions::default()
        .durable(settings.number("durable", 0) == 1)
        .checksums(settings.number("checksums", 1) == 1);
    if settings.number("named", 1) == 1 {
        options = options.name(format!("load-{index}"));
    }
    let producer = Producer::connect(dir.join("socket"), options).unwrap();
    let payload = vec![b'x'; settings.number("size", 100) as usize];
    let batch = vec![payload.as_slice(); settings.number("batch", 100) as usize];
    let window = settings.number("window", 32) as usize;
    let seconds = Duration::from_secs(settings.number("seconds", 5));
    begin.wait();
    let start = Instant::now();
    let (mut waiting, mut latencies, mut records) = (VecDeque::new(), Vec::new(), 0);
    let mut finish_one = |waiting: &mut VecDeque<(Instant, waldo::client::Ticket)>| {
        let (sent, ticket) = waiting.pop_front().unwrap();
        ticket.wait().unwrap();
        latencies.push(sent.elapsed());
    };
    while start.elapsed() < seconds {
        if waiting.len() == window {
            finish_one(&mut waiting);
        }
        waiting.push_back((Instant::now(), producer.append(&batch).unwrap()));
        records += batch.len() as u64;
    }
    while !waiting.is_empty() {
        finish_one(&mut waiting);
    }
    let time = start.elapsed();
    producer.close().unwrap();
    (records, time, latencies)
}
