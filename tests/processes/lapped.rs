//! Readers that are stopped while the ring goes round, and pages that are recycled under everybody's eyes.

use crate::roles::writer_append;
use crate::support::child::Child;
use crate::support::payload::{check_batch, payload, payloads};
use crate::support::ring::{NEVER_MS, Setup, TestRing, careful, counter};
use crate::support::wait::wait_until;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use waldo::protocol::Log;
use waldo::reader::{AttachOptions, Cursor, OnLapped, ReadError, Ring, RingStatus};
use waldo::writer::{Io, Writer};

fn setups() -> [Setup; 3] {
    Io::ALL.map(|io| Setup { io, ring_size: 3, ..Setup::default() })
}

/// Appends until the ring has turned `pages` more pages.
fn turn(writer: &mut Writer, ring: &TestRing, pages: u64, max: usize) -> RingStatus {
    let tip_page = ring.status().tip_page;
    while ring.status().tip_page < tip_page + pages {
        writer_append(writer, 100, 10, max);
    }
    // Trimming follows in the background.
    wait_until("the ring has its size", || ring.status().pages <= u64::from(writer.options().ring_size));
    ring.status()
}

#[test]
fn what_a_stopped_reader_has_mapped_stays_as_it_was() {
    for setup in setups() {
        let ring = TestRing::new();
        let mut writer = ring.writer(&setup);
        writer_append(&mut writer, 10, 10, setup.max);
        let mut holder = Child::spawn("holder", setup.args(ring.home()));
        assert_eq!(holder.numbers("holding"), [1, 10]);
        holder.stop();

        let status = turn(&mut writer, &ring, 20, setup.max);
        assert!(counter(&status, "recycled_pages") > 5, "{status:?}");
        // Looking at the ring opens its pages for a moment. One that could not be recycled because of that is
        // let go in a later round.
        wait_until("no page but the reader's is stuck", || {
            counter(&turn(&mut writer, &ring, 1, setup.max), "stuck_pages") == 1
        });

        holder.say("look");
        holder.resume();
        holder.expect("unchanged");
        let [requested, oldest, lost] = holder.numbers("lapsed")[..] else { panic!() };
        // It finished its page: 64 KiB hold more than ten records.
        assert!(requested > 10);
        assert_eq!(oldest, requested + lost + 1);
        assert_eq!(Some(oldest), ring.status().oldest_seq_no);
        holder.expect("parted");
        holder.kill();
        turn(&mut writer, &ring, 2, setup.max);
        // Counted when the round is over in which the ring got its size.
        wait_until("the stuck page is let go", || counter(&ring.status(), "stuck_pages") == 0);
    }
}

#[test]
fn a_lapped_reader_goes_on_at_the_oldest_record() {
    let setup = Setup { ring_size: 3, ..Setup::default() };
    let ring = TestRing::new();
    let mut writer = ring.writer(&setup);
    writer_append(&mut writer, 10, 10, setup.max);
    let mut holder = Child::spawn("holder", setup.args(ring.home()));
    holder.expect("holding");
    let status = turn(&mut writer, &ring, 12, setup.max);
    holder.say("look");
    holder.expect("unchanged");
    let [_, oldest, _] = holder.numbers("lapsed")[..] else { panic!() };
    holder.expect("parted");
    holder.say("read on");
    assert_eq!(holder.numbers("done"), [oldest, status.tip_seq_no.unwrap()]);
    holder.finish();
}

#[test]
fn a_reader_stopped_while_it_follows_is_told_exactly_what_it_missed() {
    for setup in setups() {
        let ring = TestRing::new();
        let mut writer = ring.writer(&setup);
        let args = setup.args(ring.home()).with("may_lapse", 1).with("report", 50);
        let mut reader = Child::spawn("follower", args);
        reader.expect("ready");
        for _ in 0..3 {
            let tip = writer.tip().unwrap_or(0);
            // Wherever it is just now.
            while reader.skip_to_at_least("at", tip + 1).is_none() {
                assert!(!reader.ended(), "the reader failed");
                writer_append(&mut writer, 20, 5, setup.max);
            }
            reader.stop();
            turn(&mut writer, &ring, 5 * u64::from(setup.ring_size), setup.max);
            reader.resume();
            reader.skip_to("lapsed");
        }
        let total = writer.tip().unwrap();
        reader.say(total);
        let [received, lost, last] = reader.skip_to("done")[..] else { panic!() };
        assert_eq!(last, total);
        assert_eq!(received + lost, total);
        assert!(lost > 0);
        reader.finish();
        writer.close().unwrap();
    }
}

