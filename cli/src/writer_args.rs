//! The arguments that all writing commands share, and opening a ring with them.

use crate::capacity_args::CapacityArgs;
use crate::input::{Framing, Long};
use anyhow::Context;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use waldo::reader::{AttachError, Ring};
use waldo::writer::{
    ControlPlace, Durability, GeometryChange, OnFull, Scheduling, Writer, WriterOptions, group_id,
};
use waldo_harness::ring::geometry;
use waldo_harness::scheduling::schedule_this_thread;
use waldo_shm_protocol::limits::{PAYLOAD_LEN_MAX, RECORD_ALIGN, RECORD_HEADER_LEN};
use waldo_shm_protocol::meta::Meta;
use waldo_terminal::capacity::parse_keep;
use waldo_terminal::failure::Usage;
use waldo_terminal::notice;
use waldo_terminal::permissions::parse_mode;
use waldo_terminal::room::shortage;
use waldo_terminal::units::{self, parse_size};

/// Pages of a ring that is made.
const RING_SIZE: u32 = 8;
/// Bytes of its pages.
const PAGE_SIZE: u64 = 64 << 20;

/// How the ring is made and written.
#[derive(clap::Args, Debug)]
pub struct WriterArgs {
    /// Records are length-prefixed (u32 little-endian, then the bytes) instead of lines.
    #[arg(long)]
    pub framed: bool,
    /// Never wait for the disk: records survive the death of this process, but may be lost in a power cut.
    #[arg(long, conflicts_with = "sync_interval")]
    no_sync: bool,
    /// Do not wait for the disk with each append: flush every N milliseconds. A power cut takes the appends
    /// since the last flush. If the disk does not keep up, appends wait.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    sync_interval: Option<u64>,
    #[command(flatten)]
    capacity: CapacityArgs,
    /// Bytes of one page file of a new ring, a multiple of 4 KiB up to 2 GiB. 64M by default.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    page_size: Option<u64>,
    /// Change an existing ring to the given size and --page-size; without this flag an existing ring keeps
    /// its own. With fewer pages the oldest ones are dropped, and the command says so; existing pages keep
    /// their length. `waldo resize` says beforehand what will be dropped, and asks.
    #[arg(long)]
    resize: bool,
    /// What to do when the disk has no room for another page: `stop` ends with an error that names the last
    /// record stored, and nothing in the ring is lost; `drop-oldest` continues with the existing pages, as a
    /// smaller ring, until there is room again.
    #[arg(long, value_name = "WHAT", default_value_t = OnFull::Stop)]
    on_full: OnFull,
    /// Drop pages whose records are all older than this, like 6h, though the ring is not full. Checked when a
    /// page is full, and each minute. The page that is being filled stays.
    #[arg(long, value_name = "TIME", value_parser = parse_keep)]
    keep_for: Option<Duration>,
    /// Read and append at most about this many bytes at a time.
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = parse_size)]
    batch: u64,
    /// What to do with a record that is too long for the ring: `error` leaves it out and says so (exit code 3
    /// at the end), `split` makes several records of it, `truncate` keeps its beginning. The rest of the
    /// input is appended.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Long::Error)]
    pub long_lines: Long,
    /// Put the control segment into this file (on a tmpfs) instead of POSIX shared memory.
    #[arg(long, value_name = "FILE")]
    control: Option<PathBuf>,
    /// Permission bits of the ring's files and its control segment, like 0640: users who may read them may
    /// follow. Changes an existing ring. Without this flag an existing ring keeps its own, and a new ring
    /// gets 0640.
    #[arg(long, value_name = "MODE", value_parser = parse_ring_mode)]
    mode: Option<u32>,
    /// Group of the ring's directory, its files and its control segment, by name or number; this process must
    /// be a member of the group, or have the capability CAP_CHOWN, as root mostly has. Changes an existing
    /// ring. Without this flag an existing ring keeps its group, and a new ring's files get the group of this
    /// process, or that of the directory if that has the set-group-id bit.
    #[arg(long, value_name = "GROUP", value_parser = group_id)]
    group: Option<u32>,
    /// Scheduling of the appending thread: normal, nice:N (-20 to 19), slice:Nus, realtime:N (1 to 99).
    /// realtime keeps appends on time beside tens of thousands of busy readers; realtime and a lower nice
    /// value need CAP_SYS_NICE, or `ulimit -r` and `ulimit -e`.
    #[arg(long, value_name = "CLASS", default_value_t = Scheduling::Normal, hide_default_value = true)]
    scheduling: Scheduling,
    /// Print no summary at the end.
    #[arg(short, long)]
    pub quiet: bool,
}

impl WriterArgs {
    /// How records are told apart in the input.
    pub fn framing(&self) -> Framing {
        if self.framed { Framing::Lengths } else { Framing::Lines }
    }

    /// Bytes to read at a time, at most.
    pub fn batch(&self) -> usize {
        self.batch.clamp(4096, 1 << 30) as usize
    }

