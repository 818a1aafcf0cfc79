//! HTTP for those who watch the service.

use crate::config::HttpConfig;
use crate::supervisor::RingViews;
use anyhow::Context;
use tokio::net::TcpListener;

/// Listens, if that is asked for.
pub async fn bind(config: &HttpConfig) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = config.listen else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    listener.map(Some).with_context(|| format!("cannot listen on {address}"))
}

/// Serves.
pub async fn serve(_listener: TcpListener, _views: RingViews) {
    std::future::pending().await
}
