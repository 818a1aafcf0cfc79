//! What waits, what is sent, and in which order, without a service.

use super::backlog::{Backlog, NewBatch};
use super::connection::Frames;
use super::lane::{LaneGeometry, LaneMemory, send_descriptor};
use super::wire::{
    Ack, AppendFields, Batch, ErrorCode, ErrorFrame, FRAME_HEADER_LEN, FrameHeader, Hello, HelloFields, Kind,
    LaneOffer, VERSION, Welcome, WireFault, encode_empty,
};
use super::{Producer, ProducerError, ProducerOptions};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::task::{Context, Waker};
use std::time::Duration;
use waldo_shm_protocol::lane::SERVICE_LINE_OFFSET;

fn welcome(last_number: u64, window_batches: u32) -> Welcome {
    Welcome {
        version: VERSION,
        frame_len_max: 100_000,
        record_len_max: 50_000,
        window_batches,
        window_bytes: 100_000,
        tip: 0,
        last_number,
        epoch: 1,
        durability: 2,
        ring_id: [1; 16],
    }
}

fn backlog(named: bool) -> Backlog {
    Backlog::new(named, true, 10_000, welcome(if named { 10 } else { 0 }, 4))
}

fn push(backlog: &mut Backlog, records: usize, expected: Option<u64>) {
    let batch = NewBatch::new(&vec![b"payload"; records], expected, false);
    backlog.check(&batch).unwrap();
    backlog.push(batch, oneshot::channel().0);
}

/// What is sent now.
fn sent(backlog: &mut Backlog) -> Vec<AppendFields> {
    let mut out = Vec::new();
    backlog.take(&mut out, usize::MAX);
    let mut fields = Vec::new();
    let mut rest = out.as_slice();
    while let Some((head, after)) = rest.split_first_chunk::<FRAME_HEADER_LEN>() {
        let header = FrameHeader::read(head, usize::MAX).unwrap();
        let (body, after) = after.split_at(header.body_len());
        header.verify(body).unwrap();
        fields.push(*Batch::check(body).unwrap().fields());
        rest = after;
    }
    fields
}

fn numbers(backlog: &mut Backlog) -> Vec<(u64, u64)> {
    sent(backlog).iter().map(|fields| (fields.batch, fields.first_number)).collect()
}

fn ack(batch: u64, last_number: u64) -> Ack {
    Ack { batch, first_seq_no: 1, last_seq_no: 1, last_number, duplicates: 0, flags: 0 }
}

#[test]
fn records_are_numbered_when_they_are_sent_and_keep_their_numbers() {
    let mut backlog = backlog(true);
    for records in [1, 2, 3, 1, 1] {
        push(&mut backlog, records, None);
    }
    // No more than the window.
    assert_eq!(numbers(&mut backlog), [(1, 11), (2, 12), (3, 14), (4, 17)]);
    assert!(!backlog.can_send());
    assert!(backlog.acked(&ack(1, 11)).is_some());
    assert_eq!(numbers(&mut backlog), [(5, 18)]);
    // Out of order, as when some are to be durable and some not.
    assert!(backlog.acked(&ack(3, 16)).is_some());
    assert!(backlog.acked(&ack(3, 16)).is_none(), "an answer counts once");
    assert!(backlog.acked(&ack(99, 0)).is_none());
    // All but the answered ones again, under the same numbers.
    backlog.reconnected(welcome(16, 4)).unwrap();
    assert_eq!(numbers(&mut backlog), [(2, 12), (4, 17), (5, 18)]);
    for (batch, last) in [(2, 13), (4, 17), (5, 18)] {
        assert!(backlog.acked(&ack(batch, last)).is_some());
    }
    assert!(backlog.is_empty());
    assert_eq!(backlog.acknowledged(), 18);
}

#[test]
fn behind_a_condition_a_named_producer_waits_for_the_answer() {
    let mut backlog = backlog(true);
    push(&mut backlog, 2, Some(7));
    push(&mut backlog, 1, None);
    assert_eq!(numbers(&mut backlog), [(1, 11)]);
    let (_, error) = backlog.conflicted(1, 9).unwrap();
    assert!(matches!(error, ProducerError::Conflict { expected: 7, tip: 9 }));
    // The numbers of what was refused are used by the next.
    assert_eq!(numbers(&mut backlog), [(2, 11)]);
    let mut unnamed = self::backlog(false);
    push(&mut unnamed, 2, Some(7));
    push(&mut unnamed, 1, None);
    assert_eq!(numbers(&mut unnamed), [(1, 0), (2, 0)]);
}

#[test]
fn a_service_that_knows_less_than_it_acknowledged_is_told_apart() {
    let mut backlog = backlog(true);
    push(&mut backlog, 5, None);
    sent(&mut backlog);
    backlog.acked(&ack(1, 15)).unwrap();
    assert!(matches!(
        backlog.reconnected(welcome(12, 4)),
        Err(ProducerError::Lost { stored: 12, acknowledged: 15 })
    ));
}

