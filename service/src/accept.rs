//! Taking the connections of producers, as long as there is room for one more.

use crate::counters::Counters;
use crate::engine::Engine;
use crate::pace::Pace;
use crate::users::{self, OfUser, Users};
use crate::{ServiceError, connection, descriptors};
use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{UnixListener as AsyncListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use waldo::client::wire::ErrorCode;

/// After an error of accept() that more files would cure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Hands a listening socket over to the runtime.
pub(crate) fn listen(listener: UnixListener) -> Result<AsyncListener, ServiceError> {
    let failed = |source| ServiceError::Socket { action: "accept on", path: "the socket".into(), source };
    listener.set_nonblocking(true).map_err(failed)?;
    AsyncListener::from_std(listener).map_err(failed)
}

/// Accepts connections for ever.
pub(crate) async fn accept(
    engine: &Arc<Engine>,
    listener: &AsyncListener,
    connections: &mut JoinSet<()>,
    stopping: &watch::Receiver<bool>,
) {
    let (mut telling, users) = (Pace::default(), Arc::new(Users::default()));
    let of_user_max = engine.options.connections_of_user_max();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next() => {
                tell_of_panic(ended);
                continue;
            }
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {
                continue;
            }
            Err(error) => {
                if telling.is_due() {
                    tracing::warn!("a producer cannot be accepted: {error}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connected = engine.counters.connected.load(Ordering::Relaxed);
        if connected >= engine.options.producers_max as u64 {
            let max = engine.options.producers_max;
            let text = format!("{max} producers are connected, no more are allowed");
            refuse(engine, &stream, ErrorCode::TooManyProducers, max, text);
            continue;
        }
        if descriptors::are_scarce(&stream) {
            let text = format!("{connected} producers are connected, and the service may open no more files");
            if telling.is_due() {
                tracing::warn!("a producer was refused: {text} (LimitNOFILE=, ulimit -n)");
            }
            refuse(engine, &stream, ErrorCode::TooManyProducers, connected as usize, text);
            continue;
        }
        let user = users::of(&stream);
        let Some(of_user) = users.count(user, of_user_max) else {
            let text = format!("user {user} has {of_user_max} connections, no user may have more");
            if telling.is_due() {
                tracing::warn!("a producer was refused: {text} (connections_per_user)");
            }
            refuse(engine, &stream, ErrorCode::TooManyOfUser, of_user_max, text);
            continue;
        };
        let (shared, stopping) = (Arc::clone(engine), stopping.clone());
        let connected = Connected::new(&shared.counters, of_user);
        connections.spawn(async move {
            connection::serve(shared, stream, stopping).await;
            drop(connected);
        });
    }
}

/// A connection's task has ended. If it panicked, that producer alone is cut off.
pub(crate) fn tell_of_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("the task of a connection panicked, which is a fault of the service: {error}");
    }
}

/// Counts a connection as long as it is there.
struct Connected(Arc<Counters>, #[allow(dead_code, reason = "counts as long as it is there")] OfUser);

impl Connected {
    fn new(counters: &Arc<Counters>, of_user: OfUser) -> Connected {
        Counters::add(&counters.connected, 1);
        Counters::add(&counters.connections, 1);
        Connected(Arc::clone(counters), of_user)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        Counters::subtract(&self.0.connected, 1);
    }
}

/// Refuses one connection too many. The answer fits the socket's buffer; nothing waits for this producer.
fn refuse(engine: &Engine, stream: &UnixStream, code: ErrorCode, max: usize, text: String) {
    engine.count(code);
    let mut out = Vec::new();
    connection::link::fatal(code, 0, max as u64, text).encode(&mut out, false);
    let _ = stream.try_write(&out);
}
