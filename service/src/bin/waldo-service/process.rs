//! The process from its start to its end.

use crate::args::Args;
use crate::config::{Config, ConfigError};
use crate::http;
use crate::logging::{self, Logging};
use crate::notify::ServiceManager;
use crate::retry;
use crate::signals::{Order, Signals};
use crate::supervisor::Supervisor;
use anyhow::Context;
use nix::libc::SIGTERM;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::time::Duration;
use tokio::task::JoinHandle;
use waldo_service::{descriptors_kept, inherited_listeners, keep_descriptors_for};
use waldo_terminal::failure::{Outcome, chain};
use waldo_terminal::notice;

/// What the end may take beside the producers that do not take their answers: flushes.
const ENDING: Duration = Duration::from_secs(60);
/// How long a thread that is stuck in a system call may hold up the end.
const BLOCKING_PATIENCE: Duration = Duration::from_secs(1);

/// Serves until a signal comes, or no ring is left.
///
/// # Errors
/// What cannot be served at the start, or has failed since.
pub fn run(args: &Args, config: Config) -> anyhow::Result<Outcome> {
    notice::ready();
    let logging = logging::start(&config.log)?;
    raise_descriptors(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let outcome = runtime.block_on(serve(args, config, &logging));
    runtime.shutdown_timeout(BLOCKING_PATIENCE);
    outcome
}

/// Takes as many descriptors as the system lets, keeps some for each ring, and says if these are too few.
fn raise_descriptors(config: &Config) {
    keep_descriptors_for(config.rings.len());
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let limit = if raised { hard } else { soft };
    let producers = config.rings.iter().map(|ring| ring.service_options().producers_max as u64);
    // What this process was started with stays open: whoever started it may have left it many.
    let others = descriptors_kept(config.rings.len()).saturating_add(open_now());
    let wanted = producers.fold(others, u64::saturating_add);
    if limit < wanted {
        tracing::warn!(
            "{wanted} files would be open with as many producers as `producers_max` allows, and {limit} may be: producers \
             beyond that are refused. Raise the limit (LimitNOFILE=, ulimit -n), or lower producers_max"
        );
    }
}

/// Descriptors that are in use; 0 where that cannot be seen.
fn open_now() -> u64 {
    // One is that of the directory itself.
    std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count().saturating_sub(1) as u64)
}

async fn serve(args: &Args, mut config: Config, logging: &Logging) -> anyhow::Result<Outcome> {
    let mut signals = Signals::install()?;
    let manager = ServiceManager::find();
    // Taken first: a port that is in use is told before anything else has begun.
    let listener = http::bind(&config.http).await?;
    manager.status("opening the rings");
    let inherited = inherited_listeners()?;
    let mut supervisor = Supervisor::new(&config, inherited)?;
    // From now on, since rings may take long to open: whoever asks for health would wait for that.
    if let Some(listener) = listener {
        let address = listener.local_addr()?;
        tracing::info!("metrics and status at http://{address}/");
        watch_over("the HTTP server", tokio::spawn(http::serve(listener, supervisor.views.clone())));
    }
    let early = tokio::select! {
        started = supervisor.start(&config) => started.map(|()| None)?,
        signal = signals.next_stop() => Some(signal),
        never = manager.ask_for_time() => match never {},
    };
    if let Some(interval) = manager.watchdog_interval() {
        let manager = manager.clone();
        watch_over(
            "the watchdog",
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(interval);
                loop {
                    ticks.tick().await;
                    manager.watchdog();
                }
            }),
        );
    }
    let signal = match early {
        Some(signal) => Some(signal),
        None => {
            manager.ready(supervisor.summary());
            attend(args, &mut config, &mut supervisor, &mut signals, &manager, logging).await
        }
    };
    manager.stopping(supervisor.drain_max() + ENDING);
    if signal.is_some() {
        tracing::info!("ending in good order; a second signal ends at once");
    }
    supervisor.stop().await;
    match signal {
        _ if supervisor.failed() => anyhow::bail!("a ring has failed: the log says which and why"),
        Some(signal) => Ok(outcome_of(signal)),
        None => Ok(Outcome::Done),
    }
}

