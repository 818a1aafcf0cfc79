//! One writer at a time.

use crate::support::child::Child;
use crate::support::namespaces::can_unshare;
use crate::support::ring::{Setup, TestRing};
use waldo::writer::{OpenError, Writer};

#[test]
fn a_second_writer_in_the_same_process_is_refused() {
    for setup in Setup::all() {
        let ring = TestRing::new();
        let writer = ring.writer(&setup);
        match Writer::open(ring.home(), setup.options()) {
            Err(OpenError::Locked { holder, .. }) => {
                assert_eq!(holder, format!("process {}", std::process::id()));
            }
            other => panic!("{other:?}"),
        }
        writer.close().unwrap();
        ring.writer(&setup).close().unwrap();
    }
}

#[test]
fn a_second_writer_process_is_refused_until_the_first_is_dead() {
    for setup in Setup::all() {
        let ring = TestRing::new();
        let mut first = Child::spawn("writer", setup.args(ring.home()));
        first.expect("opened");
        first.say("append 10 3");
        first.expect("acked");

        let mut second = Child::spawn("writer", setup.args(ring.home()));
        let refusal = second.expect("refused");
        assert_eq!(refusal[0], "Locked");
        assert!(refusal.join(" ").contains(&format!("process {} is writing", first.pid())), "{refusal:?}");
        second.finish();
        // It has disturbed nothing.
        first.say("append 10 3");
        assert_eq!(first.numbers("acked"), [20]);

        // Not even a writer that has been stopped loses its ring.
        first.stop();
        let mut third = Child::spawn("writer", setup.args(ring.home()));
        assert_eq!(third.expect("refused")[0], "Locked");
        first.resume();
        first.say("append 10 3");
        assert_eq!(first.numbers("acked"), [30]);

        first.say("torrent 1 1000000");
        first.expect("acked");
        first.kill();
        let mut fourth = Child::spawn("writer", setup.args(ring.home()));
        let opened = fourth.expect("opened");
        assert_eq!(opened[0], "false");
        assert!(opened[1].parse::<u64>().unwrap() > 30);
        fourth.say("close");
        fourth.expect("closed");
        fourth.finish();
    }
}

/// The lock is on the file, not on the path: a symbolic link, a way round, and another mount lead to the same
/// one.
#[test]
fn a_second_writer_is_refused_whatever_path_it_comes_by() {
    let setup = Setup::default();
    let ring = TestRing::new();
    let above = ring.home().parent().unwrap();
    let mut first = ring.writer(&setup);
    let link = above.join("link");
    std::os::unix::fs::symlink(ring.home(), &link).unwrap();
    let round = ring.home().join("..").join("link").join(".");
    for path in [&link, &round] {
        let mut second = Child::spawn("writer", setup.args(path));
        assert_eq!(second.expect("refused")[0], "Locked", "{}", path.display());
        second.finish();
        assert!(matches!(Writer::open(path, setup.options()), Err(OpenError::Locked { .. })));
    }
    let mounted = above.join("mounted");
    std::fs::create_dir(&mounted).unwrap();
    let script = format!("mount --bind {} {}", ring.home().display(), mounted.display());
    let can_mount = can_unshare(&["-m"]);
    if can_mount {
        let mut second = Child::spawn_within(&["-m"], &script, "writer", setup.args(&mounted));
        assert_eq!(second.expect("refused")[0], "Locked");
        second.finish();
    }
    crate::roles::writer_append(&mut first, 10, 3, setup.max);
    first.close().unwrap();
    // Each of them leads to the ring.
    Writer::open(&round, setup.options()).unwrap().close().unwrap();
    if can_mount {
        let mut second = Child::spawn_within(&["-m"], &script, "writer", setup.args(&mounted));
        assert_eq!(second.expect("opened")[..2], ["true", "10"]);
    }
}
