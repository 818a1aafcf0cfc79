//! Redis Streams: a redis-server of our own on a Unix socket, XADD by the publisher, XREAD BLOCK by each
//! subscriber.

use crate::harness::spec::Spec;
use crate::system::{Facts, Publisher, Server, Subscriber};
use anyhow::{Context, bail};
use redis::{Client, Cmd, Connection, Pipeline, Value};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const FACTS: Facts = Facts {
    name: "Redis Streams",
    persists: "nothing: lives in the server's memory (outlives the publisher)",
    slow: "nobody waits; the stream stays in the server's memory until it is trimmed",
    wakes: "the server answers XREAD BLOCK",
};

pub const FACTS_AOF: Facts = Facts {
    name: "Redis Streams, AOF everysec",
    persists: "page cache before the answer (survives kill -9), disk every second",
    ..FACTS
};

const PROGRAM: &str = "redis-server";
const STREAM: &str = "s";
/// Entries that a subscriber takes at once. Without a limit, one that is behind is sent all it has missed in
/// one answer, which the server builds in its memory for each of a thousand subscribers.
const COUNT: usize = 1000;

/// The server. What is set, and why:
/// - a Unix socket and no port: faster than TCP, and nobody else is disturbed
/// - `--save ""`, so that it does not write snapshots while it is being measured
/// - `--maxclients`: each subscriber is one, and 10,000 is the default
/// - output buffers of ordinary clients are unlimited by default, so that nobody is cut off for being slow:
///   left alone
/// - `--io-threads` stays 1: Redis advises against more on machines with fewer than four cores
/// - no MAXLEN in XADD: the whole run fits into memory, as it fits into Waldo's ring
pub fn server(spec: &Spec, append_only: bool) -> anyhow::Result<Server> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|dir| dir.join(PROGRAM).is_file()) {
        bail!(
            "no redis-server on PATH: install it (Debian, Ubuntu: apt-get install redis-server; then \
             systemctl disable --now redis-server, since this starts its own)"
        );
    }
    let socket = socket(spec);
    let clients = (spec.subscribers + 64).max(1000).to_string();
    let folder = spec.data.to_str().context("the folder's name must be UTF-8")?;
    let socket_name = socket.to_str().context("the folder's name must be UTF-8")?;
    let (aof, policy) = if append_only { ("yes", "everysec") } else { ("no", "no") };
    let options = [
        ("--port", "0"),
        ("--unixsocket", socket_name),
        ("--dir", folder),
        ("--save", ""),
        ("--appendonly", aof),
        ("--appendfsync", policy),
        ("--maxclients", &clients),
        ("--daemonize", "no"),
        ("--loglevel", "warning"),
    ];
    let words = options.iter().flat_map(|(name, value)| [*name, *value]);
    let command = std::iter::once(PROGRAM).chain(words).map(str::to_owned).collect();
    Ok(Server { command, socket })
}

struct Adder {
    connection: Connection,
    pipeline: Pipeline,
}

pub fn publisher(spec: &Spec) -> anyhow::Result<Box<dyn Publisher>> {
    Ok(Box::new(Adder { connection: connect(&socket(spec))?, pipeline: Pipeline::new() }))
}

impl Publisher for Adder {
    /// All XADDs in one pipeline, and all answers awaited: an answer is what acknowledges a record.
    fn publish(&mut self, records: &[Vec<u8>]) -> anyhow::Result<()> {
        self.pipeline.clear();
        for record in records {
            self.pipeline.cmd("XADD").arg(STREAM).arg("*").arg("d").arg(record.as_slice()).ignore();
        }
        Ok(self.pipeline.exec(&mut self.connection)?)
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

struct Blocked {
    connection: Connection,
    /// The last entry that was read. From the beginning on, so that none is missed between two calls.
    last: Vec<u8>,
}

pub fn subscriber(spec: &Spec) -> anyhow::Result<Box<dyn Subscriber>> {
    Ok(Box::new(Blocked { connection: connect(&socket(spec))?, last: b"0-0".to_vec() }))
}

impl Subscriber for Blocked {
    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
        let mut command = Cmd::new();
        command.arg("XREAD").arg("COUNT").arg(COUNT).arg("BLOCK").arg(1000);
        command.arg("STREAMS").arg(STREAM).arg(self.last.as_slice());
        // By hand: the crate's own reply types make a map for each entry.
        let Some(entries) = entries(command.query(&mut self.connection)?)? else { return Ok(()) };
        for entry in entries {
            let Value::Array(parts) = entry else { bail!("XREAD answered with an entry that is none") };
            let mut parts = parts.into_iter();
            let (Some(Value::BulkString(id)), Some(Value::Array(fields))) = (parts.next(), parts.next())
            else {
                bail!("XREAD answered with an entry without number or fields");
            };
            let Some(Value::BulkString(record)) = fields.get(1) else {
                bail!("XREAD answered with an entry without a record");
            };
            take(record);
            self.last = id;
        }
        Ok(())
    }
}

/// The entries of the one stream that was asked for; `None` if the time was up.
fn entries(answer: Value) -> anyhow::Result<Option<Vec<Value>>> {
    let Value::Array(streams) = answer else { return Ok(None) };
    let Some(Value::Array(stream)) = streams.into_iter().next() else { return Ok(None) };
    match stream.into_iter().nth(1) {
        Some(Value::Array(entries)) => Ok(Some(entries)),
        _ => bail!("XREAD answered with a stream without entries"),
    }
}

fn connect(socket: &Path) -> anyhow::Result<Connection> {
    let client = Client::open(format!("redis+unix://{}", socket.display()))?;
    // With a thousand of them the server may need a while to accept.
    client.get_connection_with_timeout(Duration::from_secs(60)).context("cannot connect to redis-server")
}

fn socket(spec: &Spec) -> PathBuf {
    spec.run.join("redis")
}
