//! The `waldo` command over a damaged ring: it ends by itself, does not panic, and says 0 only of what is
//! right.

use crate::damage::Damaged;
use crate::payload;
use crate::sample;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a command may take on a ring of three small pages.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first byte of `input` chooses the ring, the second one whether there is a segment; the rest is damage.
pub fn run(input: &[u8]) {
    let [which, how, steps @ ..] = input else { return };
    let samples = sample::all();
    let sample = &samples[usize::from(*which) % samples.len()];
    let damaged = Damaged::new(sample, how & 1 == 1, steps);
    let root = sample::room();
    let home = root.path().join("ring");
    fs::create_dir(&home).unwrap();
    damaged.lay(&home).unwrap();
    let (verified, _) = waldo(&home, &["verify"]);
    let (tailed, records) = waldo(&home, &["tail", "--format", "raw", "--verify"]);
    for args in [&["stat"][..], &["inspect"]] {
        waldo(&home, args);
    }
    let last = check_frames(&records, damaged.forged);
    // A segment may say that the log ends sooner, and what was not durable may be torn.
    if sample.closed && !damaged.meta && !damaged.forged && how & 1 == 0 {
        assert!(!tailed.success() || last == sample.last, "tail ended with 0 at {last}, not {}", sample.last);
        assert!(!verified.success() || last == sample.last, "verify said 0 of a log up to {last}");
    }
}

/// How `waldo` ended, and what it printed. It must end by itself, without a panic.
fn waldo(home: &Path, args: &[&str]) -> (ExitStatus, Vec<u8>) {
    let (command, options) = args.split_first().expect("a command");
    let mut child = Command::new(env!("CARGO_BIN_EXE_waldo"))
        .arg(command)
        .arg(home)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (mut printed, mut said) = (Vec::new(), String::new());
    let errors = thread::spawn(move || {
        let _ = err.read_to_string(&mut said);
        said
    });
    let printing = thread::spawn(move || {
        let _ = out.read_to_end(&mut printed);
        printed
    });
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("waldo {args:?} hangs");
        }
        thread::sleep(Duration::from_millis(1));
    };
    let said = errors.join().unwrap();
    assert!(matches!(status.code(), Some(0..=2)), "waldo {args:?} ended with {status}: {said}");
    assert!(!said.contains("panicked"), "waldo {args:?}: {said}");
    assert!(status.success() || !said.is_empty(), "waldo {args:?} ended with {status} and not a word");
    (status, printing.join().unwrap())
}

/// The last record among the frames, each of which proves itself and follows the one before.
fn check_frames(mut bytes: &[u8], forged: bool) -> u64 {
    let mut last = 0;
    while let Some((len, rest)) = bytes.split_at_checked(4) {
        let len = u32::from_le_bytes(len.try_into().unwrap()) as usize;
        let (data, rest) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        bytes = rest;
        match payload::read(data) {
            _ if forged => {}
            Some(origin) if last == 0 || origin.seq_no == last + 1 => last = origin.seq_no,
            other => panic!("after record {last}: {other:?}, {len} bytes"),
        }
    }
    last
}
