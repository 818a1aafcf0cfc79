//! The kernel writes back dirty pages when it likes and in the order that it likes. Here it is made to do so
//! often.
#![allow(unsafe_code, reason = "sync_file_range has no safe wrapper")]

use crate::dice::Dice;
use nix::libc;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A thread that sends pieces of the ring's files to the disk, and now and then commits the journal. Ends
/// when dropped.
pub struct Writeback {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writeback {
    pub fn start(home: &Path, seed: u64) -> Writeback {
        let end = Arc::new(AtomicBool::new(false));
        let (home, told) = (home.to_owned(), Arc::clone(&end));
        let thread = thread::spawn(move || {
            let mut dice = Dice::new(seed);
            // Each open file is one that cannot be recycled at that moment: not too often.
            let pause = Duration::from_micros(dice.pick(&[500, 5_000, 20_000]));
            let journal = dice.pick(&[0, 5, 30]);
            while !told.load(Ordering::Relaxed) {
                // The ring goes on meanwhile: what is gone is gone.
                let _ = one(&home, &mut dice, journal);
                thread::sleep(dice.time(pause));
            }
        });
        Writeback { end, thread: Some(thread) }
    }
}

impl Drop for Writeback {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        self.thread.take().into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn one(home: &Path, dice: &mut Dice, journal: u64) -> std::io::Result<()> {
    if dice.chance(journal) {
        return File::open(home)?.sync_all();
    }
    let names: Vec<_> = fs::read_dir(home)?.map_while(Result::ok).map(|entry| entry.path()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let file = File::open(&names[dice.within(0..=names.len() as u64 - 1) as usize])?;
    let len = file.metadata()?.len().max(4096);
    let (from, count) =
        if dice.chance(50) { (0, 4096) } else { (dice.within(0..=len - 1), dice.within(1..=len)) };
    // SAFETY: passes integers only.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), from as i64, count as i64, libc::SYNC_FILE_RANGE_WRITE);
    }
    Ok(())
}
