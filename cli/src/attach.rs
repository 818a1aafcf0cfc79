//! Attaching to a ring, and waiting for one that does not exist yet.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};
use waldo::reader::{AttachError, AttachOptions, Ring, RingStatus, WriterStatus};
use waldo_terminal::failure::Ended;
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::notice;

/// Time between two looks for a ring that is not there: this at first, then more and more.
const LOOK_MIN: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// How long to wait for a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As long as it takes.
    Forever,
    /// No longer than this.
    For(Duration),
}

/// Reads the value of `--wait`, for clap.
///
/// # Errors
/// What is wrong with it.
pub fn parse_patience(text: &str) -> Result<Patience, String> {
    if text == "forever" {
        return Ok(Patience::Forever);
    }
    humantime::parse_duration(text)
        .map(Patience::For)
        .map_err(|_| format!("`{text}` is no time to wait: write it like 30s or 5m, or forever"))
}

/// A ring, and whether it had to be waited for.
pub struct Attached {
    /// The ring.
    pub ring: Ring,
    /// It was not there at first.
    pub waited: bool,
}

/// Attaches to the ring in `home`. Without patience, a ring that is not there is an error.
///
/// # Errors
/// What attaching meets; [`Ended`] if a signal came while there was no ring. `given_up` is asked at each look
/// and may end the wait too.
pub fn attach(
    home: &Path,
    options: &AttachOptions,
    patience: Option<Patience>,
    interrupt: &Interrupt,
    given_up: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<Attached> {
    let started = Instant::now();
    let (mut pause, mut waited) = (LOOK_MIN, false);
    loop {
        let error = match Ring::attach_with(home, options.clone()) {
            Ok(ring) => return Ok(Attached { ring, waited }),
            Err(error) => error,
        };
        let left = match patience {
            None => Duration::ZERO,
            Some(Patience::Forever) => Duration::MAX,
            Some(Patience::For(time)) => time.saturating_sub(started.elapsed()),
        };
        if left.is_zero() || !is_missing(&error) {
            return Err(error.into());
        }
        if !waited {
            notice!("waldo: {}: no ring here yet; waiting for one", home.display());
            waited = true;
        }
        given_up()?;
        if let Some(signal) = interrupt.sleep(pause.min(left))? {
            return Err(Ended(signal).into());
        }
        pause = (pause * 2).min(LOOK_MAX);
    }
}

/// How the ring is, once that can be said: as long as a writer reads the files before it goes on, nothing
/// says where the log ends, and a ring full of records would pass for an empty one. A writer that was killed
/// meanwhile counts as gone soon.
///
/// # Errors
/// What looking meets, and [`Ended`].
pub fn settle(ring: &Ring, interrupt: &Interrupt) -> anyhow::Result<RingStatus> {
    let started = Instant::now();
    let (mut pause, mut told) = (LOOK_MIN, false);
    loop {
        let status = ring.status()?;
        if status.writer != WriterStatus::Recovering {
            return Ok(status);
        }
        if !told && started.elapsed() >= LOOK_MAX {
            notice!("waldo: {}: waiting for the writer, which is opening the ring", ring.home().display());
            told = true;
        }
        if let Some(signal) = interrupt.sleep(pause)? {
            return Err(Ended(signal).into());
        }
        pause = (pause * 2).min(LOOK_MAX);
    }
}

/// Whether the error says that there is no ring, or not yet.
pub fn is_missing(error: &AttachError) -> bool {
    match error {
        AttachError::NotARing { .. } => true,
        AttachError::Io { source, .. } => source.kind() == ErrorKind::NotFound,
        _ => false,
    }
}
