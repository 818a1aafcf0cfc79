//! What the program is to do: the same from a TOML file and from the command line.

mod check;
mod read;
#[cfg(test)]
mod tests;
mod value;

use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::Spanned;
use waldo::protocol::limits::RING_SIZE_MAX;
use waldo::protocol::meta::Meta;
use waldo::protocol::page::PageGeometry;
use waldo::writer::{ControlPlace, Durability, OnFull, WriterOptions};
use waldo_service::ServiceOptions;
use waldo_terminal::capacity::{Capacity, ChosenPages, PageRoom};
use waldo_terminal::units;

pub use check::check;
pub use read::{ConfigError, read};
pub use value::{Bytes, GroupId, Mode, Rate, Time};
pub use value::{parse_bytes, parse_group, parse_keep, parse_mode, parse_rate};

/// A configuration. A test compares the keys with `docs/OPERATIONS.md`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub log: LogConfig,
    pub http: HttpConfig,
    #[serde(rename = "ring")]
    pub rings: Vec<RingConfig>,
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// What is told: a level, or directives as in `RUST_LOG`.
    pub level: Option<String>,
    pub format: Option<LogFormat>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Lines on standard error.
    #[default]
    Text,
    /// One JSON object a line on standard error.
    Json,
    /// To systemd's journal, with fields.
    Journald,
}

/// `[http]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Where metrics, health and the status page are served.
    pub listen: Option<SocketAddr>,
    /// `listen` may be an address that other machines reach.
    pub remote: bool,
}

/// When an append is acknowledged and visible to readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DurabilityKind {
    /// When it survives power loss.
    #[default]
    Sync,
    /// When it survives the death of the service; it is made durable at an interval.
    Interval,
    /// When it survives the death of the service.
    PageCache,
}

/// What happens when the disk has no room for another page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OnFullKind {
    /// What producers send is refused until there is room.
    #[default]
    Stop,
    /// The ring goes on with the pages that there are.
    DropOldest,
}

/// `[[ring]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingConfig {
    pub name: Option<String>,
    pub home: Spanned<PathBuf>,
    pub socket: Option<Spanned<PathBuf>>,
    pub socket_mode: Option<Mode>,
    pub socket_group: Option<String>,
    pub ring_size: Option<u32>,
    pub size: Option<Bytes>,
    pub keep: Option<Time>,
    pub rate: Option<Rate>,
    pub page_size: Option<Bytes>,
    #[serde(default)]
    pub on_full: OnFullKind,
    pub keep_for: Option<Time>,
    pub mode: Option<Mode>,
    pub group: Option<GroupId>,
    pub control: Option<PathBuf>,
    #[serde(default)]
    pub durability: DurabilityKind,
    pub sync_interval: Option<Time>,
    pub producers_max: Option<usize>,
    pub connections_per_user: Option<usize>,
    pub lanes_max: Option<usize>,
    pub lane_bytes: Option<Bytes>,
    pub frame_len_max: Option<Bytes>,
    pub window_batches: Option<u32>,
    pub window_bytes: Option<Bytes>,
    pub queue_bytes: Option<Bytes>,
    pub hello_timeout: Option<Time>,
    pub stall_timeout: Option<Time>,
    pub drain_timeout: Option<Time>,
    pub names_max: Option<usize>,
    pub names_kept: Option<Time>,
    pub journal_growth: Option<Bytes>,
}

impl RingConfig {
    /// A ring with everything at its default.
    pub fn at(home: PathBuf, socket: Option<PathBuf>) -> RingConfig {
        RingConfig {
            name: None,
            home: Spanned::new(0..0, home),
            socket: socket.map(|path| Spanned::new(0..0, path)),
            socket_mode: None,
            socket_group: None,
            ring_size: None,
            size: None,
            keep: None,
            rate: None,
            page_size: None,
            on_full: OnFullKind::Stop,
            keep_for: None,
            mode: None,
            group: None,
            control: None,
            durability: DurabilityKind::Sync,
            sync_interval: None,
            producers_max: None,
            connections_per_user: None,
            lanes_max: None,
            lane_bytes: None,
            frame_len_max: None,
            window_batches: None,
            window_bytes: None,
            queue_bytes: None,
            hello_timeout: None,
            stall_timeout: None,
            drain_timeout: None,
            names_max: None,
            names_kept: None,
            journal_growth: None,
        }
    }

