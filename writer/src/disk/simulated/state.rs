//! Everything that is on a simulated disk, and what changes it.

use super::file::File;
use super::{Choices, Rng};
use std::collections::BTreeMap;

/// One change. Replayed on the same state, a journal of them leads to the same state.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(Box<str>),
    Rename(Box<str>, Box<str>),
    Remove(Box<str>),
    SyncDir,
    Write {
        inode: usize,
        offset: u64,
        bytes: Box<[u8]>,
        durable: bool,
    },
    SyncData(usize),
    FailedSync {
        inode: usize,
        reached: Vec<u32>,
        evicted: bool,
    },
    Allocate {
        inode: usize,
        len: u64,
    },
    /// Changes nothing: from here on this is known.
    Note(Known),
}

/// What whoever appends has been told so far. Numbers are sequence numbers, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Survives the process.
    pub(crate) committed: u64,
    /// Survives the machine.
    pub(crate) durable: u64,
    /// The highest epoch that anyone has seen.
    pub(crate) epoch: u32,
    /// Nothing before this record is asked for: it had left the ring before.
    pub(crate) floor: u64,
    /// Nothing but order has been promised for a power cut.
    pub(crate) order_only: bool,
    /// Pages of the ring.
    pub(crate) ring_size: u32,
    /// The ring was closed: nothing is left to be mended.
    pub(crate) closed: bool,
}

/// Changes of names. Files are numbers of inodes.
#[derive(Clone, Debug)]
enum Change {
    Set(Box<str>, usize),
    Rename(Box<str>, Box<str>),
    Remove(Box<str>),
}

type Names = BTreeMap<Box<str>, usize>;

#[derive(Clone, Default)]
pub(crate) struct State {
    files: Vec<File>,
    names: Names,
    names_on_disk: Names,
    /// Since the directory was last flushed.
    changes: Vec<Change>,
    /// A flush has failed since a writer was last open, so that also the page cache may have lost something.
    flush_failed: bool,
    /// Of the writer that was last open.
    epoch: u32,
}

fn change(names: &mut Names, change: &Change) {
    match change {
        Change::Set(name, inode) => drop(names.insert(name.clone(), *inode)),
        Change::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        Change::Remove(name) => drop(names.remove(name)),
    }
}

impl State {
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    pub(super) fn name_of(&self, inode: usize) -> Option<String> {
        self.names.iter().find(|(_, named)| **named == inode).map(|(name, _)| name.to_string())
    }

    /// The name that the last change since a flush of the directory led to.
    pub(super) fn last_change(&self) -> &str {
        match self.changes.last() {
            Some(Change::Set(name, _) | Change::Rename(_, name) | Change::Remove(name)) => name,
            None => "",
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.names.keys().map(|name| name.to_string()).collect()
    }

    pub(crate) fn file(&self, inode: usize) -> &File {
        &self.files[inode]
    }

    /// What a file holds for whoever reads it; `None` if there is no such file.
    pub(crate) fn content(&self, name: &str) -> Option<&[u8]> {
        Some(self.file(self.find(name)?).content())
    }

    /// Puts an old content back into a file that is there, as whoever restores a backup does.
    pub(crate) fn restore(&mut self, name: &str, content: &[u8]) {
        if let Some(inode) = self.find(name) {
            self.files[inode].restore(content);
        }
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Create(name) => {
                self.files.push(File::default());
                self.rename(Change::Set(name.clone(), self.files.len() - 1));
            }
            Op::Rename(from, to) => self.rename(Change::Rename(from.clone(), to.clone())),
            Op::Remove(name) => self.rename(Change::Remove(name.clone())),
            Op::SyncDir => {
                self.names_on_disk.clone_from(&self.names);
                self.changes.clear();
            }
            Op::Write { inode, offset, bytes, durable } => {
                self.files[*inode].write(bytes, *offset, *durable);
            }
            Op::SyncData(inode) => self.files[*inode].sync(),
            Op::FailedSync { inode, reached, evicted } => {
                self.files[*inode].fail_sync(reached, *evicted);
                self.flush_failed = true;
            }
            Op::Allocate { inode, len } => self.files[*inode].grow(*len as usize),
            Op::Note(known) => {
                self.flush_failed &= known.epoch == self.epoch;
                self.epoch = known.epoch;
            }
        }
    }

    fn rename(&mut self, by: Change) {
        change(&mut self.names, &by);
        self.changes.push(by);
    }

    /// What is left after a power cut.
    pub(crate) fn cut(&self, choices: &mut dyn Choices) -> State {
        choices.turn();
        let kept = choices.pick(self.changes.len() + 1);
        let mut names = self.names_on_disk.clone();
        for by in &self.changes[..kept] {
            change(&mut names, by);
        }
        let mut files = Vec::with_capacity(names.len());
        let mut numbers: Vec<(usize, usize)> = Vec::with_capacity(names.len());
        for inode in names.values_mut() {
            // Two names of one file stay two names of one file.
            let number = match numbers.iter().find(|(old, _)| old == inode) {
                Some((_, number)) => *number,
                None => {
                    files.push(self.files[*inode].cut(choices));
                    numbers.push((*inode, files.len() - 1));
                    files.len() - 1
                }
            };
            *inode = number;
        }
        State { files, names_on_disk: names.clone(), names, epoch: self.epoch, ..State::default() }
    }

    /// What is left after the process was killed: all of it, but for clean pages that may leave the cache.
    pub(crate) fn kill(&self, rng: &mut Rng) -> State {
        let mut state = self.clone();
        for file in state.files.iter_mut().filter(|file| file.has_strayed()) {
            if rng.one_in(2) {
                file.evict();
            }
        }
        state
    }

    /// Whether a flush has failed, so that bytes may have left the page cache that were never on the disk.
    pub(crate) fn flush_failed(&self) -> bool {
        self.flush_failed
    }

    /// How much a power cut could change: name changes, and sectors.
    pub(crate) fn at_stake(&self) -> (usize, usize) {
        let sectors = self.names.values().map(|inode| self.files[*inode].unsynced_sectors().len()).sum();
        (self.changes.len(), sectors)
    }
}
