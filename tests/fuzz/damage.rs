//! Damage to a ring's files, as a list of steps of eight bytes each. Any bytes are such a list.

use crate::sample::{CONTROL, Sample};
use nix::sys::stat::Mode;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use waldo::protocol::limits::{PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use waldo::protocol::link::Link;
use waldo::protocol::record::{Frame, RawRecord, Record, Seal, Stamp};
use waldo::protocol::record::{PageEnd, RecordNumbers};
use waldo::protocol::{PageSeed, Position, names, payload_hash};

/// Bytes of a step.
pub const STEP: usize = 8;
const SECTOR: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Bytes(Vec<u8>),
    Directory,
    Dangling,
    Fifo,
}

/// Files of a ring, damaged.
pub struct Damaged {
    pub files: BTreeMap<String, Content>,
    /// What the metadata says is not what the writer said last.
    pub meta: bool,
    /// Something was given a right checksum that no writer made: nobody can tell.
    pub forged: bool,
}

impl Damaged {
    /// `sample` after the steps; without its control segment and link unless `control`.
    pub fn new(sample: &Sample, control: bool, steps: &[u8]) -> Damaged {
        let keep = |name: &str| control || (name != CONTROL && name != names::LINK);
        let files = sample.files.iter().filter(|(name, _)| keep(name));
        let files = files.map(|(name, bytes)| (name.clone(), Content::Bytes(bytes.clone()))).collect();
        let mut damaged = Damaged { files, meta: false, forged: false };
        for step in steps.chunks_exact(STEP).take(12) {
            damaged.step(step);
        }
        damaged
    }

    /// Writes the files into `home`, which is empty. The segment is made to belong to that directory.
    pub fn lay(&self, home: &Path) -> std::io::Result<()> {
        for (name, content) in &self.files {
            let path = home.join(name);
            match content {
                Content::Bytes(bytes) if name == CONTROL && bytes.len() >= 112 => {
                    let mut bytes = bytes.clone();
                    let here = fs::metadata(home)?;
                    bytes[96..104].copy_from_slice(&here.dev().to_le_bytes());
                    bytes[104..112].copy_from_slice(&here.ino().to_le_bytes());
                    fs::write(path, bytes)?;
                }
                Content::Bytes(bytes) if name == names::LINK => {
                    // If it is undamaged it is to lead to the segment beside it.
                    match Link::parse(bytes) {
                        Ok(_) => {
                            fs::write(path, Link::Path(home.join(CONTROL).display().to_string()).render())?
                        }
                        Err(_) => fs::write(path, bytes)?,
                    }
                }
                Content::Bytes(bytes) => fs::write(path, bytes)?,
                Content::Directory => fs::create_dir(path)?,
                Content::Dangling => symlink("nowhere", path)?,
                Content::Fifo => nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o640))?,
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &[u8]) {
        let [op, which, place @ .., a, b] = step else { return };
        let place = place.iter().rev().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        let names: Vec<String> = self.files.keys().cloned().collect();
        if names.is_empty() {
            return;
        }
        let name = names[usize::from(*which) % names.len()].clone();
        let other = names[usize::from(*a) % names.len()].clone();
        self.meta |= name == names::META || (matches!(op % 20, 3 | 8 | 9) && other == names::META);
        match op % 20 {
            0..=4 | 10..=12 => self.change(*op % 20, &name, &other, place, (*a, *b)),
            5 => drop(self.files.remove(&name)),
            6 => {
                // Under another number.
                if let Some(content) = self.files.remove(&name) {
                    self.files.insert(renumbered(&name, *a), content);
                }
            }
            7 => {
                let content = self.files[&name].clone();
                self.files.insert(renumbered(&name, *a), content);
            }
            8 => {
                let (one, two) = (self.files[&name].clone(), self.files[&other].clone());
                self.files.insert(name, two);
                self.files.insert(other, one);
            }
            9 => drop(self.files.insert(name, self.files[&other].clone())),
            13 => drop(self.files.insert(name, Content::Directory)),
            14 => drop(self.files.insert(name, Content::Dangling)),
            15 => drop(self.files.insert(name, Content::Fifo)),
            16 => {
                let new =
                    ["scratch-x", "page-zzz", "page-0000000000000000", "page-000000000000ffff", "strange"];
                let content = Content::Bytes(vec![*b; place % 20_000]);
                self.files.insert(new[usize::from(*a) % new.len()].to_owned(), content);
            }
            17 => self.older_meta(),
            18 => self.forge(&name, place, *a, u64::from(*b)),
            _ => self.sign(&name, place, *a),
        }
    }

