//! Writing answers to a producer, as fast as it reads them.

use super::link::{Reply, Window};
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use waldo::client::wire::{Kind, begin_frame, finish_frame};

/// Answers that are written together.
const REPLIES_MAX: usize = 64;

/// How a connection's answers ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All of them are written.
    Done,
    /// The producer is gone.
    Broken,
    /// The producer did not read.
    Stalled,
}

/// Writes what comes, until the last link is dropped or an error ended the connection.
pub(super) async fn write(
    stream: &mut OwnedWriteHalf,
    mut replies: UnboundedReceiver<(Reply, Option<Window>)>,
    checksums: bool,
    stall_timeout: Duration,
) -> End {
    let mut out = Vec::new();
    let mut ready = Vec::with_capacity(REPLIES_MAX);
    while replies.recv_many(&mut ready, REPLIES_MAX).await > 0 {
        out.clear();
        let mut ends = false;
        for (reply, _) in &ready {
            match reply {
                Reply::Welcome(welcome) => welcome.encode(&mut out, checksums),
                Reply::Ack(ack) => ack.encode(&mut out, checksums),
                Reply::Error(error) => {
                    error.encode(&mut out, checksums);
                    ends = error.fatal;
                }
            }
            if ends {
                break;
            }
        }
        match timeout(stall_timeout, stream.write_all(&out)).await {
            Err(_) => return End::Stalled,
            Ok(Err(_)) => return End::Broken,
            Ok(Ok(())) => {}
        }
        if ends {
            return End::Done;
        }
        // Only now may the producer send as many batches more.
        ready.clear();
    }
    End::Done
}

/// Takes leave of the producer.
pub(super) async fn goodbye(
    stream: &mut OwnedWriteHalf,
    checksums: bool,
    stall_timeout: Duration,
) -> io::Result<()> {
    let mut out = Vec::new();
    let start = begin_frame(&mut out);
    finish_frame(&mut out, start, Kind::Goodbye, checksums);
    timeout(stall_timeout, stream.write_all(&out)).await??;
    stream.shutdown().await
}
