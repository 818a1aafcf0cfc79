//! One file: what calls see of it, and what is on the disk.

use super::Choices;
use std::sync::Arc;

pub(super) const SECTOR: usize = 512;

/// A file's content, once as the page cache has it and once as the disk has it.
#[derive(Clone, Default)]
pub(crate) struct File {
    cache: Arc<Vec<u8>>,
    disk: Arc<Vec<u8>>,
    /// Sectors that were written since they were flushed, with every content they had, in the order of the
    /// writes.
    unsynced: Vec<(u32, Arc<[u8; SECTOR]>)>,
    /// Lengths that the file has had since its length was flushed.
    lens: Vec<usize>,
    /// Sectors of which the disk has something else, and that the kernel takes for clean.
    strayed: Vec<u32>,
}

impl File {
    pub(crate) fn len(&self) -> u64 {
        self.cache.len() as u64
    }

    /// What a call sees.
    pub(crate) fn content(&self) -> &[u8] {
        &self.cache
    }

    pub(super) fn read(&self, bytes: &mut [u8], offset: u64) -> usize {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.cache.len());
        let len = bytes.len().min(self.cache.len() - from);
        bytes[..len].copy_from_slice(&self.cache[from..from + len]);
        len
    }

    /// Where the first byte stands that is not zero, or its sector if `offset` lies in front of that; the
    /// file's length if there is none.
    pub(super) fn next_byte(&self, offset: u64) -> u64 {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.cache.len());
        match self.cache[from..].iter().position(|byte| *byte != 0) {
            Some(at) => offset.max(((from + at) / SECTOR * SECTOR) as u64),
            None => self.len(),
        }
    }

    pub(super) fn holds(&self, bytes: &[u8], offset: u64) -> bool {
        self.cache.get(offset as usize..).is_some_and(|rest| rest.starts_with(bytes))
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64, durable: bool) {
        let (from, to) = (offset as usize, offset as usize + bytes.len());
        if bytes.is_empty() {
            return;
        }
        self.grow(to);
        let sectors = (from / SECTOR) as u32..=((to - 1) / SECTOR) as u32;
        if durable {
            Arc::make_mut(&mut self.cache)[from..to].copy_from_slice(bytes);
            self.flush(|sector| sectors.contains(&sector));
            self.strayed.retain(|sector| !sectors.contains(sector));
            // Also what had strayed before is written now.
            self.put_on_disk(sectors);
            self.settle_len();
            return;
        }
        for sector in sectors {
            let start = sector as usize * SECTOR;
            let part = from.max(start)..to.min(start + SECTOR);
            let piece = &bytes[part.start - from..part.end - from];
            let strayed = self.strayed.iter().position(|strayed| *strayed == sector);
            // Written or not, what stands there already is the same; unless the disk has something else.
            if self.cache[part.clone()] == *piece && strayed.is_none() {
                continue;
            }
            if let Some(at) = strayed {
                self.strayed.swap_remove(at);
            }
            Arc::make_mut(&mut self.cache)[part].copy_from_slice(piece);
            self.unsynced.push((sector, Arc::new(sector_of(&self.cache, sector))));
        }
    }

    pub(super) fn grow(&mut self, len: usize) {
        if len > self.cache.len() {
            Arc::make_mut(&mut self.cache).resize(len, 0);
            self.lens.push(len);
        }
    }

    pub(super) fn restore(&mut self, content: &[u8]) {
        let content = Arc::new(content.to_vec());
        *self = File { cache: Arc::clone(&content), disk: content, ..File::default() };
    }

    fn settle_len(&mut self) {
        if self.disk.len() != self.cache.len() {
            Arc::make_mut(&mut self.disk).resize(self.cache.len(), 0);
        }
        self.lens.clear();
    }

    fn put_on_disk(&mut self, sectors: impl Iterator<Item = u32>) {
        for sector in sectors {
            put(Arc::make_mut(&mut self.disk), sector, &sector_of(&self.cache, sector));
        }
    }

    /// Moves those of the unsynced sectors to the disk that are `chosen`, in their newest state.
    fn flush(&mut self, chosen: impl Fn(u32) -> bool) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let (flushed, left): (Vec<_>, Vec<_>) = unsynced.into_iter().partition(|(sector, _)| chosen(*sector));
        self.unsynced = left;
        self.put_on_disk(flushed.into_iter().map(|(sector, _)| sector));
    }

    pub(super) fn sync(&mut self) {
        self.flush(|_| true);
        self.settle_len();
    }

    pub(super) fn unsynced_sectors(&self) -> Vec<u32> {
        let mut sectors: Vec<u32> = self.unsynced.iter().map(|(sector, _)| *sector).collect();
        sectors.sort_unstable();
        sectors.dedup();
        sectors
    }

    /// A flush that failed: the sectors `reached` are on the disk, the others pass for clean.
    pub(super) fn fail_sync(&mut self, reached: &[u32], evicted: bool) {
        let sectors = self.unsynced_sectors();
        self.flush(|sector| reached.contains(&sector));
        self.unsynced.clear();
        self.settle_len();
        self.strayed.extend(sectors.into_iter().filter(|sector| !reached.contains(sector)));
        if evicted {
            self.evict();
        }
    }

    /// Clean pages leave the cache; what is read next comes from the disk.
    pub(super) fn evict(&mut self) {
        for sector in std::mem::take(&mut self.strayed) {
            let old = sector_of(&self.disk, sector);
            put(Arc::make_mut(&mut self.cache), sector, &old);
        }
    }

    pub(super) fn has_strayed(&self) -> bool {
        !self.strayed.is_empty()
    }

    /// What is left of it after a power cut.
    pub(super) fn cut(&self, choices: &mut dyn Choices) -> File {
        choices.turn();
        let mut lens = vec![self.disk.len()];
        lens.extend(&self.lens);
        lens.dedup();
        let len = lens[choices.pick(lens.len())];
        let mut disk = Arc::clone(&self.disk);
        let mut order: Vec<usize> = (0..self.unsynced.len()).collect();
        order.sort_by_key(|n| self.unsynced[*n].0);
        for versions in order.chunk_by(|a, b| self.unsynced[*a].0 == self.unsynced[*b].0) {
            let sector = self.unsynced[versions[0]].0;
            let mut all: Vec<[u8; SECTOR]> = vec![sector_of(&self.disk, sector)];
            all.extend(versions.iter().map(|n| *self.unsynced[*n].1));
            all.dedup();
            let picked = choices.pick(all.len());
            if picked > 0 {
                put(Arc::make_mut(&mut disk), sector, &all[picked]);
            }
        }
        if disk.len() != len {
            Arc::make_mut(&mut disk).resize(len, 0);
        }
        File { cache: Arc::clone(&disk), disk, ..File::default() }
    }
}

fn sector_of(content: &[u8], sector: u32) -> [u8; SECTOR] {
    let from = (sector as usize * SECTOR).min(content.len());
    let to = (from + SECTOR).min(content.len());
    let mut bytes = [0; SECTOR];
    bytes[..to - from].copy_from_slice(&content[from..to]);
    bytes
}

fn put(content: &mut Vec<u8>, sector: u32, bytes: &[u8; SECTOR]) {
    let from = sector as usize * SECTOR;
    if content.len() < from + SECTOR {
        content.resize(from + SECTOR, 0);
    }
    content[from..from + SECTOR].copy_from_slice(bytes);
}
