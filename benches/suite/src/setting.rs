//! The arguments that all measurements share, and the plan that results.

use clap::ValueEnum;
use std::path::PathBuf;
use std::time::Duration;
use waldo::writer::Io;
use waldo_harness::results::report;
use waldo_harness::ring::index_capacity;
use waldo_shm_protocol::limits::{PAYLOAD_LEN_MAX, RECORD_ALIGN, RECORD_HEADER_LEN, RING_SIZE_MAX};
use waldo_shm_protocol::page::PageGeometry;
use waldo_terminal::failure::Usage;
use waldo_terminal::units::{self, parse_size};

/// How long and how large, where, and what becomes of the results.
#[derive(clap::Args, Clone, Debug)]
pub struct Setting {
    /// Time for one row, ours and its floor together; rows that need more take it.
    #[arg(long, default_value = "1", value_parser = parse_seconds)]
    seconds: f64,
    /// Bytes of one page file, a multiple of 4 KiB up to 2 GiB; the goals are given for 64M.
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = parse_size)]
    page_size: u64,
    /// Pages in the ring.
    #[arg(long, value_name = "PAGES", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(3..=i64::from(RING_SIZE_MAX)))]
    ring_size: u32,
    /// How the writer writes.
    #[arg(long, value_enum, default_value_t = IoArg::Auto)]
    io: IoArg,
    /// Measure on the file system of this directory, which has to exist; everything made there is removed at
    /// the end [default: $TMPDIR, or /var/tmp].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print everything as JSON.
    #[arg(long)]
    pub json: bool,
    /// Also write STEM.html, with plots, and STEM.json.
    #[arg(long, value_name = "STEM")]
    pub report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum IoArg {
    /// What is found to be faster.
    Auto,
    /// Always io_uring.
    Uring,
    /// Always pwrite.
    Pwrite,
}

/// How large and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For one row.
    pub time: Duration,
    pub page_len: u64,
    pub ring_size: u32,
    pub index_capacity: u32,
    pub io: Io,
    /// Rounds of a row, at least.
    pub rounds_min: usize,
}

impl Setting {
    /// Checks what can be checked before anything is measured.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        if let Some(stem) = &self.report {
            report::check_stem(stem)?;
        }
        Ok(Plan {
            time: Duration::from_secs_f64(self.seconds),
            page_len: self.page_size,
            ring_size: self.ring_size,
            index_capacity: index_capacity(self.page_size)?,
            io: match self.io {
                IoArg::Auto => Io::Auto,
                IoArg::Uring => Io::Uring,
                IoArg::Pwrite => Io::Pwrite,
            },
            rounds_min: if self.seconds < 0.2 { 1 } else { 5 },
        })
    }

    /// Where to make rings.
    pub fn dir(&self) -> PathBuf {
        let named = self.dir.clone().or_else(|| std::env::var_os("TMPDIR").map(PathBuf::from));
        named.unwrap_or_else(|| PathBuf::from("/var/tmp"))
    }
}

impl Plan {
    /// `n` in a row of a second or more, less in a shorter one.
    pub fn share(&self, n: usize) -> usize {
        ((n as f64 * self.time.as_secs_f64().min(1.0)) as usize).max(1)
    }

    /// For one point of a curve of many.
    pub fn briefly(&self) -> Plan {
        Plan { time: self.time / 4, rounds_min: self.rounds_min.min(3), ..self.clone() }
    }

    /// Bytes of all pages.
    pub fn ring_bytes(&self) -> u64 {
        self.page_len * u64::from(self.ring_size)
    }

    /// Refuses records that no page has room for, or that are empty.
    pub fn check_payloads(&self, sizes: &[u64]) -> anyhow::Result<Vec<usize>> {
        let room = PageGeometry::new(self.page_len, self.index_capacity)
            .map_or(0, |geometry| geometry.record_size_max() as usize & !(RECORD_ALIGN - 1));
        let max = room.saturating_sub(RECORD_HEADER_LEN).min(PAYLOAD_LEN_MAX) as u64;
        let check = |size: &u64| match *size {
            1.. if *size <= max => Ok(*size as usize),
            _ => Err(Usage(format!(
                "a record of {size} bytes is not possible here: --size takes 1 to {max} with pages of {}",
                units::bytes(self.page_len)
            ))
            .into()),
        };
        sizes.iter().map(check).collect()
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds @ 0.001..=3600.0) => Ok(seconds),
        _ => Err(format!("`{text}` is no time for a row: give seconds from 0.001 to 3600, as in 0.5")),
    }
}
