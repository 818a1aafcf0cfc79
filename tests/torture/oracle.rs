//! The parent's log of what was acknowledged, and what readers may be shown by it.

use std::collections::BTreeMap;

/// Which records a life of the writer appended, as far as it is known.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u64,
    /// Known once the next life has begun.
    last: Option<u64>,
}

/// A kill loses nothing that was acknowledged, and nothing that a reader has seen. So every number belongs to
/// one life of the writer, for good.
#[derive(Debug, Default)]
pub struct Oracle {
    lives: BTreeMap<u64, Span>,
    /// The life that began last in the ring of now.
    now: Option<u64>,
    acked: u64,
    /// What readers reported and nobody could judge yet: the writer's own word may come later.
    pending: Vec<(String, u64, u64, u64)>,
}

impl Oracle {
    /// Another ring takes the place of the one there was.
    pub fn new_ring(&mut self) {
        self.now = None;
        self.acked = 0;
    }

    /// A writer has opened the ring, and found it to end at `tip`.
    pub fn live(&mut self, life: u64, tip: u64) -> Result<(), String> {
        if tip < self.acked {
            return Err(format!("record {} was acknowledged, but the log ends at {tip}", self.acked));
        }
        if let Some(span) = self.now.and_then(|before| self.lives.get_mut(&before)) {
            span.last = Some(tip);
        }
        self.lives.insert(life, Span { first: tip + 1, last: None });
        self.now = Some(life);
        self.acked = tip;
        Ok(())
    }

    pub fn acked(&mut self, number: u64) {
        self.acked = self.acked.max(number);
    }

    /// A reader has seen records `first` to `last`, all of `life`.
    pub fn seen(&mut self, who: &str, life: u64, first: u64, last: u64) {
        self.pending.push((who.to_owned(), life, first, last));
    }

    /// Judges what readers have seen. `all`: no writer is left that could still have its say.
    pub fn judge(&mut self, all: bool) -> Result<(), String> {
        let lives = &self.lives;
        let mut wrong = None;
        self.pending.retain(|(who, life, first, last)| match lives.get(life) {
            None if all => {
                wrong =
                    Some(format!("{who} saw records {first} to {last} of life {life}, which nobody lived"));
                false
            }
            None => true,
            Some(span) => {
                if *first < span.first || span.last.is_some_and(|end| *last > end) {
                    wrong = Some(format!(
                        "{who} saw records {first} to {last} of life {life}, which had {span:?}"
                    ));
                }
                // Without its end known it cannot be judged for good.
                wrong.is_none() && span.last.is_none() && !all
            }
        });
        wrong.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oracle_knows_whose_a_record_is() {
        let mut oracle = Oracle::default();
        oracle.live(1, 0).unwrap();
        oracle.acked(10);
        oracle.seen("a", 1, 1, 12);
        oracle.judge(false).unwrap();
        oracle.live(2, 12).unwrap();
        oracle.seen("a", 2, 13, 13);
        oracle.judge(true).unwrap();
        oracle.seen("a", 1, 12, 13);
        assert!(oracle.judge(true).is_err());
        oracle.seen("a", 2, 12, 12);
        assert!(oracle.judge(true).is_err());
        oracle.seen("a", 3, 20, 20);
        oracle.judge(false).unwrap();
        assert!(oracle.judge(true).is_err());
    }

    #[test]
    fn what_was_acknowledged_must_be_there() {
        let mut oracle = Oracle::default();
        oracle.live(1, 0).unwrap();
        oracle.acked(10);
        assert!(oracle.live(2, 9).is_err());
        oracle.new_ring();
        oracle.live(3, 0).unwrap();
    }
}