    /// The keys of which the two say something else, wherever these stand in a file. The compiler knows of a
    /// key that is forgotten here.
    pub fn changed_keys(&self, other: &RingConfig) -> Vec<&'static str> {
        let mut changed = Vec::new();
        macro_rules! compare_all {
            ($($key:ident)*) => {
                let RingConfig { $($key),* } = self;
                $(if *$key != other.$key {
                    changed.push(stringify!($key));
                })*
            };
        }
        compare_all! {
            name home socket socket_mode socket_group ring_size size keep rate page_size on_full keep_for mode
            group control durability sync_interval producers_max connections_per_user lanes_max lane_bytes
            frame_len_max window_batches window_bytes queue_bytes hello_timeout stall_timeout drain_timeout
            names_max names_kept journal_growth
        }
        changed
    }

    /// Directory of the ring.
    pub fn home(&self) -> &Path {
        self.home.as_ref()
    }

    /// Path of the producers' socket, if it is not handed over.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_ref().map(|path| path.as_ref().as_path())
    }

    /// What the ring is called in logs and metrics: its directory's name if no other is given.
    pub fn name(&self) -> String {
        let of_home = || self.home().file_name().map(|name| name.to_string_lossy().into_owned());
        self.name.clone().or_else(of_home).unwrap_or_else(|| "ring".to_owned())
    }

    /// How the ring is opened.
    pub fn writer_options(&self) -> WriterOptions {
        let mut options = WriterOptions::default().durability(self.durability());
        options.on_full = match self.on_full {
            OnFullKind::Stop => OnFull::Stop,
            OnFullKind::DropOldest => OnFull::DropOldest,
        };
        options.keep_for = self.keep_for.map(|time| time.0);
        options.mode = self.mode.map(|mode| mode.0);
        options.group = self.group.map(|group| group.0);
        if let Some(Bytes(len)) = self.page_size {
            options = options.page_len_with_fitting_index(len);
        }
        if let Some(pages) = self.pages(&options) {
            options.ring_size = pages;
        }
        match &self.control {
            Some(path) => options.control(ControlPlace::Path(path.clone())),
            None => options,
        }
    }

    /// Opens with the ring's own geometry where the configuration names none.
    pub fn writer_options_for(&self, meta: Option<&Meta>) -> WriterOptions {
        let mut options = self.writer_options();
        let Some(meta) = meta else { return options };
        if self.page_size.is_none_or(|Bytes(len)| len == meta.geometry.page_len()) {
            options.page_len = meta.geometry.page_len();
            options.index_capacity = meta.geometry.index_capacity();
        }
        options.ring_size = self.pages(&options).unwrap_or(meta.ring_size);
        options
    }

    /// How large the ring is to be, with the pages of `options`; `None` if nothing is said about that.
    ///
    /// # Errors
    /// What contradicts itself or cannot be.
    pub fn chosen_pages(&self, options: &WriterOptions) -> Result<Option<ChosenPages>, String> {
        let capacity = Capacity {
            pages: self.ring_size,
            bytes: self.size.map(|Bytes(len)| len),
            keep: self.keep.map(|Time(time)| time),
            rate: self.rate.map(|Rate(rate)| rate),
        };
        // One that cannot be is told elsewhere.
        let page = PageGeometry::new(options.page_len, options.index_capacity);
        let records = page.map_or(options.page_len, |page| page.record_size_max());
        capacity.pages(PageRoom { len: options.page_len, records }, RING_SIZE_MAX)
    }

    /// The same, of a configuration that has been checked.
    fn pages(&self, options: &WriterOptions) -> Option<u32> {
        self.chosen_pages(options).ok().flatten().map(|chosen| chosen.pages)
    }

    fn durability(&self) -> Durability {
        match self.durability {
            DurabilityKind::Sync => Durability::Sync,
            DurabilityKind::PageCache => Durability::PageCache,
            DurabilityKind::Interval => {
                Durability::Interval(self.sync_interval.map_or(value::SYNC_INTERVAL, |time| time.0))
            }
        }
    }

    /// How producers are treated.
    pub fn service_options(&self) -> ServiceOptions {
        let default = ServiceOptions::default();
        let bytes = |own: Option<Bytes>, other: usize| {
            own.map_or(other, |Bytes(len)| usize::try_from(len).unwrap_or(usize::MAX))
        };
        let time = |own: Option<Time>, other| own.map_or(other, |time| time.0);
        let mut options = default
            .clone()
            .mode(self.socket_mode.map_or(default.mode, |mode| mode.0))
            .producers_max(self.producers_max.unwrap_or(default.producers_max))
            .lanes_max(self.lanes_max.unwrap_or(default.lanes_max))
            .lane_bytes(bytes(self.lane_bytes, default.lane_bytes))
            .frame_len_max(bytes(self.frame_len_max, default.frame_len_max))
            .window_batches(self.window_batches.unwrap_or(default.window_batches))
            .window_bytes(bytes(self.window_bytes, default.window_bytes))
            .queue_bytes(bytes(self.queue_bytes, default.queue_bytes))
            .hello_timeout(time(self.hello_timeout, default.hello_timeout))
            .stall_timeout(time(self.stall_timeout, default.stall_timeout))
            .drain_timeout(time(self.drain_timeout, default.drain_timeout))
            .names_max(self.names_max.unwrap_or(default.names_max))
            .names_kept(time(self.names_kept, default.names_kept))
            .journal_growth(self.journal_growth.map_or(default.journal_growth, |bytes| bytes.0));
        options.connections_per_user = self.connections_per_user;
        match &self.socket_group {
            Some(group) => options.group(group),
            None => options,
        }
    }

    /// The metadata of the ring, if there is one that can be used.
    pub fn meta(&self) -> Option<Meta> {
        waldo::reader::Ring::metadata(self.home()).ok()
    }

    /// One line on what will be served.
    pub fn describe(&self) -> String {
        let meta = self.meta();
        let options = self.writer_options_for(meta.as_ref());
        let (made, pages, len) = match &meta {
            Some(meta) => ("is there", meta.ring_size, meta.geometry.page_len()),
            None => ("will be made", options.ring_size, options.page_len),
        };
        let socket = match self.socket() {
            Some(path) => path.display().to_string(),
            None => "the socket that the service is started with".to_owned(),
        };
        // How a size in bytes, or a time, was taken.
        let told = self.chosen_pages(&options).ok().flatten().and_then(|chosen| chosen.told);
        let told = told.map_or_else(String::new, |told| format!("; {told}"));
        format!(
            "ring {}: {} ({made}: {pages} pages of {}), producers at {socket}{told}",
            self.name(),
            self.home().display(),
            units::bytes(len)
        )
    }
}