#[test]
fn what_waits_is_bounded_and_one_batch_always_gets_in() {
    let mut backlog = backlog(false);
    let large = || NewBatch::new(&[vec![0; 40_000]], None, false);
    backlog.check_space(&large()).unwrap();
    backlog.push(large(), oneshot::channel().0);
    assert!(matches!(backlog.check_space(&large()), Err(ProducerError::Full { max: 10_000, .. })));
    sent(&mut backlog);
    backlog.acked(&ack(1, 0)).unwrap();
    backlog.check_space(&large()).unwrap();
    let record = NewBatch::new(&[vec![0; 50_001]], None, false);
    assert!(matches!(backlog.check(&record), Err(ProducerError::RecordTooLarge { .. })));
    let batch = NewBatch::new(&vec![vec![0; 10_000]; 11], None, false);
    assert!(matches!(backlog.check(&batch), Err(ProducerError::BatchSize { .. })));
    let empty = NewBatch::new(&[] as &[&[u8]], None, false);
    assert!(matches!(backlog.check(&empty), Err(ProducerError::BatchSize { records: 0, .. })));
}

/// Gives a byte at a time.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = self.0.len().min(out.len()).min(1);
        let (now, later) = self.0.split_at(len);
        out[..len].copy_from_slice(now);
        self.0 = later;
        Ok(len)
    }
}

#[test]
fn frames_are_put_together_from_any_pieces() {
    let mut bytes = Vec::new();
    for batch in 0..1000 {
        ack(batch, batch).encode(&mut bytes, batch % 2 == 0);
        encode_empty(&mut bytes, Kind::Goodbye, false);
    }
    for drip in [true, false] {
        let source: Box<dyn Read> = if drip { Box::new(Drip(&bytes)) } else { Box::new(bytes.as_slice()) };
        let mut frames = Frames::new(source, Path::new("nowhere"));
        for batch in 0..1000 {
            let (kind, body) = frames.next().unwrap().unwrap();
            assert_eq!((kind, Ack::check(body).unwrap()), (Kind::Ack, ack(batch, batch)));
            assert_eq!(frames.next().unwrap().unwrap().0, Kind::Goodbye);
        }
        assert!(frames.next().unwrap().is_none());
    }
}

#[test]
fn options_that_cannot_work_are_refused() {
    let refused = |options: ProducerOptions| matches!(options.check(), Err(ProducerError::Options { .. }));
    assert!(refused(ProducerOptions::default().name("")));
    assert!(refused(ProducerOptions::default().name("x".repeat(65))));
    assert!(refused(ProducerOptions::default().name("a\nb")));
    assert!(refused(ProducerOptions::default().buffer_bytes(0)));
    assert!(refused(ProducerOptions::default().backoff(Duration::ZERO, Duration::ZERO)));
    assert!(ProducerOptions::default().name("x".repeat(64)).check().is_ok());
}

/// A service that says welcome and nothing else.
fn mute_service(path: &Path) -> std::thread::JoinHandle<UnixStream> {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut out = Vec::new();
        welcome(0, 4).encode(&mut out, false);
        LaneOffer { capacity: 0 }.encode(&mut out, false);
        stream.write_all(&out).unwrap();
        stream
    })
}

#[test]
fn an_append_that_waits_is_remembered_once_and_only_while_it_waits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let service = mute_service(&path);
    let options = ProducerOptions::default().buffer_bytes(1);
    let producer = Producer::connect(&path, options).unwrap();
    let _ticket = producer.append(&[b"fills the buffer"]).unwrap();
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(producer.append_async(&[b"waits"]))).collect();
    for _ in 0..100 {
        for append in &mut waiting {
            assert!(append.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(producer.waiting(), 3);
    }
    waiting.truncate(1);
    assert_eq!(producer.waiting(), 1, "appends that were given up are still remembered");
    drop(waiting);
    assert_eq!(producer.waiting(), 0);
    drop(producer);
    drop(service.join().unwrap());
}

#[test]
fn a_service_that_takes_no_connection_is_tried_for_as_long_as_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let _stopped = UnixListener::bind(&path).unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = super::connect_at_once(&path) {
        queued.push(stream);
    }
    let connect = || Producer::connect(&path, ProducerOptions::default().connect_timeout(Duration::ZERO));
    let error = connect().unwrap_err();
    let full = "its queue of connections is full";
    assert!(matches!(error, ProducerError::Connect { .. }) && error.to_string().contains(full), "{error}");
}

#[test]
fn a_welcome_has_half_a_minute_unless_it_is_to_come_in_time() {
    let seconds = Duration::from_secs;
    let options = ProducerOptions::default();
    assert_eq!(options.welcome_timeout(Some(Duration::ZERO)), seconds(30));
    let options = options.welcome_in_time(true);
    for (left, given) in [(Some(0), 1), (Some(7), 7), (Some(90), 30), (None, 30)] {
        assert_eq!(options.welcome_timeout(left.map(seconds)), seconds(given), "{left:?}");
    }
}

