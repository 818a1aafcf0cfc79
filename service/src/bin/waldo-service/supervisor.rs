//! All rings of the process: starting them, a reload, their end.

mod inherited;
#[cfg(test)]
mod tests;

use crate::config::{Config, RingConfig};
use crate::exit;
use crate::hosted::{HostedRing, RingState, RingView, Stopper};
use crate::retry::Retry;
use crate::views::RingViews;
use anyhow::Context;
use std::collections::HashMap;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use waldo_service::{ServiceCounters, ServiceError};
use waldo_terminal::failure::chain;

/// A ring that runs.
#[derive(Debug)]
struct Running {
    config: RingConfig,
    view: Arc<RingView>,
    stop: Option<Stopper>,
    task: Option<Id>,
    /// If it has failed and may be opened again, the next try; while it is served, the try by which it was
    /// opened, if it had failed before.
    retry: Option<Retry>,
    /// Since when it has been served. A failure soon after is the same trouble still, and its pauses go on
    /// growing; nothing else here says how long ago that was.
    since: Instant,
}

type Ended = Result<ServiceCounters, ServiceError>;

/// Starts, watches and ends rings.
#[derive(Debug, Default)]
pub struct Supervisor {
    rings: HashMap<String, Running>,
    tasks: JoinSet<Ended>,
    /// Sockets that the process was started with, by their names.
    inherited: Vec<(String, UnixListener)>,
    pub views: RingViews,
}

impl Supervisor {
    /// Prepares the start.
    ///
    /// # Errors
    /// A socket that was handed over belongs to no ring.
    pub fn new(config: &Config, inherited: Vec<(String, UnixListener)>) -> anyhow::Result<Supervisor> {
        inherited::check(&inherited, config)?;
        let all = Supervisor { inherited, ..Supervisor::default() };
        for ring in &config.rings {
            all.views.put(Arc::new(RingView::of_unopened(ring, RingState::Opening)));
        }
        Ok(all)
    }

    /// Opens every ring, one after the other, since one disk is behind them as a rule, and serves each at
    /// once. One that cannot be opened does not take the others down: it has failed, and they are served.
    ///
    /// # Errors
    /// No ring can be opened, or one is described wrongly. Then none is served, and those that were have
    /// ended in good order.
    pub async fn start(&mut self, config: &Config) -> anyhow::Result<()> {
        let mut failure = None;
        for ring in &config.rings {
            match self.open(ring, config.rings.len() == 1).await {
                Ok(ring) => self.serve(ring),
                // A person wrote that, and looks at how the start ends.
                Err(error) if exit::code_of(&error) == exit::USAGE => {
                    self.stop().await;
                    return Err(error);
                }
                Err(error) => {
                    self.note_unopened(ring, &error);
                    // One that may pass counts for more: starting again is of use then.
                    failure = failure.filter(exit::may_pass).or(Some(error));
                }
            }
        }
        match failure {
            Some(error) if self.tasks.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    async fn open(&self, config: &RingConfig, only_one: bool) -> anyhow::Result<HostedRing> {
        let inherited = inherited::copy_for(&self.inherited, &config.name(), only_one)?;
        let config = config.clone();
        tokio::task::spawn_blocking(move || HostedRing::open(config, inherited))
            .await
            .context("opening the ring panicked")?
    }

    fn serve(&mut self, ring: HostedRing) {
        let (stop, stopped) = oneshot::channel();
        let (view, config, name) = (Arc::clone(&ring.view), ring.config.clone(), ring.view.name.clone());
        match &view.socket {
            Some(path) => tracing::info!(ring = name, "producers may connect to {}", path.display()),
            None => tracing::info!(ring = name, "producers may connect to the socket that was handed over"),
        }
        self.views.put(Arc::clone(&view));
        let task = self.tasks.spawn(ring.run(stopped)).id();
        let retry = self.rings.get(&name).and_then(|before| before.retry);
        let (stop, task, since) = (Some(stop), Some(task), Instant::now());
        self.rings.insert(name, Running { config, view, stop, task, retry, since });
    }

    /// Waits until a ring has ended by itself, and tells. `false` when none is left.
    pub async fn watch(&mut self) -> bool {
        if let Some(ended) = self.tasks.join_next_with_id().await {
            self.note(ended);
        }
        !self.tasks.is_empty()
    }

    fn note(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, outcome.map_err(anyhow::Error::from)),
            Err(error) => (error.id(), Err(anyhow::anyhow!("its task panicked: {error}"))),
        };
        let Some((name, running)) = self.rings.iter_mut().find(|(_, running)| running.task == Some(id))
        else {
            return;
        };
        running.task = None;
        let opened_by = running.retry.take();
        let asked_for = running.stop.is_none();
        let state = match outcome {
            Ok(counters) if asked_for => {
                tracing::info!(
                    ring = name,
                    "closed: {} records were stored, everything is durable",
                    counters.records
                );
                RingState::Stopped
            }
            Ok(_) => RingState::Failed("it ended by itself".to_owned()),
            Err(error) => {
                let before = Retry::that_counts(opened_by, running.since.elapsed());
                running.retry = Retry::after(&error, before).filter(|_| !asked_for);
                RingState::Failed(error.to_string())
            }
        };
        if let RingState::Failed(why) = &state {
            tracing::error!(ring = name, "the ring is served no more: {why}");
        }
        *running.view.state.lock() = state;
    }

