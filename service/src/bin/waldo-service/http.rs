//! HTTP for those who watch the service: metrics, health, a page.
//!
//! Everything is read-only. Whoever can reach the port may be hostile all the same: connections are counted,
//! and each must come to its end in time.

mod events;
mod health;
mod metrics;
mod snapshot;

use crate::config::HttpConfig;
use crate::views::RingViews;
use anyhow::Context;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections at once. One more is told so and closed.
const CONNECTIONS_MAX: usize = 64;
/// Streams of events among them: pages that are left open for hours may not keep out who asks for health.
const STREAMS_MAX: usize = 16;
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 21\r\n\
    Retry-After: 10\r\nConnection: close\r\n\r\ntoo many connections\n";
/// How long a request may take to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may live; one with a stream of events lives on for `STREAM_ROUNDS` times that.
const LIFE: Duration = Duration::from_secs(60);
const STREAM_ROUNDS: u32 = 60;
/// After an error of accept() that more files would cure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const PAGE: &str = include_str!("http/page.html");
/// Nothing from elsewhere: the page brings everything along.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'";

type Body = BoxBody<Bytes, Infallible>;

/// Listens, if that is asked for.
///
/// # Errors
/// The address cannot be had.
pub async fn bind(config: &HttpConfig) -> anyhow::Result<Option<TcpListener>> {
    metrics::note_start();
    let Some(address) = config.listen else { return Ok(None) };
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(error).with_context(|| {
            format!(
                "cannot serve metrics on {address}: another program has this port. Stop it (`ss -ltnp` names it), or \
                 choose another port (--http, or [http] listen)"
            )
        }),
        Err(error) => Err(error).with_context(|| format!("cannot serve metrics on {address}")),
    }
}

/// Serves for ever.
pub async fn serve(listener: TcpListener, views: RingViews) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let streams = Arc::new(Semaphore::new(STREAMS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("an HTTP connection cannot be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            // It fits the socket's buffer; nothing waits for this one.
            let _ = stream.try_write(TOO_MANY);
            continue;
        };
        let host = Host { views: views.clone(), streams: Arc::clone(&streams), streaming: Arc::default() };
        tokio::spawn(async move {
            converse(stream, host).await;
            drop(permit);
        });
    }
}

/// What a connection needs for its answers.
#[derive(Clone, Debug)]
struct Host {
    views: RingViews,
    /// Room for streams, of all connections.
    streams: Arc<Semaphore>,
    /// This connection has a stream. Relaxed: the flag is all that is passed.
    streaming: Arc<AtomicBool>,
}

/// One connection, until it ends or has lived for too long.
async fn converse(stream: TcpStream, host: Host) {
    let answer = service_fn(|request| {
        let host = host.clone();
        async move { Ok::<_, Infallible>(respond(&request, host).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(16 << 10);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), answer));
    for _ in 0..STREAM_ROUNDS {
        match tokio::time::timeout(LIFE, &mut connection).await {
            Err(_) if host.streaming.load(Ordering::Relaxed) => {}
            // Whoever asked is told by the connection itself if it broke.
            _ => return,
        }
    }
}

async fn respond(request: &Request<Incoming>, host: Host) -> Response<Body> {
    let Host { views, streams, streaming } = host;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "everything here is read by GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let text = blocking(move || metrics::render(&snapshot::take(&views))).await;
            with_type(StatusCode::OK, metrics::CONTENT, text)
        }
        "/healthz" => {
            let health = blocking(move || health::check(&snapshot::take(&views))).await;
            match health {
                Ok(()) => text(StatusCode::OK, "ok\n"),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
            }
        }
        "/events" if *request.method() == Method::HEAD => with_type(StatusCode::OK, events::CONTENT, ""),
        "/events" => match streams.try_acquire_owned() {
            Ok(permit) => {
                streaming.store(true, Ordering::Relaxed);
                response(StatusCode::OK, events::CONTENT, events::start(views, permit).boxed())
            }
            Err(_) => {
                let why = format!("{STREAMS_MAX} pages are open already: close one of them\n");
                let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
                response
            }
        },
        "/" => {
            let mut response = with_type(StatusCode::OK, "text/html; charset=utf-8", PAGE);
            let policy = HeaderValue::from_static(PAGE_POLICY);
            response.headers_mut().insert(hyper::header::CONTENT_SECURITY_POLICY, policy);
            response
        }
        _ => text(StatusCode::NOT_FOUND, "here are /, /metrics and /healthz\n"),
    }
}

/// Looks at the rings on a thread that may wait for files.
async fn blocking<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(look).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", text)
}

fn with_type(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    response(status, kind, Full::new(text.into()).boxed())
}

fn response(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