/// A service from before there were lanes refuses the flag as it refuses every flag that it does not know.
#[test]
fn a_service_that_knows_no_lanes_is_not_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let service = std::thread::spawn(move || {
        let mut flags = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let mut frame = [0; FRAME_HEADER_LEN + size_of::<HelloFields>()];
            stream.read_exact(&mut frame).unwrap();
            let hello = Hello::check(&frame[FRAME_HEADER_LEN..]).unwrap();
            flags.push(hello.lane);
            let mut out = Vec::new();
            if hello.lane {
                let (code, text) = (ErrorCode::Malformed, "unknown flags 0x6".to_owned());
                ErrorFrame { batch: 0, detail: 0, code, fatal: true, text }.encode(&mut out, false);
                stream.write_all(&out).unwrap();
                continue;
            }
            welcome(0, 4).encode(&mut out, false);
            stream.write_all(&out).unwrap();
            return (stream, flags);
        }
    });
    let producer = Producer::connect(&path, ProducerOptions::default()).unwrap();
    assert_eq!(producer.welcome(), welcome(0, 4));
    assert_eq!(service.join().unwrap().1, [true, false]);
}

/// Whatever the service says about the lane: a producer ends, and neither waits for ever nor reads elsewhere.
#[test]
fn a_lane_whose_service_says_what_cannot_be_ends_the_producer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let service = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let (_memory, descriptor) = LaneMemory::create(LaneGeometry::new(4096).unwrap()).unwrap();
        let mut out = Vec::new();
        welcome(0, 4).encode(&mut out, false);
        LaneOffer { capacity: 4096 }.encode(&mut out, false);
        let taken = File::from(descriptor.try_clone().unwrap());
        send_descriptor(stream.as_fd(), &out, descriptor.as_fd()).unwrap();
        taken.write_all_at(&800_u64.to_le_bytes(), SERVICE_LINE_OFFSET as u64).unwrap();
        stream
    });
    let producer = Producer::connect(&path, ProducerOptions::default()).unwrap();
    let stream = service.join().unwrap();
    let ticket = producer.append(&[b"x"]).unwrap();
    // The service ends the connection when the producer does.
    let mut ended = stream.try_clone().unwrap();
    while ended.read(&mut [0; 64]).unwrap() > 0 {}
    drop((stream, ended));
    assert!(matches!(ticket.wait(), Err(ProducerError::Wire(WireFault::Lane(_)))));
}

/// A service says that there is a lane and passes no descriptor, or one that is none: the producer uses the
/// socket, as if there were no lane.
#[test]
fn a_lane_that_cannot_be_used_is_left_alone() {
    let geometry = LaneGeometry::new(4096).unwrap();
    let unsealed = File::from(memfd_create("unsealed", MFdFlags::MFD_ALLOW_SEALING).unwrap());
    unsealed.set_len(geometry.lane_len()).unwrap();
    let (_, longer) = LaneMemory::create(LaneGeometry::new(8192).unwrap()).unwrap();
    let (pipe, _) = std::io::pipe().unwrap();
    let passed = [
        ("nothing", None),
        ("what somebody could cut short", Some(unsealed)),
        ("a lane of another length", Some(File::from(longer))),
        ("what cannot be mapped", Some(File::from(OwnedFd::from(pipe)))),
    ];
    for (what, file) in passed {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let service = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let mut hello = [0; FRAME_HEADER_LEN + size_of::<HelloFields>()];
            stream.read_exact(&mut hello).unwrap();
            let mut out = Vec::new();
            welcome(0, 4).encode(&mut out, false);
            LaneOffer { capacity: geometry.capacity() }.encode(&mut out, false);
            match file {
                Some(file) => {
                    assert_eq!(send_descriptor(stream.as_fd(), &out, file.as_fd()).unwrap(), out.len())
                }
                None => stream.write_all(&out).unwrap(),
            }
            let mut head = [0; FRAME_HEADER_LEN];
            stream.read_exact(&mut head).unwrap();
            let kind = FrameHeader::read(&head, 4096).unwrap().kind();
            out.clear();
            ack(1, 0).encode(&mut out, false);
            stream.write_all(&out).unwrap();
            (stream, kind)
        });
        let options = ProducerOptions::default().reconnect_for(Some(Duration::ZERO));
        let producer = Producer::connect(&path, options).unwrap();
        let stored = producer.append(&[b"x"]).unwrap().wait();
        assert_eq!(stored.unwrap_or_else(|error| panic!("{what}: {error}")).last_seq_no, 1);
        assert_eq!(service.join().unwrap().1, Kind::Append, "{what}");
    }
}
