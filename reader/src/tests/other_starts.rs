//! Segments of a writer's start that is over, while another start is at work where nobody can see its
//! segment.
//!
//! A service was restarted with another `/dev/shm` (a private one, as containers and service managers give).
//! The name of the segment depends on ring and directory only, so the link went on leading to the reader's
//! old object, and nothing in that said that another start was writing: followers waited on it for ever,
//! streams too, and `stat` said that the ring was closed while records came in. The same with an object that
//! was removed and made anew, and with a writer that was killed before it could call the old segment out of
//! use. The number of the start in `ring.meta` is what all sides see, so readers compare it with the one in
//! the segment.

use crate::testing::{DEADLINE, Forge, ForgedControl, drain, numbers, read_n, until};
use crate::{
    AttachOptions, Batches, ControlKind, Cursor, OnLapped, Reader, ReaderOptions, Ring, WriterStatus,
};
use futures_core::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Context, Poll, Wake};
use std::thread;
use std::time::Duration;
use waldo_shm_protocol::segment::WriterState;

const PAGE: u64 = 16384;
const MINUTE_NS: u64 = 60_000_000_000;

/// How a start can have ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Closed,
    Failed,
    /// Killed a minute ago.
    Killed,
    /// Killed just now, seen alive until a moment ago.
    JustKilled,
    /// Killed while it read the files.
    KilledInRecovery,
    Retired,
}

const ENDS: [End; 6] =
    [End::Closed, End::Failed, End::Killed, End::JustKilled, End::KilledInRecovery, End::Retired];

fn end(control: &ForgedControl, end: End) {
    let long_ago = crate::clock::boottime_ns().saturating_sub(MINUTE_NS);
    match end {
        End::Closed => control.state(WriterState::Closed),
        End::Failed => control.publisher().fail(5),
        End::Killed => control.publisher().beat(long_ago),
        End::JustKilled => {}
        End::KilledInRecovery => {
            control.publisher().beat(long_ago);
            control.state(WriterState::Recovering);
        }
        End::Retired => control.state(WriterState::Retired),
    }
}

/// What the link leads to when the next start has come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Link {
    /// To the old object, as the reader sees it.
    Old,
    /// To nothing: the object was removed.
    Nothing,
    /// There is none.
    Missing,
}

const LINKS: [Link; 3] = [Link::Old, Link::Nothing, Link::Missing];

/// The next start comes: its segment cannot be seen.
fn restart_unseen(forge: &mut Forge, link: Link) -> ForgedControl {
    let control = forge.start_unseen().unwrap();
    match link {
        Link::Old => forge.write_link(&control.path),
        Link::Nothing => std::fs::remove_file(&control.path).unwrap(),
        Link::Missing => std::fs::remove_file(forge.home().join("control.link")).unwrap(),
    }
    control
}

/// One stream, polled when it is woken.
struct Task {
    stream: Batches,
    send: Sender<()>,
    woken: Receiver<()>,
}

struct Signal(Sender<()>);

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

impl Task {
    fn new(reader: Reader) -> Task {
        let (send, woken) = mpsc::channel();
        Task { stream: reader.into_stream(), send, woken }
    }

    /// The next `n` records.
    fn read_n(&mut self, n: usize) -> Vec<u64> {
        let mut seen = Vec::new();
        while seen.len() < n {
            let waker = Arc::new(Signal(self.send.clone())).into();
            match Pin::new(&mut self.stream).poll_next(&mut Context::from_waker(&waker)) {
                Poll::Ready(batch) => seen.extend(numbers(&batch.unwrap().unwrap())),
                Poll::Pending => self.woken.recv_timeout(DEADLINE).expect("woken in time"),
            }
        }
        seen
    }
}

/// Readers that follow in different ways, each at record 5.
struct Followers {
    ring: crate::Ring,
    polls: Reader,
    receives: Reader,
    sleeper: thread::JoinHandle<Vec<u64>>,
    task: Task,
}

fn followers(forge: &Forge) -> Followers {
    let ring = forge.attach();
    let reader = || {
        let mut reader = ring.reader(Cursor::Oldest).unwrap();
        assert_eq!(drain(&mut reader), [1, 2, 3, 4, 5]);
        reader
    };
    let mut sleeps = forge.attach().reader(Cursor::Tip).unwrap();
    assert!(sleeps.poll().unwrap().is_none());
    // An attachment of its own: only its waiting thread looks after it.
    let mut task = Task::new(forge.attach().reader(Cursor::Oldest).unwrap());
    assert_eq!(task.read_n(5), [1, 2, 3, 4, 5]);
    let (polls, receives) = (reader(), reader());
    let sleeper = thread::spawn(move || numbers(&sleeps.recv(None).unwrap().unwrap()));
    Followers { ring, polls, receives, sleeper, task }
}

