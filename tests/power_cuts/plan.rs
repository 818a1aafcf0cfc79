//! How one life of the writer goes: options, load, and end, all of them thrown.

use crate::args::Args;
use crate::dice::Dice;
use std::path::Path;
use std::time::Duration;
use waldo::writer::{Durability, GeometryChange, Io, WriterOptions};

/// The durabilities as they are drawn and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Sync,
    /// Flushes by itself every millisecond or few.
    Short,
    /// Flushes only when it is asked to, as long as a life lasts.
    Long,
    /// Promises a kill only.
    Cache,
}

impl Mode {
    pub const ALL: [Mode; 4] = [Mode::Sync, Mode::Short, Mode::Long, Mode::Cache];

    pub fn name(self) -> &'static str {
        match self {
            Mode::Sync => "sync",
            Mode::Short => "interval, short",
            Mode::Long => "interval, long",
            Mode::Cache => "page cache",
        }
    }
}

/// A life, as it travels to the child.
#[derive(Clone, Debug)]
pub struct Plan {
    pub io: Io,
    pub mode: Mode,
    interval_us: u64,
    pub ring_size: u32,
    pub page_len: u64,
    /// Longest payload.
    max: usize,
    /// Most records in an append.
    batch: u64,
    /// One in so many appends is followed by `sync()`; 0 for none.
    sync_every: u64,
    shared: bool,
    /// Whether a reader of durable records follows in the child.
    follow: bool,
    prepare_ahead: bool,
    geometry: u64,
    seed: u64,
}

impl Plan {
    pub fn throw(dice: &mut Dice) -> Plan {
        let mode = dice.pick(&Mode::ALL);
        Plan {
            io: dice.pick(&Io::ALL),
            mode,
            interval_us: match mode {
                Mode::Sync | Mode::Cache => 0,
                Mode::Short => dice.pick(&[1_000, 5_000, 20_000]),
                Mode::Long => 3_600_000_000,
            },
            ring_size: dice.pick(&[1, 2, 3, 4, 6]),
            page_len: dice.pick(&[16, 16, 32, 64, 128]) << 10,
            max: dice.pick(&[60, 300, 600, 3000]),
            batch: dice.pick(&[1, 5, 20, 60]),
            sync_every: dice.pick(&[0, 10, 50, 200]),
            shared: dice.chance(40),
            follow: dice.chance(40),
            prepare_ahead: !dice.chance(10),
            geometry: dice.within(0..=3),
            seed: dice.next(),
        }
    }

    /// Of a ring that has many files, each append durable.
    pub fn of_many_pages(dice: &mut Dice) -> Plan {
        Plan {
            io: Io::Pwrite,
            mode: Mode::Sync,
            interval_us: 0,
            ring_size: 40,
            page_len: 16 << 10,
            max: 600,
            batch: 20,
            sync_every: 0,
            shared: false,
            follow: false,
            prepare_ahead: true,
            geometry: 0,
            seed: dice.next(),
        }
    }

    /// For a life that promises to survive kills only: whether it tells how far it may have gone.
    pub fn cache(&self) -> Option<bool> {
        (self.mode == Mode::Cache).then_some(!self.shared)
    }

    pub fn args(&self, home: &Path, life: u64) -> Args {
        let io = match self.io {
            Io::Auto => "auto",
            Io::Uring => "uring",
            Io::Pwrite => "pwrite",
        };
        Args::new()
            .with("home", home.display())
            .with("life", life)
            .with("io", io)
            .with("interval", self.interval_us)
            .with("cache", u8::from(self.mode == Mode::Cache))
            .with("geometry", self.geometry)
            .with("ring_size", self.ring_size)
            .with("page_len", self.page_len)
            .with("max", self.max)
            .with("batch", self.batch)
            .with("sync_every", self.sync_every)
            .with("shared", u8::from(self.shared))
            .with("follow", u8::from(self.follow))
            .with("prepare_ahead", u8::from(self.prepare_ahead))
            .with("seed", self.seed)
    }
}

/// The writer's options in a child that was given the arguments of a plan, with `mode` and `group` if these
/// are to change.
pub fn options(args: &Args) -> WriterOptions {
    let mut options = WriterOptions::default()
        .ring_size(args.number("ring_size") as u32)
        .page_len(args.number("page_len"))
        .index_capacity(32)
        .index_sparse_bytes(1024)
        .index_sparse_count(16)
        .geometry_change(match args.number("geometry") {
            0 => GeometryChange::Keep,
            1 => GeometryChange::Grow,
            _ => GeometryChange::Apply,
        })
        .durability(match args.number("interval") {
            0 if args.number("cache") == 1 => Durability::PageCache,
            0 => Durability::Sync,
            micros => Durability::Interval(Duration::from_micros(micros)),
        })
        .io(match args.get("io") {
            "auto" => Io::Auto,
            "uring" => Io::Uring,
            _ => Io::Pwrite,
        })
        .buffers(4)
        .buffer_len(16 << 10)
        .heartbeat(Duration::from_millis(50))
        .prepare_ahead(args.number("prepare_ahead") == 1);
    let number = |name| args.has(name).then(|| args.number(name) as u32);
    (options.mode, options.group) = (number("mode"), number("group"));
    options
}
