//! Lines on standard error that can neither block nor end the process.
//!
//! The reader of standard error may be stopped, slow or gone, and its disk may be full. None of that may stop
//! a writer. So a separate thread writes the lines. Lines that do not fit into its queue are dropped, and
//! their number is reported as soon as standard error takes lines again.

use crate::escape::{escape_json, harmless_lines, harmless_painted};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Lines that wait to be written, at most.
const QUEUE_MAX: usize = 1024;

/// How long a command that ends waits at most for the last lines to be written.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Lines dropped so far. Relaxed: the number stands for itself.
static DROPPED: AtomicU64 = AtomicU64::new(0);

static NOTICES: OnceLock<Notices> = OnceLock::new();

#[derive(Default)]
struct Notices {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    /// Lines dropped since the last one that was queued.
    dropped: u64,
    /// The thread has taken a line and not written it yet.
    writing: bool,
    /// There is no thread: the system gave none.
    alone: bool,
}

/// Puts a line on standard error, without the prefix `waldo: `. Never blocks. The line may contain names of
/// files and texts of other processes, so everything that a terminal would obey is escaped, except newlines.
pub fn say(line: fmt::Arguments<'_>) {
    queue(bytes_of(line));
}

fn bytes_of(line: fmt::Arguments<'_>) -> Vec<u8> {
    harmless_lines(&format!("{line}\n")).into_bytes()
}

/// Like `eprintln!`, without its panic when standard error is closed and without waiting for whoever reads
/// it.
#[macro_export]
macro_rules! notice {
    ($($text:tt)*) => { $crate::notice::say(format_args!($($text)*)) };
}
/// Starts the thread. Called before the calling thread gets a scheduling class that the new one should not
/// inherit.
pub fn ready() {
    notices();
}

/// How many lines were dropped because nobody read them.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Waits until everything has been written, `patience` at most.
pub fn finish(patience: Duration) {
    let Some(notices) = NOTICES.get() else { return };
    let deadline = Instant::now() + patience;
    let mut queue = notices.lock();
    while !queue.alone && (queue.writing || !queue.lines.is_empty()) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        queue = notices.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Where the log of the library goes: each write is one event.
pub enum LogLines {
    /// As lines, which may be painted.
    Text,
    /// As JSON.
    Json,
}

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let harmless = match self {
            LogLines::Text => harmless_painted(&text),
            LogLines::Json => escape_json(&text),
        };
        queue(harmless.into_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Notices {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A queue of lines is in order whatever happened to another thread.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn notices() -> &'static Notices {
    let mut made = false;
    let notices = NOTICES.get_or_init(|| {
        made = true;
        Notices::default()
    });
    if made && std::thread::Builder::new().name("waldo-stderr".into()).spawn(|| write_all(notices)).is_err() {
        notices.lock().alone = true;
    }
    notices
}

fn queue(line: Vec<u8>) {
    let notices = notices();
    let mut queue = notices.lock();
    if queue.alone {
        drop(queue);
        write_if_possible(&line);
    } else if queue.lines.len() >= QUEUE_MAX {
        queue.dropped += 1;
        DROPPED.fetch_add(1, Ordering::Relaxed);
    } else {
        if queue.dropped > 0 {
            let lost = format!("waldo: {} lines of this log were dropped: nobody read it\n", queue.dropped);
            queue.lines.push_back(lost.into_bytes());
            queue.dropped = 0;
        }
        queue.lines.push_back(line);
        notices.changed.notify_all();
    }
}

/// What the thread does. It may be stuck in a write for ever; the process ends without it.
fn write_all(notices: &Notices) {
    // A descriptor of its own: the lock of the standard library's handle would be held during a stuck write.
    let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() else {
        notices.lock().alone = true;
        notices.changed.notify_all();
        return;
    };
    let mut stderr = File::from(stderr);
    let mut queue = notices.lock();
    loop {
        queue.writing = false;
        notices.changed.notify_all();
        while queue.lines.is_empty() {
            queue = notices.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let Some(line) = queue.lines.pop_front() else { continue };
        queue.writing = true;
        drop(queue);
        write_line(&mut stderr, &line);
        queue = notices.lock();
    }
}

/// Writes a line, or gives it up: a closed pipe or a full disk takes it from nobody who could read it.
fn write_line(stderr: &mut File, mut rest: &[u8]) {
    while !rest.is_empty() {
        match stderr.write(rest) {
            Ok(0) => return,
            Ok(n) => rest = &rest[n..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Somebody who shares the descriptor has made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut fds, PollTimeout::NONE).is_err_and(|errno| errno != nix::errno::Errno::EINTR) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// Without a thread: writes a line if standard error has room for it now.
fn write_if_possible(line: &[u8]) {
    let stderr = io::stderr();
    let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..)) {
        // There is nobody left to tell of an error.
        let _ = stderr.lock().write_all(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        let line = "/a\x1b[2J\u{9b}31m\r/b\t1\nsch\u{f6}n \u{202e}cod.exe";
        let shown = "/a\\x1b[2J\\u{9b}31m\\r/b\t1\nsch\u{f6}n \\u{202e}cod.exe\n";
        assert_eq!(String::from_utf8(bytes_of(format_args!("{line}"))).unwrap(), shown);
    }
}
