//! The counts of one reader.

use super::payload::{self, Purpose};
use super::sum::Sum;
use anyhow::bail;
use waldo::reader::Batch;
use waldo_harness::processes::child::now_ns;
use waldo_harness::results::histogram::Latency;

/// What a batch has brought besides the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    None,
    /// The load is over.
    Mark,
    /// Everything is over.
    End,
}

/// A reader's counts.
pub struct Tally {
    size: usize,
    last_seq_no: Option<u64>,
    sum: Sum,
    age: Latency,
    /// The mark has been seen.
    over: bool,
}

impl Tally {
    /// For payloads of `size` bytes.
    pub fn new(size: usize) -> Tally {
        Tally { size, last_seq_no: None, sum: Sum::default(), age: Latency::coarse(), over: false }
    }

    /// Counts a batch that came after waiting. `lapsed` is what the reader has been told it missed, in all.
    pub fn add(&mut self, batch: &Batch, lapsed: u64) -> anyhow::Result<News> {
        let now = now_ns();
        let mut news = News::None;
        let lapsed_now = lapsed != self.sum.lapsed;
        self.sum.lapsed = lapsed;
        let mut oldest = true;
        for record in batch {
            let seq_no = record.seq_no();
            // The writer numbers without gaps, so that every missing record shows.
            let expected = self.last_seq_no.map(|last| last + 1);
            if expected.is_some_and(|expected| expected != seq_no) && !(oldest && lapsed_now) {
                bail!("record {seq_no} follows {}: records are missing", expected.unwrap_or(1) - 1);
            }
            self.last_seq_no = Some(seq_no);
            let Some((purpose, at_ns)) = payload::read(record.data(), self.size) else {
                bail!("record {seq_no} is not what was appended");
            };
            let age = now.saturating_sub(at_ns);
            match purpose {
                // What comes after the mark serves other ends.
                Purpose::Load if self.over => {}
                Purpose::Load => {
                    self.sum.records += 1;
                    self.sum.bytes += record.data().len() as u64;
                    if oldest {
                        self.age.record_ns(age);
                        self.sum.age_max_ns = self.sum.age_max_ns.max(age);
                        self.sum.wakes += 1;
                    }
                }
                Purpose::Mark => (news, self.over) = (News::Mark, true),
                Purpose::Ping => self.sum.pings.push(age),
                Purpose::End => news = News::End,
            }
            oldest = false;
        }
        Ok(news)
    }

    /// What has been counted.
    pub fn sum(&self) -> Sum {
        Sum { age: self.age.to_text(), ..self.sum.clone() }
    }

    /// Notes the CPU time that following took; the first mark counts.
    pub fn set_cpu_ns(&mut self, cpu_ns: u64) {
        if self.sum.cpu_ns == 0 {
            self.sum.cpu_ns = cpu_ns;
        }
    }
}
