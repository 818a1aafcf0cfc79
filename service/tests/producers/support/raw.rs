//! A producer that may send anything.

use super::wait::DEADLINE;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use waldo::client::wire::{
    Ack, AppendFields, ErrorFrame, FRAME_HEADER_LEN, FrameHeader, Hello, Kind, Welcome, encode_append,
};

/// What the service sent.
#[derive(Debug)]
pub enum Heard {
    Welcome(Welcome),
    Ack(Ack),
    Error(ErrorFrame),
    Goodbye,
    End,
}

pub struct Raw(pub UnixStream);

impl Raw {
    /// Connects and says nothing.
    pub fn connect(path: &Path) -> Raw {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Raw(stream)
    }

    /// Connects and exchanges HELLO and WELCOME.
    pub fn greet(path: &Path, name: Option<&str>) -> (Raw, Welcome) {
        let mut raw = Raw::connect(path);
        raw.send(&hello(name));
        match raw.hear() {
            Heard::Welcome(welcome) => (raw, welcome),
            other => panic!("{other:?}"),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The next frame.
    pub fn hear(&mut self) -> Heard {
        let mut head = [0; FRAME_HEADER_LEN];
        match self.0.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("the service says nothing")
            }
            Err(_) => return Heard::End,
        }
        let header = FrameHeader::read(&head, 4096).unwrap();
        let mut body = vec![0; header.body_len()];
        self.0.read_exact(&mut body).unwrap();
        header.verify(&body).unwrap();
        match header.kind() {
            Kind::Welcome => Heard::Welcome(Welcome::check(&body).unwrap()),
            Kind::Ack => Heard::Ack(Ack::check(&body).unwrap()),
            Kind::Error => Heard::Error(ErrorFrame::check(&body).unwrap()),
            Kind::Goodbye => Heard::Goodbye,
            other => panic!("{other:?}"),
        }
    }

    pub fn ack(&mut self) -> Ack {
        match self.hear() {
            Heard::Ack(ack) => ack,
            other => panic!("{other:?}"),
        }
    }

    pub fn error(&mut self) -> ErrorFrame {
        match self.hear() {
            Heard::Error(error) => error,
            other => panic!("{other:?}"),
        }
    }
}

pub fn hello(name: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    let hello = Hello { name: name.map(str::to_owned), durable: false, checksums: true };
    hello.encode(&mut out).unwrap();
    out
}

/// An APPEND of `payloads`, the first of them the producer's `first_number`th.
pub fn append(batch: u64, first_number: u64, payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    let fields = AppendFields { batch, first_number, previous: 0, count: 0, flags: 0 };
    encode_append(&mut out, fields, payloads, true);
    out
}