impl Followers {
    fn all_get(mut self, next: &[u64], context: &str) -> crate::Ring {
        let polled = until("records for who polls", || self.polls.poll().unwrap());
        assert_eq!(numbers(&polled), next, "{context}");
        assert_eq!(read_n(&mut self.receives, next.len()), next, "{context}");
        assert_eq!(self.task.read_n(next.len()), next, "{context}");
        assert_eq!(self.sleeper.join().unwrap(), next, "{context}");
        self.ring
    }
}

#[test]
fn followers_go_over_to_the_next_segment_though_nobody_retired_the_old_one() {
    // The start that made the next segment was killed before it could; another one took that over.
    for how in ENDS {
        let mut forge = Forge::live(PAGE, 4);
        forge.append_n(5);
        let followers = followers(&forge);
        let control = forge.start_unseen().unwrap();
        forge.start_unseen();
        end(&control, how);
        forge.write(6, b"six");
        forge.write(7, b"seven");
        forge.open_control();
        let ring = followers.all_get(&[6, 7], &format!("{how:?}"));
        let status = ring.status().unwrap();
        assert_eq!((status.writer, status.epoch), (WriterStatus::Live, 3), "{how:?}");
        assert_ne!(status.control, ControlKind::Files, "{how:?}");
    }
}

#[test]
fn followers_go_over_to_the_files_when_the_next_start_cannot_be_seen() {
    for (how, link) in ENDS.into_iter().flat_map(|how| LINKS.map(|link| (how, link))) {
        let mut forge = Forge::live(PAGE, 4);
        forge.append_n(5);
        let followers = followers(&forge);
        let control = restart_unseen(&mut forge, link);
        forge.append_n(2);
        // Only now: with its end a state may be stored that wakes.
        end(&control, how);

        let ring = followers.all_get(&[6, 7], &format!("{how:?} {link:?}"));
        let status = ring.status().unwrap();
        assert_eq!((status.control, status.tip_seq_no), (ControlKind::Files, Some(7)), "{how:?} {link:?}");
        assert_eq!(status.epoch, 2);
    }
}

#[test]
fn a_start_that_died_in_recovery_is_not_waited_for_when_a_later_one_is_known() {
    // Torture on ext4: a writer was killed while it opened the ring, the next one had a segment that nobody
    // could see. Readers waited until the dead one counted as stalled, and up to eight glances more: 8.7 s.
    const HOUR: Duration = Duration::from_secs(3600);
    for link in LINKS {
        let mut forge = Forge::live(PAGE, 4);
        forge.append_n(5);
        let options = AttachOptions::default().check_interval(Duration::from_millis(20)).stalled_after(HOUR);
        let ring = Ring::attach_with(forge.home(), options).unwrap();
        let mut reader = ring.reader(Cursor::Oldest).unwrap();
        assert_eq!(drain(&mut reader), [1, 2, 3, 4, 5]);
        let control = restart_unseen(&mut forge, link);
        forge.append_n(2);
        end(&control, End::KilledInRecovery);
        let next = until("records for who polls", || reader.poll().unwrap());
        assert_eq!(numbers(&next), [6, 7], "{link:?}");
    }
}

#[test]
fn what_time_alone_will_change_is_not_taken_for_unchanged() {
    const STALLED: Duration = Duration::from_secs(30);
    // At work beyond doubt, and neither that nor stalled: the segment is the one to follow, for now.
    for silence in [Duration::ZERO, Duration::from_secs(2)] {
        let mut forge = Forge::live(PAGE, 4);
        forge.append_n(5);
        let options = AttachOptions::default().stalled_after(STALLED);
        let ring = Ring::attach_with(forge.home(), options).unwrap();
        let control = forge.control.take().unwrap();
        std::fs::remove_file(forge.home().join("control.link")).unwrap();
        let beat_ago = |age: Duration| {
            let now = crate::clock::boottime_ns();
            control.publisher().beat(now.saturating_sub(age.as_nanos() as u64));
        };
        beat_ago(silence);
        let seen = ring.inner.current();
        let same = ring.inner.refresh(&seen).unwrap();
        assert!(Arc::ptr_eq(&same, &seen), "{silence:?}: the segment was left while its writer may be alive");
        // Nothing changes but that time goes by.
        beat_ago(2 * STALLED);
        let next = ring.inner.refresh(&seen).unwrap();
        let by_files = matches!(next.source, crate::source::Source::Files(_));
        assert!(by_files, "{silence:?}: the first look after it has stalled");
    }
}

