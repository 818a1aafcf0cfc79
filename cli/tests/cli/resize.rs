//! `waldo resize`: what it says, what it drops, and what an interruption leaves.

use crate::dying::to_die_at;
use crate::points::Point;
use crate::support::*;
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A ring of 12 small pages that has gone round.
fn ring(place: &Place) -> PathBuf {
    let home = place.join("ring");
    let text: String = (0..3000).map(|i| format!("{i}\n")).collect();
    let made = ["append", "--page-size", "16K", "--ring-size", "12"];
    let done = run(waldo().args(made).arg(&home), text.as_bytes());
    assert_eq!(done.code, 0, "{}", done.stderr);
    home
}

/// Numbers and payloads, a line each.
fn records(home: &Path) -> Vec<String> {
    let done = run(waldo().args(["tail", "--format", "{seq} {payload}"]).arg(home), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    done.text().lines().map(str::to_owned).collect()
}

fn number(record: &str) -> u64 {
    record.split(' ').next().unwrap().parse().unwrap()
}

fn shape(home: &Path) -> (u64, u64, u64) {
    let status = run(waldo().args(["stat", "--json"]).arg(home), b"");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let word = |name: &str| status[name].as_u64().unwrap();
    (word("ring_size"), word("page_len"), word("pages"))
}

fn resize(home: &Path, args: &[&str]) -> Done {
    run(waldo().arg("resize").arg(home).args(args), b"")
}

/// The line that begins with `word`.
fn line<'a>(done: &'a Done, word: &str) -> &'a str {
    done.text().lines().find(|line| line.starts_with(word)).unwrap()
}

#[test]
fn the_records_that_it_names_go_and_a_follower_goes_on() {
    let place = Place::new();
    let home = ring(&place);
    let before = records(&home);
    let followed = place.join("followed");
    let out = File::create(&followed).unwrap();
    let follow = ["tail", "-f", "--from", "oldest", "--format", "{seq}"];
    let mut follower = Killed(waldo().args(follow).arg(&home).stdout(out).spawn().unwrap());
    until("the follower has read what is there", || {
        std::fs::read_to_string(&followed).unwrap().ends_with("3000\n").then_some(())
    });
    let planned = resize(&home, &["--ring-size", "3", "--dry-run"]);
    assert_eq!((planned.code, shape(&home)), (0, (12, 16384, 12)), "{}", planned.stderr);
    assert!(records(&home) == before, "--dry-run changes nothing");
    let silent = resize(&home, &["--ring-size", "3"]);
    assert_eq!(silent.code, 2, "{}", silent.stderr);
    assert!(silent.stderr.contains("--yes"), "{}", silent.stderr);
    assert!(records(&home) == before, "nobody was asked");

    let done = resize(&home, &["--ring-size", "3", "--yes"]);
    assert_eq!((done.code, shape(&home)), (0, (3, 16384, 3)), "{}", done.stderr);
    assert_eq!(line(&done, "drops"), line(&planned, "drops"));
    let after = records(&home);
    assert!(before.ends_with(&after), "records that stay are the same");
    let (first, stays) = (number(&before[0]), number(&after[0]));
    let dropped = format!("with {} records: {first} to {}", before.len() - after.len(), stays - 1);
    assert!(line(&done, "drops").replace(',', "").ends_with(&dropped), "{}", done.text());
    assert!(line(&done, "keeps").contains(&format!("{stays} to 3000")), "{}", done.text());
    assert_eq!(run(waldo().arg("verify").arg(&home), b"").code, 0);

    let again = resize(&home, &["--ring-size", "3"]);
    assert_eq!(again.code, 0, "nothing is asked when nothing is to be done: {}", again.stderr);
    assert_eq!(run(waldo().arg("append").arg(&home), b"next\n").code, 0);
    assert!(records(&home).last().unwrap() == "3001 next");
    // Attached before, and it gets what came after: everything, as it had read on before the change.
    let read = until("the follower has what came after", || {
        let text = std::fs::read_to_string(&followed).unwrap();
        text.ends_with("3001\n").then_some(text)
    });
    kill(Pid::from_raw(follower.0.id() as i32), Signal::SIGTERM).unwrap();
    follower.0.wait().unwrap();
    let numbers: Vec<u64> = read.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, (first..=3001).collect::<Vec<u64>>());
}

