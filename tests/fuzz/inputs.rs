//! Where inputs come from, and what becomes of one that fails.

use crate::damage::STEP;
use crate::dice::{self, Dice};
use crate::sample;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long one input may take before it counts as a hang.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest input.
const LONGEST: usize = 400;
/// Inputs that fail before a run gives up.
const ENOUGH: usize = 20;

/// Something that takes any bytes.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: Vec<Vec<u8>>,
    /// Inputs in a run that nobody asked more of.
    pub few: u64,
    /// It is slower than others by so much.
    pub one_in: u64,
}

impl Target {
    /// Tries the corpus, then changes of it.
    pub fn go(mut self) {
        let asked = std::env::var("WALDO_FUZZ").ok();
        let count = asked.map_or(self.few, |text| (text.parse::<u64>().unwrap() / self.one_in).max(1));
        let seed = dice::seed("WALDO_FUZZ_SEED");
        let mut corpus = corpus(self.name);
        corpus.append(&mut self.seeds);
        let mut failed = Vec::new();
        let mut dice = Dice::new(seed);
        let begin = Instant::now();
        let mut tried = 0;
        let (alive, watched) = channel::<Vec<u8>>();
        let name = self.name;
        // A hang cannot be ended from within: the watch ends the process, and says what it was.
        let watch = thread::spawn(move || {
            let mut last = Vec::new();
            loop {
                match watched.recv_timeout(PATIENCE) {
                    Ok(input) => last = input,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        eprintln!("FINDING {name}: an input hangs, kept as {}", keep(name, &last).display());
                        sample::clear();
                        std::process::abort();
                    }
                }
            }
        });
        let slow = self.one_in > 1;
        for number in 0..count.max(corpus.len() as u64) {
            let input = match corpus.get(number as usize) {
                Some(input) => input.clone(),
                None => changed(&corpus, &mut dice),
            };
            if slow || number.is_multiple_of(1 << 20) {
                let _ = alive.send(input.clone());
            }
            tried += 1;
            let outcome = catch_unwind(AssertUnwindSafe(|| (self.run)(&input)));
            if let Err(panic) = outcome {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                let text = text.unwrap_or_default();
                eprintln!("FINDING {name}: {text}; kept as {}", keep(name, &input).display());
                failed.push(text);
                if failed.len() >= ENOUGH {
                    break;
                }
            }
        }
        drop(alive);
        watch.join().unwrap();
        let per_second = tried as f64 / begin.elapsed().as_secs_f64().max(1e-9);
        println!("{name}, seed {seed}: {tried} inputs, {per_second:.0} a second, {} failed", failed.len());
        assert!(failed.is_empty(), "{} inputs failed:\n{}", failed.len(), failed.join("\n"));
    }
}

/// What is kept in the repository.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(crate::ROOT).join("fuzz/corpus").join(name);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn keep(name: &str, input: &[u8]) -> PathBuf {
    let number = input.iter().fold(0u64, |sum, byte| dice::mix(sum ^ u64::from(*byte)));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}-{number:016x}"));
    // Its path is printed in any case.
    let _ = fs::write(&path, input);
    path
}

/// Inputs for the targets that damage a ring: each kind of step once, on each ring.
pub fn damages() -> Vec<Vec<u8>> {
    let step = |op: u8| [op, op.wrapping_mul(7), 0, 17, op, 0, 3, op];
    let one = |op: u8| [&[op, 0][..], &step(op), &step(op.wrapping_add(5))].concat();
    debug_assert_eq!(step(0).len(), STEP);
    (0..20).map(one).collect()
}

/// One of `corpus`, and what was done to it.
fn changed(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut input = corpus[dice.within(0..=corpus.len() as u64 - 1) as usize].clone();
    for _ in 0..dice.within(1..=6) {
        let at = dice.within(0..=input.len().max(1) as u64 - 1) as usize;
        match dice.within(0..=7) {
            0 | 1 if at < input.len() => input[at] ^= 1 << dice.within(0..=7),
            2 | 3 if at < input.len() => input[at] = dice.next() as u8,
            4 if input.len() < LONGEST => {
                let bytes = dice.next().to_le_bytes();
                let len = dice.within(1..=8) as usize;
                input.splice(at..at, bytes[..len].iter().copied());
            }
            5 if at < input.len() => {
                let end = input.len().min(at + dice.within(1..=16) as usize);
                input.drain(at..end);
            }
            6 if at + 8 <= input.len() => {
                let word = dice.pick(&[0, 1, u64::MAX, 1 << 63, 4096, 16 << 10, 1 << 24, 48, 0x0100_0030]);
                input[at..at + 8].copy_from_slice(&word.to_le_bytes());
            }
            _ if input.len() < LONGEST => {
                let other = &corpus[dice.within(0..=corpus.len() as u64 - 1) as usize];
                let from = dice.within(0..=other.len() as u64) as usize;
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
                input.truncate(LONGEST);
            }
            _ => {}
        }
    }
    input
}