    /// The same for the program `waldo-service`.
    ///
    /// # Errors
    /// A flag that it cannot do anything with.
    pub fn for_service(&self) -> Result<Vec<OsString>, Usage> {
        for (flag, given) in [
            ("--framed", self.framed),
            ("--resize", self.resize),
            ("--scheduling", self.scheduling != Scheduling::Normal),
            ("--long-lines", self.long_lines != Long::Error),
        ] {
            if given {
                return Err(Usage(format!(
                    "{flag} is not for a service: leave it out, or --socket and --config"
                )));
            }
        }
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |flag: &str, value: Option<OsString>| {
            if let Some(value) = value {
                arguments.extend([flag.into(), value]);
            }
        };
        let CapacityArgs { ring_size, size, keep, rate } = self.capacity;
        add("--ring-size", ring_size.map(|pages| pages.to_string().into()));
        add("--size", size.map(|bytes| bytes.to_string().into()));
        add("--keep", keep.map(|time| humantime::format_duration(time).to_string().into()));
        add("--rate", rate.map(|bytes| bytes.to_string().into()));
        add("--keep-for", self.keep_for.map(|time| humantime::format_duration(time).to_string().into()));
        let on_full = (self.on_full != OnFull::Stop).then(|| self.on_full.to_string().into());
        add("--on-full", on_full);
        add("--page-size", self.page_size.map(|bytes| bytes.to_string().into()));
        add("--sync-interval", self.sync_interval.map(|ms| ms.to_string().into()));
        add("--control", self.control.clone().map(Into::into));
        add("--mode", self.mode.map(|mode| format!("{mode:04o}").into()));
        add("--group", self.group.map(|group| group.to_string().into()));
        if self.no_sync {
            arguments.push("--no-sync".into());
        }
        Ok(arguments)
    }

    /// Opens the ring, making it if there is none. With `stays`, the control segment is left for the next
    /// writer when this one ends, so that sleeping readers go on at once; without, nothing is left in shared
    /// memory.
    pub fn open(&self, home: &Path, stays: bool) -> anyhow::Result<Writer> {
        let there = ring_meta(home);
        let own = there.map_or((RING_SIZE, PAGE_SIZE), |meta| (meta.ring_size, meta.geometry.page_len()));
        let page_len = self.page_size.unwrap_or(own.1);
        let page = match there {
            Some(meta) if meta.geometry.page_len() == page_len => meta.geometry,
            _ => geometry(page_len)?,
        };
        let ring_size = self.capacity.pages(page)?.unwrap_or(own.0);
        if there.is_some() && (ring_size, page_len) != own {
            self.tell_geometry(home, own, (ring_size, page_len));
        }
        let mut options = WriterOptions::default()
            .ring_size(ring_size)
            .page_len(page_len)
            .index_capacity(page.index_capacity())
            .geometry_change(if self.resize { GeometryChange::Apply } else { GeometryChange::Keep })
            .durability(self.durability())
            .on_full(self.on_full)
            .control(match &self.control {
                Some(path) => ControlPlace::Path(std::path::absolute(path)?),
                None => ControlPlace::Posix,
            })
            .remove_control(!stays);
        (options.mode, options.group, options.keep_for) = (self.mode, self.group, self.keep_for);
        // Before anything is written.
        if there.is_none() {
            let later = match self.on_full {
                OnFull::DropOldest => "its oldest records are dropped early",
                _ => "appends are refused",
            };
            if let Some(told) = shortage(home, ring_size, page_len, later) {
                notice!("waldo: {told}");
            }
        }
        let writer = Writer::open(home, options)
            .with_context(|| format!("cannot open the ring {} for writing", home.display()))?;
        notice::ready();
        schedule_this_thread(self.scheduling)?;
        Ok(writer)
    }

    /// Says which geometry is in force if the arguments name another one, and what a change drops.
    fn tell_geometry(&self, home: &Path, own: (u32, u64), asked: (u32, u64)) {
        let shape = |(pages, len): (u32, u64)| format!("{pages} pages of {}", units::bytes(len));
        if !self.resize {
            notice!(
                "waldo: {} keeps its {}; --resize would change it to {}",
                home.display(),
                shape(own),
                shape(asked)
            );
            return;
        }
        notice!("waldo: {} is changed from {} to {}", home.display(), shape(own), shape(asked));
        let Ok(status) = Ring::attach(home).and_then(|ring| {
            ring.status()
                .map_err(|error| AttachError::Io { path: home.into(), source: std::io::Error::other(error) })
        }) else {
            return;
        };
        let dropped = status.pages.saturating_sub(asked.0.into());
        if dropped > 0 {
            let last = status.oldest_page + dropped - 1;
            notice!(
                "waldo: the oldest {dropped} of its {} pages are dropped (pages {} to {last}), with the records from {} on",
                status.pages,
                status.oldest_page,
                status.oldest_seq_no.unwrap_or(0)
            );
        }
    }

    fn durability(&self) -> Durability {
        match self.sync_interval {
            Some(ms) => Durability::Interval(Duration::from_millis(ms)),
            None if self.no_sync => Durability::PageCache,
            None => Durability::Sync,
        }
    }
}

/// Permission bits that a ring's files can have.
fn parse_ring_mode(text: &str) -> Result<u32, String> {
    let mode = parse_mode(text)?;
    WriterOptions::default().mode(mode).check().map_err(|error| error.to_string())?;
    Ok(mode)
}

/// The metadata of the ring at `home`; `None` if there is none that can be used.
pub fn ring_meta(home: &Path) -> Option<Meta> {
    Ring::metadata(home).ok()
}

/// The longest payload that fits into a record of the ring at `home`, which has been opened.
pub fn payload_limit(home: &Path) -> usize {
    let Some(meta) = ring_meta(home) else { return PAYLOAD_LEN_MAX };
    let room = usize::try_from(meta.geometry.record_size_max()).unwrap_or(usize::MAX);
    ((room & !(RECORD_ALIGN - 1)) - RECORD_HEADER_LEN).min(PAYLOAD_LEN_MAX)
}
