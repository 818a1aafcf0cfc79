//! Readers and writers at the same time.

use crate::support::*;
use nix::sys::signal::Signal;

#[test]
fn tail_follows_what_another_process_appends() {
    let place = Place::new();
    let home = place.join("ring");
    let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(&home));
    writer.write(b"first\n");
    until_tip(&home, 1);
    let mut reader =
        Process::start(waldo().args(["tail", "--from", "oldest", "--follow", "--count", "1003"]).arg(&home));
    writer.write(b"second\n");
    until_tip(&home, 2);
    let mut expected = b"first\nsecond\n".to_vec();
    for i in 0..1001 {
        let line = format!("line {i}\n");
        writer.write(line.as_bytes());
        expected.extend_from_slice(line.as_bytes());
    }
    let done = reader.wait();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(done.stdout, expected);
    assert!(writer.finish().stderr.contains("appended 1,003 records"));
}

#[test]
fn tail_goes_on_when_the_writer_comes_back() {
    let place = Place::new();
    let home = place.ring("ring", b"one\n");
    let mut reader =
        Process::start(waldo().args(["tail", "-n", "+1", "--follow", "--count", "3"]).arg(&home));
    for line in ["two\n", "three\n"] {
        assert_eq!(run(waldo().arg("append").arg(&home), line.as_bytes()).code, 0);
    }
    let done = reader.wait();
    assert_eq!((done.code, done.text()), (0, "one\ntwo\nthree\n"), "{}", done.stderr);
}

#[test]
fn ctrl_c_ends_a_follower_with_130() {
    let place = Place::new();
    let home = place.ring("ring", b"one\n");
    let out = place.join("out");
    let mut command = waldo();
    command.args(["tail", "--follow", "-n", "1"]).arg(&home).stdout(std::fs::File::create(&out).unwrap());
    let mut child = command.spawn().unwrap();
    // Its output shows that it has installed its handler and is idle.
    until("the record is printed", || (std::fs::read(&out).unwrap() == b"one\n").then_some(()));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(until("it ends", || child.try_wait().unwrap()).code(), Some(130));
}

#[test]
fn ctrl_c_closes_a_writer_in_good_order() {
    let place = Place::new();
    let home = place.join("ring");
    let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(&home));
    writer.write(b"kept\nunfinished");
    until_tip(&home, 1);
    writer.signal(Signal::SIGINT);
    let done = writer.wait();
    assert_eq!(done.code, 130, "{}", done.stderr);
    assert!(done.stderr.contains("unfinished record"), "{}", done.stderr);
    assert_eq!(run(waldo().arg("tail").arg(&home), b"").text(), "kept\n");
    let status = run(waldo().args(["stat", "--json"]).arg(&home), b"");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["writer"]["state"], "closed");
}

#[test]
fn serve_stays_and_reads_a_fifo() {
    let place = Place::new();
    let (home, fifo) = (place.join("ring"), place.join("fifo"));
    let mut server = Process::start(waldo().arg("serve").args(SMALL).arg(&home).arg("--fifo").arg(&fifo));
    until("the FIFO is there", || fifo.exists().then_some(()));
    for (i, line) in ["one\n", "two\n"].into_iter().enumerate() {
        // Each of them opens the FIFO, writes and goes away.
        std::fs::write(&fifo, line).unwrap();
        until_tip(&home, i as u64 + 1);
    }
    let second = run(waldo().arg("append").arg(&home), b"x\n");
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains("only one writer"), "{}", second.stderr);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, 0);
    assert_eq!(run(waldo().arg("tail").arg(&home), b"").text(), "one\ntwo\n");
}

#[test]
fn stat_shows_the_writer() {
    let place = Place::new();
    let home = place.join("ring");
    let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(&home));
    writer.write(b"one\ntwo\n");
    until_tip(&home, 2);
    let done = run(waldo().args(["stat", "--json"]).arg(&home), b"");
    let status: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(status["writer"]["state"], "live");
    assert_eq!(status["counters"]["records"], 2);
    assert_eq!((&status["ring_size"], &status["page_len"]), (&4.into(), &(1 << 20).into()));
    let text = run(waldo().arg("stat").arg(&home), b"");
    assert!(text.text().contains("newest record  2"), "{}", text.text());
    assert_eq!(writer.finish().code, 0);
}

/// It stayed, and seemed alive to whoever started it, until the next record came: with its input at its end,
/// for ever.
#[test]
fn a_writer_that_has_failed_ends_the_command_without_a_record_coming() {
    let place = Place::new();
    for (command, input_ends) in [("append", false), ("serve", false), ("serve", true)] {
        let home = place.join(&format!("{command}-{input_ends}"));
        let mut writer = Process::start(waldo().arg(command).args(SMALL).arg(&home));
        writer.write(b"one\n");
        until_tip(&home, 1);
        std::fs::remove_file(home.join("writer.lock")).unwrap();
        let done = if input_ends { writer.finish() } else { writer.wait() };
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert!(done.stderr.contains("writer.lock was removed"), "{}", done.stderr);
    }
}
