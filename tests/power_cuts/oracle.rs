//! What must be in the ring, whatever happens.

use crate::child::Said;
use nix::time::{ClockId, clock_gettime};

/// A clock that all processes share, in microseconds.
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    now.tv_sec() as u64 * 1_000_000 + now.tv_nsec() as u64 / 1000
}

/// What is known of one ring, over all lives of its writers.
#[derive(Debug, Default)]
pub struct Oracle {
    /// Which life appended what: the first record of each, in ascending order. A life's records end where the
    /// next one's begin.
    begins: Vec<(u64, u64)>,
    /// The last record that was acknowledged as durable, or shown as durable.
    durable: u64,
    /// The last record that was acknowledged at all, by the life that runs.
    acked: u64,
    /// When what was acknowledged and not durable was acknowledged.
    acks: Vec<(u64, u64)>,
    /// The last life promised to survive kills only; the page that `durable` was in, if it is known, and the
    /// page that the log may have reached since.
    cache: Option<(Option<u64>, u64)>,
    /// Such a life has ended with a power cut at some time: the ring may be any number of pages shorter.
    cache_cut: bool,
    /// The smallest ring that it was ever opened as.
    ring_size: Option<u32>,
    /// The page that the log ended in at the last opening.
    page: u64,
    /// What the last opening found: first and last record.
    pub held: (u64, u64),
}

/// What a life that was found to be right came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Records that were acknowledged, not as durable, and are gone.
    pub lost: u64,
    /// When the first of these was acknowledged.
    pub lost_since_us: Option<u64>,
    /// Pages that the log went on by.
    pub pages: u64,
}

/// What an opening found, as the child tells it.
#[derive(Debug, Default)]
pub struct Found {
    pub pages: u64,
    pub cut: u64,
    /// The page that the log ends in.
    pub page: u64,
    pub runs: Vec<(u64, u64, u64)>,
    pub first: u64,
    pub last: u64,
    /// What the child itself held to be wrong.
    pub wrong: Vec<String>,
}

impl Found {
    /// Takes in a line; `true` once the child has told everything.
    pub fn note(&mut self, said: &Said) -> bool {
        let numbers = said.numbers();
        match said.word.as_str() {
            "opened" => (self.pages, self.cut, self.page) = (numbers[0], numbers[1], numbers[2]),
            "run" => self.runs.push((numbers[0], numbers[1], numbers[2])),
            "wrong" => self.wrong.push(said.rest.clone()),
            "ready" => (self.first, self.last) = (numbers[0], numbers[1]),
            _ => {}
        }
        said.word == "ready"
    }
}

impl Oracle {
    /// A writer is about to open the ring with this size.
    pub fn opens(&mut self, ring_size: u32) {
        self.ring_size = Some(self.ring_size.map_or(ring_size, |least| least.min(ring_size)));
    }

    /// The life `life` begins to append behind what it found. `cache`: what it acknowledges is to survive
    /// kills only, and whether it tells how far it may have gone.
    pub fn begins(&mut self, life: u64, cache: Option<bool>) {
        self.cache = cache.map(|tells| (tells.then_some(self.page), self.page));
        self.begins.push((life, self.held.1 + 1));
    }

    /// Takes in what a living writer, or a reader beside it, says.
    pub fn note(&mut self, said: &Said) -> Result<(), String> {
        let number = said.numbers().first().copied().unwrap_or(0);
        match said.word.as_str() {
            "durable" | "seen" => {
                self.durable = self.durable.max(number);
                self.acked = self.acked.max(number);
                if let Some((page, _)) = &mut self.cache {
                    *page = said.numbers().get(1).copied();
                }
            }
            "upto" => {
                if let Some((_, reached)) = &mut self.cache {
                    *reached = number;
                }
            }
            "acked" => {
                self.acked = self.acked.max(number);
                self.acks.extend(said.numbers().get(1).map(|when| (number, *when)));
            }
            "wrong" => return Err(said.rest.clone()),
            _ => {}
        }
        Ok(())
    }

    /// Holds what an opening found against what must be there. After a kill, nothing that was acknowledged
    /// may be gone; after a power cut, nothing durable.
    pub fn judge(&mut self, found: &Found, after_cut: bool) -> Result<Passed, String> {
        if let Some(wrong) = found.wrong.first() {
            return Err(format!("{wrong} ({} in all)", found.wrong.len()));
        }
        let cache = self.cache.filter(|_| after_cut);
        self.cache_cut |= cache.is_some();
        let must = match cache {
            _ if !after_cut => self.acked,
            // As long as nothing can have pushed it out of the ring.
            Some((Some(page), reached)) if reached < page + u64::from(self.ring_size.unwrap_or(1)) => {
                self.durable
            }
            Some(_) => 0,
            None => self.durable,
        };
        if found.last < must {
            let what = if after_cut { "durable" } else { "acknowledged" };
            return Err(format!("record {must} was {what}, but the log ends at {}", found.last));
        }
        let mut expected = found.first;
        for (life, first, last) in &found.runs {
            if *first != expected {
                return Err(format!("records {expected} to {} are missing", first - 1));
            }
            for seq_no in [*first, *last] {
                let owner = self.owner(seq_no);
                if owner != Some(*life) {
                    return Err(format!("record {seq_no} is of life {life}, and should be of {owner:?}"));
                }
            }
            expected = last + 1;
        }
        if expected != found.last + 1 && found.last > 0 {
            return Err(format!("the log was read up to {}, and ends at {}", expected - 1, found.last));
        }
        let least = u64::from(self.ring_size.unwrap_or(1));
        if found.first > 1 && found.pages < least && !self.cache_cut {
            return Err(format!(
                "records before {} are gone, but there are {} pages only, of {least} at least",
                found.first, found.pages
            ));
        }
        let passed = Passed {
            lost: self.acked.saturating_sub(found.last),
            lost_since_us: self.acks.iter().find(|(number, _)| *number > found.last).map(|(_, when)| *when),
            pages: found.page.saturating_sub(self.page),
        };
        // Whoever opens a ring makes what is found there durable, before it takes more.
        self.durable = found.last;
        self.acked = found.last;
        self.acks.clear();
        self.begins.retain(|(_, first)| *first <= found.last);
        self.held = (found.first, found.last);
        self.page = found.page;
        self.cache = None;
        Ok(passed)
    }

