//! The demo's result.

use super::outcome::ReaderOutcome;
use super::plan::Geometry;
use super::tally::Sum;
use crate::output::or_closed;
use comfy_table::{Table, presets};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use waldo_terminal::failure::{Outcome, output_error};
use waldo_terminal::notice;
use waldo_terminal::units;

/// Failures that are told one by one.
const FAILURES_SHOWN: usize = 10;

/// Everything the report is made from.
pub struct Report {
    /// What the writer appended.
    pub expected: Sum,
    /// Time it spent appending.
    pub busy: Duration,
    /// What became of each reader.
    pub outcomes: Vec<ReaderOutcome>,
    /// Time until all readers were attached.
    pub attach_time: Duration,
    /// When the writer was told to go, on the shared clock.
    pub started_ns: u64,
    /// The ring.
    pub geometry: Geometry,
}

/// What the readers come to.
#[derive(Default)]
struct Readers {
    verified: u64,
    failures: Vec<String>,
    last_ns: u64,
    private: Vec<u64>,
    proportional: Vec<u64>,
    tables: Vec<u64>,
}

impl Report {
    /// Prints it and says how the demo ended.
    pub fn print(&self, as_json: bool, kept: Option<&Path>) -> anyhow::Result<Outcome> {
        let readers = self.readers();
        let time = Duration::from_nanos(readers.last_ns.saturating_sub(self.started_ns));
        let text = if as_json { self.json(&readers, time) } else { self.table(&readers, time) };
        let mut out = std::io::stdout().lock();
        // Whether anybody reads the table or not, the answer is in the exit code too.
        or_closed(out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(output_error))?;
        for failure in readers.failures.iter().take(FAILURES_SHOWN) {
            notice!("waldo: {failure}");
        }
        if let Some(more) = readers.failures.len().checked_sub(FAILURES_SHOWN + 1) {
            notice!("waldo: and {} more", more + 1);
        }
        if let Some(home) = kept {
            notice!("The ring stays in {0}: try `waldo tail {0}`", home.display());
        }
        Ok(if readers.failures.is_empty() { Outcome::Done } else { Outcome::Bad })
    }

    fn readers(&self) -> Readers {
        let mut readers = Readers::default();
        for (number, fate) in self.outcomes.iter().enumerate() {
            let number = number + 1;
            match fate {
                ReaderOutcome::Verified { sum, at_ns, memory } if *sum == self.expected => {
                    readers.verified += 1;
                    readers.last_ns = readers.last_ns.max(*at_ns);
                    readers.private.push(memory.private);
                    readers.proportional.push(memory.proportional);
                    readers.tables.push(memory.tables);
                }
                ReaderOutcome::Verified { sum, .. } => readers.failures.push(format!(
                    "reader {number} has read something else: {} records, {} bytes, hash {:032x}; \
                     the writer has appended {} records, {} bytes, hash {:032x}",
                    sum.records,
                    sum.bytes,
                    sum.hash,
                    self.expected.records,
                    self.expected.bytes,
                    self.expected.hash
                )),
                ReaderOutcome::Failed(error) => readers.failures.push(format!("reader {number}: {error}")),
                ReaderOutcome::Started | ReaderOutcome::Attached => {
                    readers.failures.push(format!("reader {number} was never heard of again"));
                }
            }
        }
        readers
    }

    fn table(&self, readers: &Readers, time: Duration) -> String {
        let sum = &self.expected;
        let delivered = sum.records * readers.verified;
        let delivered_bytes = sum.bytes * readers.verified;
        let ring = format!("{} x {}", self.geometry.ring_size, units::bytes(self.geometry.page_len));
        let laps =
            if self.geometry.window > 0 { "writer held back for the readers" } else { "holds everything" };
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let rows = [
            ("records", format!("{}, the last of which marks the end", units::count(sum.records))),
            ("bytes of payload", format!("{} ({})", units::count(sum.bytes), units::bytes(sum.bytes))),
            ("ring", format!("{ring}, {laps}")),
            ("hash (XXH3-128)", format!("{:032x}", sum.hash)),
            (
                "readers verified",
                format!("{} / {}", units::count(readers.verified), units::count(self.outcomes.len() as u64)),
            ),
            ("all attached after", units::duration(self.attach_time)),
            (
                "writer appends",
                format!(
                    "{} records/s, {}/s, among all those readers",
                    units::count(units::per_second(sum.records, self.busy)),
                    units::bytes(units::per_second(sum.bytes, self.busy))
                ),
            ),
            ("all delivered after", units::duration(time)),
            (
                "delivered together",
                format!(
                    "{} records/s, {}/s",
                    units::count(units::per_second(delivered, time)),
                    units::bytes(units::per_second(delivered_bytes, time))
                ),
            ),
            (
                "memory of a reader",
                format!(
                    "{} its own, {} with its share of what is shared (median)",
                    units::bytes(median(&readers.private) * 1024),
                    units::bytes(median(&readers.proportional) * 1024)
                ),
            ),
            ("page tables of a reader", format!("{} (median)", units::bytes(median(&readers.tables) * 1024))),
        ];
        for (name, value) in rows {
            table.add_row([name, &value]);
        }
        let verdict = match readers.failures.len() {
            0 => "Every reader has got every record, byte for byte.\n".to_owned(),
            n => {
                format!("{} readers have NOT got every record as it was appended.\n", units::count(n as u64))
            }
        };
        format!("{table}\n{verdict}")
    }

    fn json(&self, readers: &Readers, time: Duration) -> String {
        let sum = &self.expected;
        let value = json!({
            "records": sum.records,
            "bytes": sum.bytes,
            "hash": format!("{:032x}", sum.hash),
            "ring_size": self.geometry.ring_size,
            "page_len": self.geometry.page_len,
            "readers": self.outcomes.len(),
            "verified": readers.verified,
            "attach_seconds": self.attach_time.as_secs_f64(),
            "append_seconds": self.busy.as_secs_f64(),
            "deliver_seconds": time.as_secs_f64(),
            "delivered_records_per_second": units::per_second(sum.records * readers.verified, time),
            "delivered_bytes_per_second": units::per_second(sum.bytes * readers.verified, time),
            "reader_private_kib": median(&readers.private),
            "reader_pss_kib": median(&readers.proportional),
            "reader_page_tables_kib": median(&readers.tables),
        });
        format!("{value}\n")
    }
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_saw_something_else_is_a_failure() {
        let good = Sum { records: 3, bytes: 30, hash: 1 };
        let bad = Sum { hash: 2, ..good.clone() };
        let verified = |sum: &Sum| ReaderOutcome::Verified {
            sum: sum.clone(),
            at_ns: 2_000,
            memory: Default::default(),
        };
        let report = Report {
            expected: good.clone(),
            busy: Duration::from_secs(1),
            outcomes: vec![
                verified(&good),
                verified(&bad),
                ReaderOutcome::Failed("x".into()),
                ReaderOutcome::Attached,
            ],
            attach_time: Duration::ZERO,
            started_ns: 1_000,
            geometry: Geometry { ring_size: 1, page_len: 1 << 20, window: 0 },
        };
        let readers = report.readers();
        assert_eq!((readers.verified, readers.failures.len()), (1, 3));
        assert!(report.table(&readers, Duration::from_secs(1)).contains("3 readers have NOT"));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!((median(&[]), median(&[5]), median(&[9, 1, 5])), (0, 5, 5));
    }
}
