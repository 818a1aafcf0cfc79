//! What a process has seen of the log, summed up so that it can be compared.

use xxhash_rust::xxh3::Xxh3;

/// Counts and hashes records. Writer and readers each keep one, and in the end they must be the same.
pub struct Tally {
    records: u64,
    bytes: u64,
    last_seq_no: u64,
    hash: Xxh3,
}

/// A tally at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Records.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// XXH3-128 over number, length and payload of every record.
    pub hash: u128,
}

impl Tally {
    /// Before the first record.
    pub fn new() -> Tally {
        Tally { records: 0, bytes: 0, last_seq_no: 0, hash: Xxh3::new() }
    }

    /// Takes a record in.
    #[inline]
    pub fn add(&mut self, seq_no: u64, payload: &[u8]) {
        self.records += 1;
        self.bytes += payload.len() as u64;
        self.last_seq_no = seq_no;
        let mut head = [0; 16];
        head[..8].copy_from_slice(&seq_no.to_le_bytes());
        head[8..].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        self.hash.update(&head);
        self.hash.update(payload);
    }

    /// Takes a record in that was read, if it is the one that has to come next.
    ///
    /// # Errors
    /// What is wrong with its numbers.
    #[inline]
    pub fn follow(&mut self, seq_no: u64, prev_seq_no: u64, payload: &[u8]) -> Result<(), String> {
        if prev_seq_no != self.last_seq_no || seq_no != self.last_seq_no + 1 {
            return Err(format!(
                "after record {} comes record {seq_no}, which names {prev_seq_no} as its predecessor",
                self.last_seq_no
            ));
        }
        self.add(seq_no, payload);
        Ok(())
    }

    /// Number of the last record.
    pub fn last_seq_no(&self) -> u64 {
        self.last_seq_no
    }

    /// What it comes to.
    pub fn sum(&self) -> Sum {
        Sum { records: self.records, bytes: self.bytes, hash: self.hash.digest128() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(records: &[(u64, &[u8])]) -> Sum {
        let mut tally = Tally::new();
        for (seq_no, payload) in records {
            tally.add(*seq_no, payload);
        }
        tally.sum()
    }

    #[test]
    fn every_difference_shows() {
        let good = sum(&[(1, b"ab"), (2, b"c")]);
        assert_eq!(good, sum(&[(1, b"ab"), (2, b"c")]));
        for other in [
            sum(&[(1, b"a"), (2, b"bc")]),
            sum(&[(2, b"c"), (1, b"ab")]),
            sum(&[(1, b"ab"), (3, b"c")]),
            sum(&[(1, b"aB"), (2, b"c")]),
            sum(&[(1, b"ab")]),
        ] {
            assert_ne!(good.hash, other.hash);
        }
    }

    #[test]
    fn a_gap_and_a_repetition_are_refused() {
        let mut tally = Tally::new();
        assert!(tally.follow(1, 0, b"").is_ok());
        assert!(tally.follow(1, 0, b"").is_err());
        assert!(tally.follow(3, 2, b"").is_err());
        assert!(tally.follow(2, 1, b"").is_ok());
    }
}
