//! Writers whose segment, clock or kernel looks different from where a reader is.
//!
//! A service that was restarted with a private `/dev/shm` was invisible for every reader that had its old
//! segment mapped: followers and streams waited for ever, `waldo stat` said that the ring was closed. A
//! writer in another time namespace looked alive for ever after its death, since its heartbeat lay in the
//! future. Where the boot id could not be read, nobody could attach.

use crate::support::child::Child;
use crate::support::namespaces::{NO_BOOT_ID, OTHER_BOOT_ID, PRIVATE_SHM, can_unshare};
use crate::support::ring::{Setup, TestRing};
use crate::support::wait::wait_until;

fn setup() -> Setup {
    Setup { ring_size: 64, ..Setup::default() }
}

fn append(writer: &mut Child, count: u64, tip: u64) {
    writer.say(format!("append {count} 5"));
    assert_eq!(writer.numbers("acked"), [tip]);
}

fn opened(mut writer: Child) -> Child {
    writer.expect("opened");
    writer
}

/// Ends a writer in one of two ways.
fn end(writer: &mut Child, kill: bool) {
    if kill {
        writer.kill();
    } else {
        writer.say("close");
        writer.expect("closed");
    }
}

/// Waits until the ring looks like this from where `scout` is.
fn wait_for(scout: &mut Child, line: &str, expected: &str) {
    wait_until(expected, || {
        scout.say(line);
        scout.expect("status").join(" ") == expected
    });
}

#[test]
fn a_writer_with_another_shared_memory_is_followed_and_so_is_the_next() {
    if !can_unshare(&["-m"]) {
        return;
    }
    for kill in [true, false] {
        let (setup, ring) = (setup(), TestRing::new());
        let args = || setup.args(ring.home());
        let mut writer = opened(Child::spawn("writer", args()));
        append(&mut writer, 100, 100);
        let mut followers: Vec<Child> =
            (0..2).map(|_| Child::spawn("follower", args().with("report", 1))).collect();
        let mut sleeper = Child::spawn("sleeper", args());
        let mut streams = Child::spawn("streams", args().with("streams", 3));
        let mut scout = Child::spawn("scout", args());
        scout.expect("attached");
        streams.expect("ready");
        for reader in followers.iter_mut().chain([&mut sleeper]) {
            while reader.skip_to("at") != [100] {}
        }
        // A segment by the same name, where nobody else can see it.
        end(&mut writer, kill);
        let mut writer = opened(Child::spawn_within(&["-m"], PRIVATE_SHM, "writer", args()));
        append(&mut writer, 100, 200);
        streams.say("upto 200");
        streams.expect("at");
        for reader in followers.iter_mut().chain([&mut sleeper]) {
            while reader.skip_to("at") != [200] {}
        }
        // The writer lives, but that cannot be known from here. It has not closed the ring, which can.
        wait_for(&mut scout, "again", "files absent 200");
        wait_for(&mut scout, "new", "files absent 200");
        // And back again: the old object, which has been there all the time, is used once more.
        end(&mut writer, kill);
        let mut writer = opened(Child::spawn("writer", args()));
        append(&mut writer, 100, 300);
        streams.say("upto 300");
        streams.expect("at");
        while sleeper.skip_to("at") != [300] {}
        for mut follower in followers {
            follower.say(300);
            assert_eq!(follower.skip_to("done"), [300, 0, 300]);
            follower.finish();
        }
        wait_for(&mut scout, "again", "segment live 300");
        streams.finish();
        scout.finish();
        end(&mut writer, kill);
    }
}

#[test]
fn a_reader_that_sees_no_segment_follows_through_every_start() {
    if !can_unshare(&["-m"]) {
        return;
    }
    let (setup, ring) = (setup(), TestRing::new());
    let args = || setup.args(ring.home());
    let mut writer = opened(Child::spawn("writer", args()));
    append(&mut writer, 100, 100);
    let mut follower = Child::spawn_within(&["-m"], PRIVATE_SHM, "follower", args().with("report", 1));
    let mut scout = Child::spawn_within(&["-m"], PRIVATE_SHM, "scout", args());
    scout.expect("attached");
    let mut tip = 100;
    for kill in [true, false, true] {
        while follower.skip_to("at") != [tip] {}
        wait_for(&mut scout, "again", &format!("files absent {tip}"));
        end(&mut writer, kill);
        let ended = if kill { "absent" } else { "closed" };
        wait_for(&mut scout, "again", &format!("files {ended} {tip}"));
        writer = opened(Child::spawn("writer", args()));
        tip += 100;
        append(&mut writer, 100, tip);
    }
    follower.say(tip);
    assert_eq!(follower.skip_to("done"), [tip, 0, tip]);
    follower.finish();
    scout.finish();
}

#[test]
fn a_writer_that_counts_time_from_elsewhere_is_seen_alive_and_seen_dead() {
    let future: &[&str] = &["-T", "--boottime", "1000000"];
    if !can_unshare(future) {
        return;
    }
    let (setup, ring) = (setup(), TestRing::new());
    let args = || setup.args(ring.home());
    let mut writer = opened(Child::spawn_within(future, "true", "writer", args()));
    append(&mut writer, 100, 100);
    let mut scout = Child::spawn("scout", args());
    scout.expect("attached");
    wait_for(&mut scout, "again", "segment live 100");
    let mut follower = Child::spawn("follower", args().with("report", 100));
    while follower.skip_to("at") != [100] {}
    append(&mut writer, 100, 200);
    while follower.skip_to("at") != [200] {}
    writer.kill();
    wait_for(&mut scout, "again", "segment stalled 200");
    // Who comes later has not seen it alive at all.
    wait_for(&mut scout, "new", "segment stalled 200");
    // And the other way round: readers whose clock is ahead of the writer's.
    let mut writer = opened(Child::spawn("writer", args()));
    let mut ahead = Child::spawn_within(future, "true", "scout", args());
    ahead.expect("attached");
    wait_for(&mut ahead, "again", "segment live 200");
    append(&mut writer, 100, 300);
    follower.say(300);
    assert_eq!(follower.skip_to("done"), [300, 0, 300]);
    follower.finish();
    scout.finish();
    ahead.finish();
}

#[test]
fn a_boot_id_that_is_hidden_or_another_one_keeps_nobody_from_the_segment() {
    if !can_unshare(&["-m"]) {
        return;
    }
    for (script, after_death) in [(NO_BOOT_ID, "segment stalled 200"), (OTHER_BOOT_ID, "files absent 200")] {
        let (setup, ring) = (setup(), TestRing::new());
        let args = || setup.args(ring.home());
        let mut writer = opened(Child::spawn("writer", args()));
        append(&mut writer, 100, 100);
        let within = |role: &str| Child::spawn_within(&["-m"], script, role, args().with("report", 100));
        let mut scout = within("scout");
        scout.expect("attached");
        wait_for(&mut scout, "again", "segment live 100");
        let mut follower = within("follower");
        append(&mut writer, 100, 200);
        follower.say(200);
        assert_eq!(follower.skip_to("done"), [200, 0, 200]);
        follower.finish();
        writer.kill();
        wait_for(&mut scout, "again", "segment stalled 200");
        // A segment that names another boot is followed for a writer that is alive, and no other.
        wait_for(&mut scout, "new", after_death);
        scout.finish();
    }
}