    /// A ring that should be served and is not: health and metrics show it. It is tried again, by itself or
    /// at the next reload.
    fn note_unopened(&mut self, config: &RingConfig, error: &anyhow::Error) {
        let (name, why) = (config.name(), chain(error));
        tracing::error!(ring = name, "not served: {why}");
        let view = Arc::new(RingView::of_unopened(config, RingState::Failed(why)));
        self.views.put(Arc::clone(&view));
        let retry = Retry::after(error, self.rings.get(&name).and_then(|before| before.retry));
        let (config, since) = (config.clone(), Instant::now());
        self.rings.insert(name, Running { config, view, stop: None, task: None, retry, since });
    }

    /// Whether a ring that should be served is not: it has ended by itself, or cannot be opened.
    pub fn failed(&self) -> bool {
        self.views.all().iter().any(|view| matches!(view.state(), RingState::Failed(_)))
    }

    /// The rings that are to be tried again, and when.
    fn retries(&self) -> impl Iterator<Item = (Instant, &RingConfig)> {
        let not_served = self.rings.values().filter(|ring| ring.task.is_none());
        not_served.filter_map(|ring| Some((ring.retry?.at, &ring.config)))
    }

    /// When a ring is to be tried again.
    pub fn next_retry(&self) -> Option<Instant> {
        self.retries().map(|(at, _)| at).min()
    }

    /// Opens again what is due. The process has other rings, or it would have ended.
    pub async fn retry(&mut self) {
        let now = Instant::now();
        let due = self.retries().filter(|(at, _)| *at <= now);
        let due: Vec<RingConfig> = due.map(|(_, config)| config.clone()).collect();
        for ring in due {
            match self.open(&ring, false).await {
                Ok(opened) => self.serve(opened),
                Err(error) => self.note_unopened(&ring, &error),
            }
        }
    }

    /// How long the rings wait for their producers at the end, at most.
    pub fn drain_max(&self) -> Duration {
        let limits = self.rings.values().map(|ring| ring.config.service_options().drain_timeout);
        limits.max().unwrap_or_default()
    }

    /// What is served, in a line.
    pub fn summary(&self) -> String {
        let mut failed: Vec<&str> = self
            .rings
            .iter()
            .filter(|(_, ring)| ring.task.is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        failed.sort_unstable();
        match (self.rings.len(), failed.as_slice()) {
            (1, []) => {
                let homes = self.rings.values().map(|ring| ring.config.home().display().to_string());
                format!("serving the ring {}", homes.collect::<String>())
            }
            (all, []) => format!("serving {all} rings"),
            (all, failed) => {
                format!("serving {} of {all} rings; failed: {}", all - failed.len(), failed.join(", "))
            }
        }
    }

    /// Ends every ring in good order: what was acknowledged is durable then.
    pub async fn stop(&mut self) {
        self.rings.values_mut().for_each(|running| drop(running.stop.take()));
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.note(ended);
        }
    }

    async fn stop_one(&mut self, name: &str) {
        let Some(running) = self.rings.get_mut(name) else { return };
        drop(running.stop.take());
        while self.rings.get(name).is_some_and(|running| running.task.is_some()) {
            let Some(ended) = self.tasks.join_next_with_id().await else { break };
            self.note(ended);
        }
        self.rings.remove(name);
        self.views.remove(name);
    }

    /// Takes over what another configuration says of the rings: those that are gone from it end, those that
    /// are new to it or have failed are opened. Says what needs a restart.
    pub async fn reload(&mut self, config: &Config) {
        let gone = |name: &&String| !config.rings.iter().any(|ring| ring.name() == **name);
        let gone: Vec<String> = self.rings.keys().filter(gone).cloned().collect();
        for name in &gone {
            tracing::info!(ring = name, "the configuration names the ring no more: it ends");
            drop(self.rings.get_mut(name).and_then(|running| running.stop.take()));
        }
        for name in &gone {
            self.stop_one(name).await;
        }
        for ring in &config.rings {
            let name = ring.name();
            if let Some(running) = self.rings.get(&name)
                && running.task.is_some()
            {
                let changed = running.config.changed_keys(ring);
                if !changed.is_empty() {
                    tracing::warn!(
                        ring = name,
                        "what has changed of this ring takes effect at the next restart: {}",
                        changed.join(", ")
                    );
                }
                continue;
            }
            match self.open(ring, config.rings.len() == 1).await {
                Ok(opened) => self.serve(opened),
                Err(error) => self.note_unopened(ring, &error),
            }
        }
    }
}