    fn owner(&self, seq_no: u64) -> Option<u64> {
        self.begins.iter().rev().find(|(_, first)| *first <= seq_no).map(|(life, _)| *life)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(word: &str, rest: &str) -> Said {
        Said { word: word.to_owned(), rest: rest.to_owned() }
    }

    fn found(pages: u64, runs: &[(u64, u64, u64)]) -> Found {
        let first = runs.first().map_or(0, |run| run.1);
        let last = runs.last().map_or(0, |run| run.2);
        Found { pages, runs: runs.to_vec(), first, last, ..Found::default() }
    }

    /// A ring of two pages: life 1 appended up to 10, of which 7 are durable.
    fn oracle() -> Oracle {
        let mut oracle = Oracle::default();
        oracle.opens(2);
        assert_eq!(oracle.judge(&found(0, &[]), true), Ok(Passed::default()));
        oracle.begins(1, None);
        oracle.note(&said("durable", "7")).unwrap();
        oracle.note(&said("acked", "10 5")).unwrap();
        oracle
    }

    #[test]
    fn the_oracle_lets_pass_what_may_be() {
        assert_eq!(
            oracle().judge(&found(2, &[(1, 1, 7)]), true),
            Ok(Passed { lost: 3, lost_since_us: Some(5), pages: 0 })
        );
        assert_eq!(oracle().judge(&found(2, &[(1, 4, 10)]), false), Ok(Passed::default()));
        // Not acknowledged, but there.
        assert_eq!(oracle().judge(&found(2, &[(1, 4, 12)]), true), Ok(Passed::default()));
        let mut oracle = oracle();
        oracle.judge(&found(2, &[(1, 1, 8)]), true).unwrap();
        oracle.begins(2, None);
        assert_eq!(oracle.judge(&found(2, &[(1, 5, 8), (2, 9, 9)]), true), Ok(Passed::default()));
    }

    #[test]
    fn a_ring_in_the_page_cache_keeps_what_nothing_has_pushed_out() {
        let cached = |upto: &str| {
            let mut oracle = oracle();
            oracle.judge(&Found { page: 5, ..found(2, &[(1, 1, 8)]) }, true).unwrap();
            oracle.begins(2, Some(true));
            oracle.note(&said("durable", "20 6")).unwrap();
            oracle.note(&said("upto", upto)).unwrap();
            oracle.note(&said("acked", "30 9")).unwrap();
            oracle
        };
        assert!(cached("7").judge(&found(1, &[(2, 12, 19)]), true).is_err());
        assert!(cached("7").judge(&found(1, &[(2, 12, 20)]), true).is_ok());
        assert!(cached("8").judge(&found(0, &[]), true).is_ok());
        assert!(cached("8").judge(&found(1, &[(2, 12, 29)]), false).is_err());
        assert!(cached("8").judge(&found(1, &[(1, 7, 8), (2, 10, 11)]), true).is_err());
    }

    #[test]
    fn the_oracle_sees_every_kind_of_loss() {
        let bad = |found: Found, after_cut| oracle().judge(&found, after_cut).unwrap_err();
        assert!(bad(found(2, &[(1, 1, 6)]), true).contains("durable"));
        assert!(bad(found(0, &[]), true).contains("durable"));
        assert!(bad(found(2, &[(1, 1, 9)]), false).contains("acknowledged"));
        assert!(bad(found(2, &[(1, 1, 3), (1, 5, 10)]), true).contains("missing"));
        assert!(bad(found(2, &[(9, 1, 10)]), true).contains("life"));
        assert!(bad(found(1, &[(1, 4, 10)]), true).contains("pages only"));
        let wrong = Found { wrong: vec!["x".into()], ..found(2, &[(1, 1, 10)]) };
        assert!(bad(wrong, true).contains('x'));
        let mut oracle = oracle();
        oracle.judge(&found(2, &[(1, 1, 8)]), true).unwrap();
        oracle.begins(2, None);
        // Records 9 and 10 of life 1 had been lost, and told so.
        assert!(oracle.judge(&found(2, &[(1, 1, 10)]), true).unwrap_err().contains("life"));
    }
}