/// A configuration that is being read.
type Reading = JoinHandle<Result<Config, ConfigError>>;

/// Looks after the rings until a signal ends that, or none is left.
async fn attend(
    args: &Args,
    config: &mut Config,
    supervisor: &mut Supervisor,
    signals: &mut Signals,
    manager: &ServiceManager,
    logging: &Logging,
) -> Option<i32> {
    let mut reading: Option<Reading> = None;
    loop {
        let next_retry = supervisor.next_retry();
        let is_reading = reading.is_some();
        tokio::select! {
            more = supervisor.watch() => {
                if !more {
                    return None;
                }
                manager.status(supervisor.summary());
            }
            // Here and below rings may take minutes to open or to end: that holds up nobody who wants an end.
            // One that fails meanwhile is told when that is done.
            () = retry::wait(next_retry) => tokio::select! {
                () = supervisor.retry() => manager.status(supervisor.summary()),
                signal = signals.next_stop() => return Some(signal),
            },
            new = read(&mut reading) => {
                reading = None;
                tokio::select! {
                    outcome = reload(new, config, supervisor, logging) => {
                        manager.ready(supervisor.summary() + outcome);
                    }
                    signal = signals.next_stop() => return Some(signal),
                }
            },
            order = signals.next_order(is_reading) => match order {
                Order::Stop(signal) => return Some(signal),
                Order::Reload => {
                    manager.reloading();
                    reading = begin_to_read(args);
                    if reading.is_none() {
                        tracing::warn!("there is nothing to reload: the service was started without --config");
                        manager.ready(supervisor.summary());
                    }
                }
            },
        }
    }
}

/// On a thread that may wait: a file that is a pipe, or a user database that does not answer, holds up
/// neither signals nor rings. `None` if there is no file.
fn begin_to_read(args: &Args) -> Option<Reading> {
    args.file()?;
    let args = args.clone();
    Some(tokio::task::spawn_blocking(move || args.config()))
}

/// Waits for the configuration.
async fn read(reading: &mut Option<Reading>) -> Result<Config, ConfigError> {
    match reading {
        Some(reading) => reading.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())),
        None => std::future::pending().await,
    }
}

fn outcome_of(signal: i32) -> Outcome {
    if signal == SIGTERM { Outcome::Done } else { Outcome::Interrupted(signal) }
}

/// A task that should not end before the process does. If it panics, the others go on, and the log says so.
fn watch_over(what: &'static str, task: JoinHandle<()>) {
    tokio::spawn(async move {
        if let Err(error) = task.await {
            tracing::error!("{what} has ended: {error}");
        }
    });
}

/// Takes over what can be taken over, and says what cannot. With a file that is not in order nothing changes.
/// Gives a remark for the service manager, empty if all is well.
async fn reload(
    new: Result<Config, ConfigError>,
    config: &mut Config,
    supervisor: &mut Supervisor,
    logging: &Logging,
) -> &'static str {
    let new = match new {
        Ok(new) => new,
        Err(error) => {
            tracing::error!("the configuration is not in order, the old one stays in force: {error}");
            return "; the configuration is not in order, the old one stays in force";
        }
    };
    if new.log.level != config.log.level
        && let Err(error) = logging.set_level(&new.log)
    {
        tracing::error!("{}", chain(&error));
    }
    if new.log.format != config.log.format {
        tracing::warn!("another [log] format takes effect at the next restart");
    }
    if new.http != config.http {
        tracing::warn!("another [http] takes effect at the next restart");
    }
    keep_descriptors_for(new.rings.len());
    supervisor.reload(&new).await;
    // These two stay in force as they were at the start.
    let (format, http) = (config.log.format, config.http.clone());
    *config = Config { http, ..new };
    config.log.format = format;
    tracing::info!("the configuration has been read again");
    ""
}