#[test]
fn nothing_is_said_of_a_start_that_is_over() {
    for (how, link) in ENDS.into_iter().flat_map(|how| LINKS.map(|link| (how, link))) {
        let mut forge = Forge::live(PAGE, 4);
        forge.append_n(5);
        let before = forge.attach();
        let control = restart_unseen(&mut forge, link);
        forge.append_n(2);
        end(&control, how);
        for ring in [before, forge.attach()] {
            // Whoever waits for the successor of a segment that is out of use says so.
            let status = until("the files are asked", || {
                let status = ring.status().unwrap();
                (status.writer != WriterStatus::Recovering).then_some(status)
            });
            assert_eq!(status.writer, WriterStatus::Absent, "{how:?} {link:?}");
            assert_eq!(status.tip_seq_no, Some(7), "{how:?} {link:?}");
        }
    }
}

#[test]
fn a_segment_that_can_be_seen_again_is_gone_over_to() {
    for takes_over in [true, false] {
        let mut forge = Forge::live(PAGE, 4);
        forge.append_n(5);
        let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
        assert_eq!(drain(&mut reader).len(), 5);
        let control = restart_unseen(&mut forge, Link::Old);
        forge.append_n(1);
        end(&control, End::Closed);
        assert_eq!(read_n(&mut reader, 1), [6]);
        assert!(matches!(reader.ring.current().source, crate::source::Source::Files(_)));
        // The next start is given the old `/dev/shm` again, and finds the old object, which it uses or
        // replaces.
        forge.start_unseen();
        if takes_over {
            control.publisher().beat(crate::clock::boottime_ns());
            control.state(WriterState::Recovering);
            forge.write_link(&control.path);
            control.publisher().set_writer(forge.epoch, 1, 250_000_000);
            forge.control = Some(control);
            forge.commit();
            forge.control.as_ref().unwrap().state(WriterState::Live);
        } else {
            forge.open_control();
        }
        until("the segment is followed", || {
            reader.poll().unwrap();
            matches!(reader.ring.current().source, crate::source::Source::Control(_)).then_some(())
        });
        forge.append_n(2);
        assert_eq!(read_n(&mut reader, 2), [7, 8]);
        assert_eq!(forge.attach().status().unwrap().writer, WriterStatus::Live);
    }
}

#[test]
fn a_start_that_takes_its_number_over_the_segment_in_use_keeps_its_readers() {
    let mut forge = Forge::live(PAGE, 4);
    forge.append_n(5);
    let ring = forge.attach();
    let mut reader = ring.reader(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader).len(), 5);
    let control = forge.start_unseen().unwrap();
    control.publisher().beat(crate::clock::boottime_ns());
    // Between the number in the metadata and the one in the segment.
    control.state(WriterState::Recovering);
    assert!(reader.poll().unwrap().is_none());
    assert_eq!(ring.status().unwrap().writer, WriterStatus::Recovering);
    assert_ne!(ring.status().unwrap().control, ControlKind::Files);
    assert_ne!(forge.attach().status().unwrap().control, ControlKind::Files);
}

#[test]
fn a_damaged_slot_of_the_metadata_does_not_hide_a_writer_that_is_alive() {
    // With one slot lost, the metadata allows for a start that nobody knows of, which is a number for the
    // next writer and no reason to leave this one.
    let mut forge = Forge::live(PAGE, 4);
    forge.append_n(5);
    for damaged in [0, 4096] {
        forge.write_meta();
        let file = std::fs::OpenOptions::new().write(true).open(forge.home().join("ring.meta")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 128], damaged).unwrap();
        let status = forge.attach().status().unwrap();
        assert_eq!(status.writer, WriterStatus::Live);
    }
}

