//! `/events`: the state of all rings once a second, as server-sent events, for the page.

use super::snapshot::{self, RingSnapshot};
use crate::hosted::RingState;
use crate::views::RingViews;
use http_body_util::channel::{Channel, Sender};
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use waldo::client::wire::ErrorCode;

pub const CONTENT: &str = "text/event-stream";
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a stream that nobody reads is kept.
const STALL: Duration = Duration::from_secs(30);

/// Starts a stream, which keeps its permit. It ends when nobody reads it any more.
pub fn start(views: RingViews, permit: OwnedSemaphorePermit) -> Channel<Bytes, Infallible> {
    let (sender, body) = Channel::new(1);
    tokio::spawn(async move {
        run(views, sender).await;
        drop(permit);
    });
    body
}

async fn run(views: RingViews, mut sender: Sender<Bytes, Infallible>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let views = views.clone();
        let event = super::blocking(move || event(&snapshot::take(&views))).await;
        if !matches!(timeout(STALL, sender.send_data(event.into())).await, Ok(Ok(()))) {
            return;
        }
    }
}

fn event(rings: &[RingSnapshot]) -> String {
    let rings: Vec<Value> = rings.iter().map(describe).collect();
    format!("data: {}\n\n", json!({ "rings": rings }))
}

fn describe(ring: &RingSnapshot) -> Value {
    let (state, why) = match &ring.state {
        RingState::Opening => ("opening", None),
        RingState::Serving => ("serving", None),
        RingState::Failed(why) => ("failed", Some(why.as_str())),
        RingState::Stopped => ("closed", None),
    };
    let counters = &ring.counters;
    let errors: u64 = ErrorCode::ALL.iter().map(|code| counters.errors(*code)).sum();
    let status = ring.status.as_ref();
    json!({
        "name": ring.view.name,
        "home": ring.view.home,
        "socket": ring.view.socket,
        "state": state,
        "why": why,
        "writer": status.map(|status| status.writer.to_string()),
        "tip": status.and_then(|status| status.tip_seq_no),
        "oldest": status.and_then(|status| status.oldest_seq_no),
        "pages": status.map(|status| status.pages),
        "pages_max": status.map(|status| status.ring_size),
        "page_bytes": status.map(|status| status.page_len),
        "durable_lag_bytes": status.map(|status| status.durable_lag_bytes()),
        "records": ring.writer_counter("records"),
        "payload_bytes": ring.writer_counter("payload_bytes"),
        "flushes": ring.writer_counter("flushes"),
        "disk_bytes": ring.writer_counter("disk_bytes"),
        "disk_waits": ring.writer_counter("disk_waits"),
        "stuck_pages": ring.writer_counter("stuck_pages"),
        "producers": counters.connected,
        "names": counters.names,
        "duplicates": counters.duplicates,
        "cut_off": counters.cut_off,
        "errors": errors,
    })
}
