//! One ring that is served.

use crate::config::RingConfig;
use anyhow::Context;
use parking_lot::Mutex;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::oneshot;
use waldo::reader::{Ring, RingStatus};
use waldo::writer::{OnFull, OpenReport, Writer, WriterOptions};
use waldo_service::{Service, ServiceCounters, ServiceError, Watch};
use waldo_terminal::failure::Usage;
use waldo_terminal::room::shortage;
use waldo_terminal::units;

/// The state of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RingState {
    /// It is being opened.
    Opening,
    /// Producers may append.
    Serving,
    /// It has ended by itself, for this reason.
    Failed(String),
    /// It was told to end.
    Stopped,
}

/// What others see of a ring: the metrics, the status page.
#[derive(Debug)]
pub struct RingView {
    pub name: String,
    pub home: PathBuf,
    pub socket: Option<PathBuf>,
    pub state: Mutex<RingState>,
    /// Both are there if the ring could be opened.
    opened: Option<(Ring, Watch)>,
}

impl RingView {
    /// A ring that is not open.
    pub fn of_unopened(config: &RingConfig, state: RingState) -> RingView {
        RingView {
            name: config.name(),
            home: config.home().to_owned(),
            socket: config.socket().map(ToOwned::to_owned),
            state: Mutex::new(state),
            opened: None,
        }
    }

    /// What the service has done.
    pub fn counters(&self) -> ServiceCounters {
        self.opened.as_ref().map(|(_, watch)| watch.counters()).unwrap_or_default()
    }

    /// How the ring and its writer are: what `waldo stat` shows.
    pub fn status(&self) -> Option<RingStatus> {
        self.opened.as_ref()?.0.status().ok()
    }

    /// The ring's state.
    pub fn state(&self) -> RingState {
        self.state.lock().clone()
    }
}

/// A ring that is open, and whose producers can connect.
#[derive(Debug)]
pub struct HostedRing {
    pub view: Arc<RingView>,
    pub config: RingConfig,
    service: Service,
}

/// Ends a ring when this is used or dropped.
pub type Stopper = oneshot::Sender<()>;

impl HostedRing {
    /// Opens the ring and its socket. Blocks: a ring that was not closed has to be read first.
    ///
    /// # Errors
    /// Which of the two cannot be had, and why.
    pub fn open(config: RingConfig, inherited: Option<UnixListener>) -> anyhow::Result<HostedRing> {
        let home = config.home().to_owned();
        let meta = config.meta();
        let options = config.writer_options_for(meta.as_ref());
        // Before anything is written.
        if meta.is_none() {
            tell_if_short(&config, &options);
        }
        let writer = Writer::open(&home, options)
            .with_context(|| format!("cannot open the ring {} for writing", home.display()))?;
        tell_of_opening(&config, &writer);
        let ring = Ring::attach(&home)?;
        let serving = || format!("cannot serve the ring {}", home.display());
        let (socket, service) = match (inherited, config.socket()) {
            (Some(listener), own) => {
                let socket =
                    listener.local_addr().ok().and_then(|at| at.as_pathname().map(ToOwned::to_owned));
                if own.is_some() && own != socket.as_deref() {
                    tracing::warn!(
                        ring = config.name(),
                        "`socket` of the configuration is not used: the service was started with a socket for this ring"
                    );
                }
                (socket, Service::on_listener(writer, listener, config.service_options()))
            }
            (None, Some(path)) => {
                (Some(path.to_owned()), Service::bind(writer, path, config.service_options()))
            }
            (None, None) => {
                return Err(Usage(format!(
                    "the ring {} has no socket: name one (--socket PATH, or socket = in the file), or have the service \
                     started with one (systemd: a socket unit)",
                    home.display()
                ))
                .into());
            }
        };
        let service = service.with_context(serving)?;
        let view = RingView {
            name: config.name(),
            socket,
            state: Mutex::new(RingState::Serving),
            opened: Some((ring, service.watch())),
            home,
        };
        Ok(HostedRing { view: Arc::new(view), config, service })
    }

    /// Serves producers until `stop` is used, or the ring fails.
    ///
    /// # Errors
    /// Why the ring has failed.
    pub async fn run(self, stop: oneshot::Receiver<()>) -> Result<ServiceCounters, ServiceError> {
        let until = async {
            let _ = stop.await;
        };
        self.service.run(until).await
    }
}

/// Says so if the disk cannot hold all of a ring that is to be made.
fn tell_if_short(config: &RingConfig, options: &WriterOptions) {
    let later = match options.on_full {
        OnFull::DropOldest => "its oldest records are dropped early",
        _ => "producers are refused",
    };
    if let Some(told) = shortage(config.home(), options.ring_size, options.page_len, later) {
        tracing::warn!(ring = config.name(), "{told}");
    }
}

fn tell_of_opening(config: &RingConfig, writer: &Writer) {
    let OpenReport { created, clean, tip, .. } = writer.open_report();
    let (ring, home) = (config.name(), config.home().display());
    match (*created, *clean) {
        (true, _) => tracing::info!(ring, "made the ring {home}"),
        (false, true) => {
            tracing::info!(ring, "opened the ring {home}, its last record is {}", tip.unwrap_or(0))
        }
        (false, false) => tracing::warn!(
            ring,
            "opened the ring {home}, which had not been closed; its last record is {}",
            tip.unwrap_or(0)
        ),
    }
    let chosen = config.chosen_pages(writer.options()).ok().flatten();
    if let Some(told) = chosen.and_then(|chosen| chosen.told) {
        tracing::info!(ring, "the size that was asked for: {told}");
    }
    if let Some(cut) = &writer.open_report().cut {
        tracing::warn!(ring, "records that were not whole or not durable were cut off: {cut:?}");
    }
    if writer.open_report().geometry_kept {
        let own = writer.options();
        tracing::warn!(
            ring,
            "the ring keeps its {} pages of {}; to change it stop the service, and run `waldo resize --ring-size N \
             --page-size SIZE {home}`",
            own.ring_size,
            units::bytes(own.page_len)
        );
    }
}