    fn change(&mut self, op: u8, name: &str, other: &str, place: usize, (a, b): (u8, u8)) {
        let from = match self.files.get(other) {
            Some(Content::Bytes(bytes)) => bytes.clone(),
            _ => return,
        };
        let Some(Content::Bytes(bytes)) = self.files.get_mut(name) else { return };
        if bytes.is_empty() {
            return;
        }
        let at = place % bytes.len();
        match op {
            0 => bytes[at] ^= 1 << (a % 8),
            1 => {
                let end = bytes.len().min(at + usize::from(a));
                bytes[at..end].fill(b);
            }
            2 => {
                let at = at / SECTOR * SECTOR;
                let end = bytes.len().min(at + SECTOR);
                bytes[at..end].fill(0);
            }
            3 => {
                // As it was in another file, or as an earlier page left it.
                let at = at / SECTOR * SECTOR;
                let end = bytes.len().min(at + SECTOR).min(from.len());
                if at < end {
                    bytes[at..end].copy_from_slice(&from[at..end]);
                }
            }
            4 => bytes.truncate(at),
            10 => bytes.resize(bytes.len() + place % 9000, b),
            // From here on.
            11 => bytes[at..].fill(b),
            _ => {
                let word = [0, 1, u64::MAX, 1 << 63, u64::from(b), 4096, 16384][usize::from(a) % 7];
                let at = at & !7;
                if let Some(space) = bytes.get_mut(at..at + 8) {
                    space.copy_from_slice(&word.to_le_bytes());
                }
            }
        }
    }

    /// As after a restore of `ring.meta` from a moment ago.
    fn older_meta(&mut self) {
        self.meta = true;
        if let Some(Content::Bytes(bytes)) = self.files.get_mut(names::META)
            && bytes.len() == 8192
        {
            let counter = |at: usize| bytes[at + 48..at + 56].to_vec();
            let newer =
                if counter(0).iter().rev().cmp(counter(4096).iter().rev()).is_gt() { 0 } else { 4096 };
            bytes[newer..newer + 128].fill(0);
        }
    }

    /// A field of a record, with a checksum that is right.
    fn forge(&mut self, name: &str, place: usize, field: u8, value: u64) {
        self.forged = true;
        let Some(Content::Bytes(bytes)) = self.files.get_mut(name) else { return };
        if bytes.len() < PAGE_HEADER_LEN {
            return;
        }
        let Ok(ring) = bytes[32..48].try_into() else { return };
        let Ok(page) = bytes[48..56].try_into() else { return };
        let seed = PageSeed::new(&ring, u64::from_le_bytes(page));
        let mut at = PAGE_HEADER_LEN;
        let mut left = place % 40;
        while let Some(mut raw) = RawRecord::read(&bytes[at..]) {
            let Ok(frame) = raw.check((bytes.len() - at) as u64) else { return };
            let (Frame::Record(record), true) = (frame, left > 0) else {
                match field % 5 {
                    0 => raw.seq_no = raw.seq_no.wrapping_add(value),
                    1 => raw.prev_seq_no = value,
                    2 => raw.time_ns = value.wrapping_mul(u64::MAX / 255),
                    3 => raw.durable = Position::new(value, 4096 + 8 * value).unwrap_or_default().word(),
                    _ => raw.epoch = value as u32,
                }
                // No header can be made of others.
                if matches!(frame, Frame::Record(_)) && raw.seq_no <= raw.prev_seq_no {
                    return;
                }
                let stamp = Stamp {
                    time_ns: raw.time_ns,
                    durable: Position::from_word(raw.durable),
                    epoch: raw.epoch,
                };
                let signed = match frame {
                    Frame::Seal(_) => Seal::encode(
                        seed,
                        PageEnd { offset: at as u64, last_seq_no: raw.seq_no, records: raw.prev_seq_no },
                        stamp,
                    ),
                    Frame::Record(record) => {
                        let payload = &bytes[at + RECORD_HEADER_LEN..][..record.payload_len()];
                        let numbers = RecordNumbers { seq_no: raw.seq_no, prev_seq_no: raw.prev_seq_no };
                        let hash = payload_hash(payload);
                        Record::encode(seed, at as u32, numbers, payload.len(), hash, stamp)
                    }
                };
                return signed.store(&mut bytes[at..]);
            };
            left -= 1;
            at += record.size();
        }
    }

    /// A field of a page's header, of its footer, or of a slot of the metadata, with a checksum that is
    /// right.
    fn sign(&mut self, name: &str, place: usize, value: u8) {
        self.forged = true;
        let Some(Content::Bytes(bytes)) = self.files.get_mut(name) else { return };
        let starts = [0, bytes.len().saturating_sub(128), 4096];
        let start = starts[place % 3];
        let Some(block) = bytes.get_mut(start..start + 128) else { return };
        block[place / 3 % 124] = value;
        let sum = payload_hash(&block[..124]);
        block[124..].copy_from_slice(&sum.to_le_bytes());
    }
}

fn renumbered(name: &str, by: u8) -> String {
    match names::parse_page(name) {
        Some(id) => names::page((id + u64::from(by)).saturating_sub(4).max(1)),
        None => format!("{name}-{by}"),
    }
}