#[test]
fn files_that_were_put_back_are_not_hidden_by_a_segment_of_a_later_start() {
    // A backup was restored into the directory of a ring that had been closed. The segment was of a start
    // that the restored metadata does not know, and readers read up to where the log had ended then.
    let mut forge = Forge::new(PAGE, 4);
    forge.append_n(5);
    forge.epoch = 3;
    forge.open_control();
    let control = forge.control.take().unwrap();
    let beyond = waldo_shm_protocol::Position::new(7, 4096).unwrap();
    control.publisher().commit(beyond, 900, 900);
    control.state(WriterState::Closed);
    let ring = forge.attach();
    assert_eq!(ring.status().unwrap().tip_seq_no, Some(5));
    assert_eq!(drain(&mut ring.reader(Cursor::Oldest).unwrap()), [1, 2, 3, 4, 5]);
}

#[test]
fn a_writer_that_dies_over_the_files_does_not_hold_up_streams() {
    // Streams were woken by what somebody stores only. Whoever waited for a writer to be done with the files
    // waited for ever when that writer died.
    let mut forge = Forge::live(PAGE, 4);
    forge.append_n(5);
    let control = forge.control.take().unwrap();
    let options = crate::AttachOptions::default().stalled_after(Duration::from_millis(300));
    let ring = crate::Ring::attach_with(forge.home(), options).unwrap();
    let mut task = Task::new(ring.reader(Cursor::After(3)).unwrap());
    assert_eq!(task.read_n(2), [4, 5]);
    control.publisher().set_writer(1, 1, 10_000_000);
    control.publisher().beat(crate::clock::boottime_ns());
    control.state(WriterState::Recovering);
    control.publisher().set_writer(2, 1, 10_000_000);
    forge.meta.epoch = 2;
    forge.write_meta();
    control.wake();
    let mut late = Task::new(ring.reader(Cursor::After(3)).unwrap());
    // Nobody stores anything any more.
    assert_eq!(late.read_n(2), [4, 5]);
    forge.control = None;
}

/// What a reader stood by when its writer was killed, while the next one, whose segment it could not see,
/// trimmed the ring under it: the segment was retired and its successor was waited for, or was that of a
/// writer that died while it read the files and counted as alive a moment longer. Reading waited, but a
/// search went on by that segment, lost all its tries, and gave "page-...: No such file or directory" of a
/// ring that was whole.
#[test]
fn a_search_behind_an_unseen_writer_that_trims_is_put_off_and_not_failed() {
    let wants = [Cursor::Oldest, Cursor::After(3), Cursor::After(1_000_000)];
    for (state, cursor) in
        [WriterState::Retired, WriterState::Recovering].into_iter().flat_map(|s| wants.map(|w| (s, w)))
    {
        let context = format!("{state:?} {cursor:?}");
        let mut forge = Forge::live(PAGE, 4);
        forge.append_n(600);
        let patience = Duration::from_millis(200);
        let attach = AttachOptions::default().check_interval(patience).stalled_after(patience);
        let options = ReaderOptions { on_lapped: OnLapped::Oldest, ..ReaderOptions::default() };
        // Each with mappings of its own.
        let reader = |cursor| {
            let ring = Ring::attach_with(forge.home(), attach.clone()).unwrap();
            ring.reader_with(cursor, options.clone()).unwrap()
        };
        let (mut reader, mut fresh) = (reader(Cursor::Tip), reader(Cursor::Oldest));
        let old = restart_unseen(&mut forge, Link::Missing);
        old.publisher().set_writer(1, 1, 10_000_000);
        old.publisher().beat(crate::clock::boottime_ns());
        old.state(state);
        // All that the segment names is trimmed.
        let before = forge.position().page();
        while forge.oldest <= before {
            forge.append_n(1);
        }
        reader.seek(cursor).unwrap_or_else(|error| panic!("{context}: {error}"));
        let tip = forge.tip();
        let at_end = matches!(cursor, Cursor::After(1_000_000));
        // The one that stands in the middle is lapped, and nothing worse.
        let (mut seen, mut last) = (Vec::new(), None);
        until(&context, || {
            last = fresh.poll().unwrap().map(|batch| batch.last_seq_no()).or(last);
            if let Some(batch) = reader.poll().unwrap() {
                seen.extend(numbers(&batch));
            }
            let files = matches!(reader.attachment.source, crate::source::Source::Files(_));
            (last == Some(tip) && (seen.last() == Some(&tip) || (at_end && files))).then_some(())
        });
        if !at_end {
            let kept: Vec<u64> = forge.kept().iter().map(|e| e.seq).collect();
            assert!(seen == kept, "{context}: {:?} to {:?}", seen.first(), seen.last());
        }
    }
}
