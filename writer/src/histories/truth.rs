//! What was appended, known apart from anything that the writer wrote.

/// A record that was to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) seq_no: u64,
    /// The life of the writer that appended it: a number that is given again is another record.
    pub(super) life: u32,
    pub(super) len: u32,
}

/// First bytes of each payload that is long enough.
const MAGIC: u64 = u64::from_le_bytes(*b"TRUTHFUL");
/// Payloads of so many bytes tell which record they belong to.
pub(super) const TELLING: usize = 24;

impl Entry {
    /// Hands `each` the payload, eight bytes at a time; the last ones may be too many.
    fn words(&self) -> impl Iterator<Item = u64> {
        let mut state = self.seq_no ^ u64::from(self.life) << 48 ^ u64::from(self.len) << 32;
        let head = [MAGIC, self.seq_no, u64::from(self.life) | u64::from(self.len) << 32];
        let head = if self.len as usize >= TELLING { &head[..] } else { &[] };
        let head: Vec<u64> = head.to_vec();
        head.into_iter().chain(std::iter::repeat_with(move || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            state ^ state >> 33
        }))
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        let len = self.len as usize;
        let mut bytes: Vec<u8> = self.words().take(len.div_ceil(8)).flat_map(u64::to_le_bytes).collect();
        bytes.truncate(len);
        bytes
    }

    pub(super) fn is_payload(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.len as usize
            && self
                .words()
                .zip(bytes.chunks(8))
                .all(|(word, bytes)| word.to_le_bytes()[..bytes.len()] == *bytes)
    }

    /// The record whose payload seems to start at `bytes`.
    pub(super) fn told_by(bytes: &[u8]) -> Option<Entry> {
        let word = |n: usize| Some(u64::from_le_bytes(bytes.get(8 * n..8 * n + 8)?.try_into().ok()?));
        (word(0)? == MAGIC).then_some(())?;
        let third = word(2)?;
        Some(Entry { seq_no: word(1)?, life: third as u32, len: (third >> 32) as u32 })
    }
}

/// Every record that may be in the ring, in order. Those at the front may have left it.
#[derive(Clone, Debug, Default)]
pub(super) struct Truth(pub(super) Vec<Entry>);

impl Truth {
    pub(super) fn tip(&self) -> u64 {
        self.0.last().map_or(0, |entry| entry.seq_no)
    }

    /// Where the first record is that has this number or a higher one.
    pub(super) fn place(&self, seq_no: u64) -> usize {
        self.0.partition_point(|entry| entry.seq_no < seq_no)
    }

    pub(super) fn find(&self, seq_no: u64) -> Option<&Entry> {
        self.0.get(self.place(seq_no)).filter(|entry| entry.seq_no == seq_no)
    }

    /// What comes after `seq_no` never was.
    pub(super) fn end_at(&mut self, seq_no: u64) {
        self.0.truncate(self.place(seq_no + 1));
    }
}
