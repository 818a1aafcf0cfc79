//! Writing answers to a producer, as fast as it reads them.

use super::bell::Bell;
use super::lane::Offer;
use super::link::{Reply, Window};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use waldo::client::lane::send_descriptor;
use waldo::client::wire::{Kind, encode_empty};

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

/// The half of a connection that writes.
pub(super) struct Outgoing<'a> {
    pub(super) stream: &'a mut OwnedWriteHalf,
    pub(super) checksums: bool,
    /// What follows WELCOME.
    pub(super) offer: Option<Offer>,
    pub(super) bell: Bell,
}

impl Outgoing<'_> {
    /// Writes what comes, until the last link is dropped or an error ended the connection.
    pub(super) async fn write(
        mut self,
        mut replies: UnboundedReceiver<(Reply, Option<Window>)>,
        stall_timeout: Duration,
    ) -> End {
        let mut out = Vec::new();
        let mut ready = Vec::with_capacity(REPLIES_MAX);
        while replies.recv_many(&mut ready, REPLIES_MAX).await > 0 {
            out.clear();
            let mut ends = false;
            let mut descriptor = None;
            for (reply, _) in &ready {
                match reply {
                    Reply::Welcome(welcome) => {
                        welcome.encode(&mut out, self.checksums);
                        if let Some(told) = self.offer.take() {
                            told.offer.encode(&mut out, self.checksums);
                            descriptor = told.descriptor;
                        }
                    }
                    Reply::Ack(ack) => ack.encode(&mut out, self.checksums),
                    Reply::Error(error) => {
                        error.encode(&mut out, self.checksums);
                        ends = error.fatal;
                    }
                    Reply::Bell => {
                        self.bell.is_said();
                        encode_empty(&mut out, Kind::Bell, self.checksums);
                    }
                }
                if ends {
                    break;
                }
            }
            match timeout(stall_timeout, self.send(&out, descriptor)).await {
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

    async fn send(&mut self, mut bytes: &[u8], descriptor: Option<OwnedFd>) -> io::Result<()> {
        if let Some(descriptor) = descriptor {
            let stream: &UnixStream = (*self.stream).as_ref();
            let send = || send_descriptor(stream.as_fd(), bytes, descriptor.as_fd());
            let sent = stream.async_io(Interest::WRITABLE, send).await?;
            bytes = &bytes[sent..];
        }
        self.stream.write_all(bytes).await
    }
}

/// Says GOODBYE to the producer.
pub(super) async fn goodbye(
    stream: &mut OwnedWriteHalf,
    checksums: bool,
    stall_timeout: Duration,
) -> io::Result<()> {
    let mut out = Vec::new();
    encode_empty(&mut out, Kind::Goodbye, checksums);
    timeout(stall_timeout, stream.write_all(&out)).await??;
    stream.shutdown().await
}