#[test]
fn a_larger_ring_drops_nothing_and_old_pages_keep_their_length() {
    let place = Place::new();
    let home = ring(&place);
    let before = records(&home);
    let done = resize(&home, &["--size", "1M", "--page-size", "32K", "--yes"]);
    assert_eq!((done.code, shape(&home)), (0, (32, 32768, 12)), "{}", done.stderr);
    assert!(line(&done, "drops").ends_with("nothing"), "{}", done.text());
    assert!(records(&home) == before);
    // 12 pages of 16 KiB make no more than their place of 32 KiB would; the other way round they do.
    let done = resize(&home, &["--page-size", "16K", "--ring-size", "100", "--yes"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    for (args, words) in [
        (&["--size", "5000"][..], "smallest ring has one page of 16.0 KiB"),
        (&["--size", "1M", "--ring-size", "3"], "give one of the two"),
        (&["--page-size", "5000"], "multiple of 4096"),
        (&[], "say what is to change"),
        (&["--keep", "1h"], "--rate"),
    ] {
        let done = resize(&home, args);
        assert_eq!(done.code, 2, "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains(words), "{args:?}: {}", done.stderr);
    }
    let done = resize(&home, &["--keep", "10s", "--rate", "100K", "--dry-run"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("10s at 100 KiB/s are 1000 KiB: 89 pages of 16.0 KiB"), "{}", done.stderr);
    let done = resize(&home, &["--size", "50000", "--dry-run"]);
    assert!(done.stderr.contains("3 pages are taken, which are 49,152 bytes"), "{}", done.stderr);
    let none = resize(&place.join("none"), &["--ring-size", "3", "--yes"]);
    assert_eq!(none.code, 1);
    assert!(!place.join("none").exists(), "it makes no ring");
}

#[test]
fn a_ring_with_a_writer_is_refused_with_the_way_out() {
    let place = Place::new();
    let home = ring(&place);
    let mut writer = Process::start(waldo().arg("serve").arg(&home));
    until("the writer is live", || {
        let status = run(waldo().args(["stat", "--json"]).arg(&home), b"");
        status.text().contains("\"live\"").then_some(())
    });
    for args in [&["--ring-size", "3", "--yes"][..], &["--ring-size", "3", "--dry-run"]] {
        let done = resize(&home, args);
        assert_eq!((done.code, shape(&home).0), (1, 12), "{}", done.stderr);
        let pid = format!("process {} is writing it", writer.pid());
        assert!(done.stderr.contains(&pid) && done.stderr.contains("End that writer"), "{}", done.stderr);
    }
    writer.signal(Signal::SIGTERM);
    assert_eq!(writer.wait().code, 0);
    assert_eq!(resize(&home, &["--ring-size", "3", "--yes"]).code, 0);
}

/// What a person answers on a terminal.
fn answered(home: &Path, answer: &[u8]) -> (Option<i32>, String) {
    let pty = openpty(None, None).unwrap();
    let mut child = Killed(
        waldo()
            .arg("resize")
            .arg(home)
            .args(["--ring-size", "3"])
            .stdin(Stdio::from(pty.slave.try_clone().unwrap()))
            .stdout(pty.slave)
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut master = File::from(pty.master);
    master.write_all(answer).unwrap();
    // Ends when the last process that has the terminal does.
    let shown = std::thread::spawn(move || {
        let mut shown = Vec::new();
        let _ = master.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    let code = until("it ends", || child.0.try_wait().unwrap()).code();
    (code, shown.join().unwrap())
}

#[test]
fn on_a_terminal_it_asks_and_only_a_yes_is_one() {
    let place = Place::new();
    let home = ring(&place);
    let before = records(&home);
    for no in [&b"\n"[..], b"n\n", b"yesterday\n", b"\x04"] {
        let (code, shown) = answered(&home, no);
        assert_eq!(code, Some(1), "{shown}");
        assert!(shown.contains("Drop these records, and change it? [y/N]"), "{shown}");
        assert!(records(&home) == before, "{no:?} was taken for a yes");
    }
    let (code, shown) = answered(&home, b"y\n");
    assert_eq!((code, shape(&home)), (Some(0), (3, 16384, 3)), "{shown}");
}

/// Wherever it is killed, the ring opens, what stays is whole, and the same change can be made again.
#[test]
fn killed_in_the_middle_it_leaves_a_ring_that_opens() {
    let mut killed = 0;
    for point in Point::ALL {
        let place = Place::new();
        let home = ring(&place);
        let before = records(&home);
        let mut command = waldo();
        command.arg("resize").arg(&home).args(["--ring-size", "3", "--yes"]);
        to_die_at(&mut command, point);
        let done = run(&mut command, b"");
        killed += u32::from(done.code == -1);
        // Opened by a writer, which recovers it.
        let next = run(waldo().arg("append").arg(&home), b"next\n");
        assert_eq!(next.code, 0, "{point:?}: {}", next.stderr);
        let mut left = records(&home);
        assert_eq!(left.pop().as_deref(), Some("3001 next"), "{point:?}");
        assert!(before.ends_with(&left) && !left.is_empty(), "{point:?}: {} are left", left.len());
        let done = resize(&home, &["--ring-size", "3", "--yes"]);
        assert_eq!((done.code, shape(&home)), (0, (3, 16384, 3)), "{point:?}: {}", done.stderr);
        assert!(records(&home).last().unwrap() == "3001 next", "{point:?}");
        assert_eq!(run(waldo().arg("verify").arg(&home), b"").code, 0, "{point:?}");
    }
    assert!(killed >= 4, "only {killed} of the points were met");
}

/// It ended with 0, and had changed nothing.
#[test]
fn it_does_what_it_is_told_though_nobody_reads_what_it_says() {
    let place = Place::new();
    let home = ring(&place);
    let change =
        |args: &[&str]| run_unread(waldo().args(["resize", "--ring-size", "3"]).args(args).arg(&home));
    assert_eq!((change(&["--dry-run"]).code, shape(&home).0), (0, 12));
    assert_eq!(change(&[]).code, 2, "nobody was asked");
    assert_eq!((change(&["--yes"]).code, shape(&home)), (0, (3, 16384, 3)));
}

/// From Linux's `fcntl.h`, the same on every machine that it runs on.
const F_SETSIG: libc::c_int = 10;

/// It looked at the signal when the change had been made.
#[test]
fn a_signal_that_comes_before_the_change_leaves_the_ring() {
    let place = Place::new();
    let home = ring(&place);
    // Whoever looks at the lock waits until the lease is given up; who has it hears that by a signal which is
    // ignored.
    let lock = File::options().read(true).write(true).open(home.join("writer.lock")).unwrap();
    let ask = |call: libc::c_int, argument: libc::c_int| {
        // SAFETY: both commands take a number and touch no memory of this process.
        #[allow(unsafe_code, reason = "there is no safe wrapper of leases")]
        let done = unsafe { libc::fcntl(lock.as_raw_fd(), call, argument) };
        (done == 0).then_some(())
    };
    // A process that another test is about to start has the file as well, until it becomes another program.
    until("nobody else has the file", || ask(libc::F_SETLEASE, libc::F_WRLCK));
    ask(F_SETSIG, libc::SIGURG).unwrap();
    let mut process = Process::start(waldo().args(["resize", "--ring-size", "3", "--yes"]).arg(&home));
    let calls = [libc::SYS_nanosleep, libc::SYS_clock_nanosleep];
    until("it waits for the lock file", || is_in_call(process.pid(), &calls).then_some(()));
    process.signal(Signal::SIGINT);
    drop(lock);
    let done = process.wait();
    assert_eq!((done.code, shape(&home).0), (130, 12), "{}", done.stderr);
}
