//! A producer that may send anything, over the socket or through a lane.

use super::wait::{DEADLINE, wait_until};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use waldo::client::lane::{LaneFiller, LaneGeometry, LaneMemory, Receiving};
use waldo::client::wire::{
    Ack, AppendFields, ErrorFrame, FRAME_HEADER_LEN, FrameHeader, Hello, Kind, LaneOffer, Welcome,
    encode_append, encode_empty,
};

/// Set for tests in which producers send through lanes.
pub const TRANSPORT: &str = "WALDO_TEST_TRANSPORT";

/// Whether producers send through lanes.
pub fn by_lane() -> bool {
    std::env::var_os(TRANSPORT).is_some()
}

/// What the service sent.
#[derive(Debug)]
pub enum Heard {
    Welcome(Welcome),
    Ack(Ack),
    Error(ErrorFrame),
    Goodbye,
    Bell,
    End,
}

/// A lane, as its producer has it.
pub struct RawLane {
    memory: LaneMemory,
    filler: LaneFiller,
    /// The same memory: whoever writes to it does as whoever has it mapped.
    pub file: File,
    pub capacity: u64,
}

impl RawLane {
    /// Stores a word of the lane, whatever it stands for.
    pub fn store(&self, offset: u64, value: u64) {
        self.file.write_all_at(&value.to_le_bytes(), offset).unwrap();
    }

    /// Puts bytes in as they are, with zeros up to a whole word, and tells nobody.
    pub fn put(&mut self, bytes: &[u8]) {
        let mut put = 0;
        wait_until("there is room in the lane", || {
            put += self.filler.put(&self.memory.lane(), &bytes[put..]).unwrap();
            put == bytes.len()
        });
    }
}

/// The second part is there if frames are to go through a lane.
pub struct Raw(pub UnixStream, pub Option<RawLane>);

impl Raw {
    /// Connects and says nothing.
    pub fn connect(path: &Path) -> Raw {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Raw(stream, None)
    }

    /// Connects and exchanges HELLO and WELCOME.
    pub fn greet(path: &Path, name: Option<&str>) -> (Raw, Welcome) {
        if by_lane() {
            return Raw::greet_with_lane(path, name);
        }
        let mut raw = Raw::connect(path);
        raw.send(&hello(name));
        match raw.hear() {
            Heard::Welcome(welcome) => (raw, welcome),
            other => panic!("{other:?}"),
        }
    }

    /// The same with a lane, which the service must have.
    pub fn greet_with_lane(path: &Path, name: Option<&str>) -> (Raw, Welcome) {
        let mut raw = Raw::connect(path);
        raw.send(&hello_with(name, true));
        let mut receiving = Receiving::new(raw.0.try_clone().unwrap(), true);
        let mut next = |kind| {
            let mut head = [0; FRAME_HEADER_LEN];
            receiving.read_exact(&mut head).unwrap();
            let header = FrameHeader::read(&head, 4096).unwrap();
            assert_eq!(header.kind(), kind);
            let mut body = vec![0; header.body_len()];
            receiving.read_exact(&mut body).unwrap();
            body
        };
        let welcome = Welcome::check(&next(Kind::Welcome)).unwrap();
        let LaneOffer { capacity } = LaneOffer::check(&next(Kind::Lane)).unwrap();
        let descriptor = receiving.finish().expect("the service offers no lane");
        let file = File::from(descriptor.try_clone().unwrap());
        let memory = LaneMemory::map(descriptor, LaneGeometry::new(capacity).unwrap()).unwrap();
        raw.1 = Some(RawLane { memory, filler: LaneFiller::new(), file, capacity });
        (raw, welcome)
    }

    /// Sends frames, or what looks like some.
    pub fn send(&mut self, bytes: &[u8]) {
        let Some(lane) = &mut self.1 else {
            // Whoever is refused while it sends hears why.
            return self.0.write_all(bytes).unwrap();
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = rest.first_chunk().map_or(usize::MAX, |len| u32::from_le_bytes(*len) as usize);
            let (frame, behind) = rest.split_at(len.saturating_add(FRAME_HEADER_LEN).min(rest.len()));
            let mut put = 0;
            wait_until("there is room in the lane", || {
                put += lane.filler.put(&lane.memory.lane(), &frame[put..]).unwrap();
                if lane.filler.must_wake(&lane.memory.lane()) {
                    self.0.write_all(&empty(Kind::Bell)).unwrap();
                }
                put == frame.len()
            });
            rest = behind;
        }
    }

    /// Says BELL.
    pub fn ring(&mut self) {
        self.0.write_all(&empty(Kind::Bell)).unwrap();
    }

    /// The next frame that is no BELL.
    pub fn hear(&mut self) -> Heard {
        self.hear_behind_bells().1
    }

    /// The next frame that is no BELL, and how many of those came before it.
    pub fn hear_behind_bells(&mut self) -> (usize, Heard) {
        let mut bells = 0;
        loop {
            match self.hear_any() {
                Heard::Bell => bells += 1,
                heard => return (bells, heard),
            }
        }
    }

    fn hear_any(&mut self) -> Heard {
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
            Kind::Bell if self.1.is_some() => Heard::Bell,
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
    hello_with(name, false)
}

fn hello_with(name: Option<&str>, lane: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let hello = Hello { name: name.map(str::to_owned), durable: false, checksums: true, lane };
    hello.encode(&mut out).unwrap();
    out
}

/// A frame without a body.
pub fn empty(kind: Kind) -> Vec<u8> {
    let mut out = Vec::new();
    encode_empty(&mut out, kind, true);
    out
}

/// An APPEND of `payloads`, the first of them the producer's `first_number`th.
pub fn append(batch: u64, first_number: u64, payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    let fields = AppendFields { batch, first_number, previous: 0, count: 0, flags: 0 };
    encode_append(&mut out, fields, payloads, true);
    out
}