#[test]
fn a_page_is_never_recycled_under_a_reader_that_just_opened_it() {
    const PAGES: u64 = 1500;
    for page_len in [16 << 10, 64 << 10] {
        let setup = Setup { ring_size: 2, page_len, interval_ms: Some(0), ..Setup::default() };
        let ring = TestRing::new();
        let mut writer = ring.writer(&setup);
        writer_append(&mut writer, 1, 1, setup.max);
        let args = || setup.args(ring.home()).with("pages", PAGES);
        let mut readers: Vec<Child> = (0..2).map(|_| Child::spawn("churn", args())).collect();
        for reader in &mut readers {
            reader.expect("ready");
        }
        let mut done = Vec::new();
        while !readers.is_empty() {
            for _ in 0..50 {
                let next = writer.tip().unwrap() + 1;
                writer.append_payloads(&payloads(next, next + 20, setup.max)).unwrap();
            }
            readers.retain_mut(|reader| {
                // One that has ended says what it came to, or the test fails for its silence.
                let message = if reader.ended() { Some(reader.hear()) } else { reader.hear_now() };
                done.extend(message.clone());
                message.is_none()
            });
        }
        assert!(done.iter().all(|message| message[0] == "done"), "{done:?}");
        let status = ring.status();
        println!("{page_len} bytes a page: {done:?}, {:?}", status.counters);
        assert!(counter(&status, "recycled_pages") > 100, "{status:?}");
        assert!(counter(&status, "disk_bytes") <= 4 * page_len, "{status:?}");
    }
}

/// Nanoseconds since 1970.
fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// Appends until so many pages more are full, with records of this time.
fn fill_at(writer: &mut Writer, time_ns: u64, pages: u64, max: usize) {
    let last = writer.committed().page() + pages;
    while writer.committed().page() < last {
        let tip = writer.tip().unwrap_or(0);
        writer.append_at(time_ns, &[Log::new_borrowed(tip + 1, tip, &payload(tip + 1, max))]).unwrap();
    }
}

/// Pages leave a ring for their age too, of which no reader knows anything: to one that is behind it is as if
/// the ring had gone round.
#[test]
fn a_reader_that_is_behind_what_became_too_old_is_told_and_goes_on_at_the_oldest_record() {
    const HOUR: Duration = Duration::from_secs(3600);
    // Nothing is too old before there is a flush, which the test asks for.
    for setup in setups().map(|setup| Setup { interval_ms: Some(NEVER_MS), ..setup }) {
        for (files_only, read_before) in [(false, true), (false, false), (true, true), (true, false)] {
            let ring = TestRing::new();
            let options = setup.options().ring_size(50).keep_for(HOUR);
            let mut writer = Writer::open(ring.home(), options).unwrap();
            fill_at(&mut writer, now_ns() - 3 * HOUR.as_nanos() as u64, 6, setup.max);
            let attach = AttachOptions::default().files_only(files_only);
            let ring_read = Ring::attach_with(ring.home(), attach).unwrap();
            let reader = |on_lapped| {
                let options = careful().on_lapped(on_lapped).batch_bytes(1);
                ring_read.reader_with(Cursor::Oldest, options).unwrap()
            };
            let (mut stays, mut goes_on) = (reader(OnLapped::Fail), reader(OnLapped::Oldest));
            let mut read = 0;
            if read_before {
                read = check_batch(&stays.poll().unwrap().unwrap(), 0, setup.max);
                assert_eq!(check_batch(&goes_on.poll().unwrap().unwrap(), 0, setup.max), read);
            }
            writer.sync().unwrap();
            fill_at(&mut writer, now_ns(), 2, setup.max);
            writer.sync().unwrap();
            wait_until("what is too old has gone", || ring.status().oldest_page == 7);
            let oldest = ring.status().oldest_seq_no.unwrap();
            assert!(counter(&ring.status(), "expired_pages") == 6 && oldest > 100, "{oldest}");

            // It finishes the page that it has.
            let error = loop {
                match stays.poll() {
                    Ok(batch) => read = check_batch(&batch.unwrap(), read, setup.max),
                    Err(error) => break error,
                }
            };
            // The files alone do not say how many it were as long as a page lacks its footer.
            let is_right = |lost: Option<u64>| match lost {
                Some(lost) => lost == oldest - read - 1,
                None => files_only,
            };
            // Until it seeks.
            for error in [error, stays.poll().unwrap_err()] {
                match error {
                    ReadError::Lapped { requested, oldest: left, lost } if is_right(lost) => {
                        assert_eq!((requested, left), (read, oldest));
                    }
                    error => panic!("{error}, {files_only}"),
                }
            }
            stays.seek(Cursor::Oldest).unwrap();
            assert_eq!(stays.poll().unwrap().unwrap().first_seq_no(), oldest);

            let mut last = if read_before { 1 } else { 0 };
            while goes_on.lapses().count == 0 {
                let batch = goes_on.poll().unwrap().unwrap();
                match batch.first_seq_no() {
                    first if first == last + 1 => last = batch.last_seq_no(),
                    first => assert_eq!((first, last), (oldest, read)),
                }
            }
            let lapse = goes_on.lapses().last.unwrap();
            assert_eq!((lapse.requested, lapse.resumed_after), (read, Some(oldest - 1)));
            assert!(is_right(lapse.lost), "{lapse:?}, {files_only}");
            writer.close().unwrap();
        }
    }
}
