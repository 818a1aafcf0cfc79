//! `waldo tail` as people know `tail`, `journalctl` and `kcat`: which records, and how they are printed.

use crate::dying::to_die_at;
use crate::points::Point;
use crate::support::*;
use std::path::Path;
use waldo::protocol::Log;
use waldo::writer::{Durability, Writer, WriterOptions};

/// What `tail` prints with these arguments; it must end with 0.
fn tail(home: &Path, args: &[&str]) -> String {
    let done = run(waldo().arg("tail").arg(home).args(args), b"");
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{args:?}");
    done.text().to_owned()
}

/// The same on one line.
fn line(home: &Path, args: &[&str]) -> String {
    tail(home, args).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_last_records_are_printed() {
    let place = Place::new();
    let text: String = (1..=40_000).map(|n| format!("{n}\n")).collect();
    let home = place.ring("ring", text.as_bytes());
    assert_eq!(line(&home, &["-n", "3"]), "39998 39999 40000");
    assert_eq!(line(&home, &["-n3"]), "39998 39999 40000");
    assert_eq!(line(&home, &["--lines", "-2"]), "39999 40000");
    assert_eq!(line(&home, &["-n", "0"]), "");
    assert_eq!(tail(&home, &["-n", "1000000"]), text);
    assert_eq!(line(&home, &["-n", "+39999"]), "39999 40000");
    assert_eq!(line(&home, &["-n", "+39999", "--count", "1"]), "39999");
    assert_eq!(line(&home, &["-n", "2", "--count", "1"]), "39999");
    assert_eq!(line(&home, &["-n", "5", "--from", "39999"]), "39999 40000");
    assert_eq!(line(&home, &["-n", "2", "--grep", "^1+$"]), "1111 11111");
    assert_eq!(line(&home, &["-n", "2", "--grep", "no such line"]), "");
    let empty = place.ring("empty", b"");
    assert_eq!(tail(&empty, &["-n", "3"]), "");
}

/// The numbers of records may have gaps.
#[test]
fn the_last_records_are_counted_and_not_their_numbers() {
    let place = Place::new();
    let home = place.join("ring");
    let options = WriterOptions::default().page_len(1 << 20).ring_size(4).durability(Durability::PageCache);
    let mut writer = Writer::open(&home, options).unwrap();
    let mut before = 0;
    for n in 1..=30_u64 {
        let seq_no = n * n * n;
        let payload = seq_no.to_string();
        writer.append(&[Log::new_borrowed(seq_no, before, payload.as_bytes())]).unwrap();
        before = seq_no;
    }
    writer.close().unwrap();
    assert_eq!(line(&home, &["-n", "3"]), "21952 24389 27000");
    assert_eq!(line(&home, &["-n", "29"]).split(' ').count(), 29);
    assert_eq!(line(&home, &["-n", "3000"]).split(' ').count(), 30);
    assert_eq!(line(&home, &["-n", "+24000"]), "24389 27000");
    assert_eq!(line(&home, &["-n", "2", "--grep", "^[0-9]{4}$"]), "8000 9261");
}

/// As the help says, for who looks for bytes: `\xff` is the character, which is other bytes in UTF-8.
#[test]
fn a_pattern_is_of_characters_unless_it_says_of_bytes() {
    let place = Place::new();
    let home = place.ring("ring", b"one \xff byte\none \xc3\xbf letter\n\xc3\xa4 and \xe4\n");
    let found = |pattern: &str| run(waldo().arg("tail").arg(&home).args(["-g", pattern]), b"").stdout;
    assert_eq!(found(r"\xff"), b"one \xc3\xbf letter\n");
    assert_eq!(found(r"(?-u)\xff"), b"one \xff byte\n");
    assert_eq!(found(r"(?-u:\xe4)$"), b"\xc3\xa4 and \xe4\n");
    assert_eq!(found("(?i)Ä"), b"\xc3\xa4 and \xe4\n");
    let help = run(waldo().args(["tail", "--help"]), b"");
    assert!(help.text().contains(r"(?-u)\x00\xff"), "{}", help.text());
}

#[test]
fn records_are_picked_by_what_they_hold() {
    let place = Place::new();
    let home = place.ring("ring", b"error: disk\nall good\nERROR: net\n\xff\x00bin\nerrand\n");
    assert_eq!(tail(&home, &["--grep", "error"]), "error: disk\n");
    assert_eq!(tail(&home, &["-g", "error", "-i"]), "error: disk\nERROR: net\n");
    assert_eq!(tail(&home, &["-g", "(?i)error", "--count", "1"]), "error: disk\n");
    assert_eq!(tail(&home, &["-g", "err", "-i", "--invert-match", "--count", "1"]), "all good\n");
    let binary = run(waldo().arg("tail").arg(&home).args(["-g", r"(?-u)^\xff\x00"]), b"");
    assert_eq!((binary.code, binary.stdout), (0, b"\xff\x00bin\n".to_vec()), "{}", binary.stderr);
}

#[test]
fn records_are_picked_by_their_time() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n");
    for text in ["2\n", "3\n", "4\n"] {
        assert_eq!(run(waldo().arg("append").arg(&home), text.as_bytes()).code, 0);
    }
    let times = |field: &str| -> Vec<String> {
        let text = tail(&home, &["--format", field]);
        text.lines().map(str::to_owned).collect()
    };
    let (utc, unix) = (times("{time}"), times("{unix}"));
    let at = |n: usize| format!("@{}", unix[n - 1]);
    for (args, wanted) in [
        (vec!["--since", &utc[1]], "2 3 4"),
        (vec!["--since", &at(2)], "2 3 4"),
        (vec!["--until", &at(2)], "1 2"),
        (vec!["--since", &utc[1], "--until", &utc[2]], "2 3"),
        (vec!["-n", "1", "--until", &utc[2]], "3"),
        (vec!["-n", "2", "--until", "1970-01-02"], ""),
        (vec!["-n", "9", "--since", &utc[2]], "3 4"),
        (vec!["--since", "10 min ago", "--until", "+1h", "-n", "2"], "3 4"),
        (vec!["--until", "10 min ago"], ""),
        (vec!["--since", "in 5 min"], ""),
        (vec!["--from", &utc[3]], "4"),
        (vec!["--follow", "--since", &utc[2], "--until", &utc[3]], "3 4"),
    ] {
        assert_eq!(line(&home, &args), wanted, "{args:?}");
    }
    // A zone half an hour off, so that its minutes are its own.
    let zoned = |args: &[&str]| {
        let done = run(waldo().env("TZ", "<+0530>-5:30").arg("tail").arg(&home).args(args), b"");
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.text().trim().to_owned()
    };
    let local = zoned(&["--format", "{local}", "--from", "3", "--count", "1"]);
    assert!(local.ends_with("+05:30"), "{local}");
    let bare = local.strip_suffix("+05:30").unwrap().replace('T', " ");
    for moment in [local.as_str(), &bare] {
        assert_eq!(zoned(&["--since", moment, "--count", "1"]), "3", "{moment}");
    }
}

#[test]
fn records_are_laid_out_by_a_template() {
    let place = Place::new();
    let home = place.ring("ring", b"plain\n\x1b\"x\"\n");
    assert_eq!(
        tail(&home, &["--format", "{seq}<{prev}|{len}|{payload}|{epoch}", "-n", "+2"]),
        "2<1|4|\x1b\"x\"|1\n"
    );
    assert_eq!(
        tail(&home, &["-o", "{json} {hex} {base64}", "-n1"]),
        "\"\\u001b\\\"x\\\"\" 1b227822 GyJ4Ig==\n"
    );
    assert_eq!(tail(&home, &["-o", "{payload}\\0\\c", "-n", "+1", "--count", "1"]), "plain\0");
    let json: serde_json::Value = serde_json::from_str(&tail(&home, &["-o", "json", "-n1"])).unwrap();
    assert_eq!(tail(&home, &["-o", "{time}", "-n1"]).trim(), json["time"]);
    let wrong = run(waldo().arg("tail").arg(&home).args(["--format", "{number}"]), b"");
    assert!(wrong.stderr.contains("{seq} {prev} {time}"), "{}", wrong.stderr);
}

/// Escapes and colours belong on terminals; `--escape` and `--color` take them elsewhere.
#[test]
fn pipes_get_payloads_as_they_are() {
    let place = Place::new();
    let home = place.ring("ring", b"a\x1b[31mb\xff\n");
    let raw = run(waldo().arg("tail").arg(&home).args(["-g", "b"]), b"");
    assert_eq!(raw.stdout, b"a\x1b[31mb\xff\n");
    assert_eq!(tail(&home, &["--escape", "always"]), "a\\x1b[31mb\\xff\n");
    let red = tail(&home, &["--escape", "always", "--color", "always", "-g", "3"]);
    assert_eq!(red, "a\x1b[2m\\x1b\x1b[0m[\x1b[1;31m3\x1b[0m1mb\x1b[2m\\xff\x1b[0m\n");
}

/// What lies before damage is printed, but it is not the end of the log.
#[test]
fn damage_among_the_last_records_is_an_error() {
    let place = Place::new();
    let home = place.ring("ring", b"one\ntwo\nvictim\nfour\nfive\n");
    damage(&home, b"victim");
    for (args, printed) in [
        (&["-n", "1"][..], "two\n"),
        (&["-n", "9"], "one\ntwo\n"),
        (&["-n", "+1"], "one\ntwo\n"),
        (&["--follow", "--from", "2"], "two\n"),
        (&["-F", "--from", "2"], "two\n"),
    ] {
        let done = run(waldo().arg("tail").arg(&home).args(args), b"");
        assert_eq!((done.code, done.text()), (1, printed), "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains("payload hash"), "{args:?}: {}", done.stderr);
    }
}

/// `-n +1` is how people ask for all of a file. Of a ring that had gone round the command said that it was
/// overtaken, and ended.
#[test]
fn all_of_a_ring_that_has_gone_round_is_what_is_there() {
    let place = Place::new();
    let home = place.join("ring");
    let text: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    let small = ["append", "--page-size", "16K", "--ring-size", "2"];
    assert_eq!(run(waldo().args(small).arg(&home), text.as_bytes()).code, 0);
    let all = tail(&home, &["--from", "oldest"]);
    assert!(text.ends_with(&all) && text != all);
    assert!(tail(&home, &["-n", "+1"]) == all && tail(&home, &["-n", "+0"]) == all);
    assert_ne!(run(waldo().args(["tail", "-n", "+2"]).arg(&home), b"").code, 0);
}

/// Wherever a writer is killed while it opens the ring: what its segment says then is that records are to
/// come, and the end of the log is not known from it. The commands took the ring for an empty one.
#[test]
fn a_ring_whose_writer_was_killed_while_it_opened_it_is_printed_and_copied_whole() {
    let place = Place::new();
    let text: String = (1..=3000).map(|n| format!("{n}\n")).collect();
    let mut killed = 0;
    for point in Point::ALL {
        for (command, wanted) in
            [("tail", text.as_str()), ("tail -n 1", "3000\n"), ("snapshot", &text), ("replay", &text)]
        {
            let home = place.ring(&format!("{point:?} {command}"), text.as_bytes());
            let mut writer = waldo();
            to_die_at(writer.arg("append").arg(&home), point);
            killed += u32::from(run(&mut writer, b"").code == -1);
            let mut args = command.split(' ');
            let to = place.join(&format!("{point:?} {command} to"));
            let copies = matches!(command, "snapshot" | "replay");
            let mut command = waldo();
            command.arg(args.next().unwrap()).arg(&home).args(args).args(copies.then_some(&to));
            let done = run(&mut command, b"");
            assert_eq!(done.code, 0, "{command:?}: {}", done.stderr);
            let found = if copies { tail(&to, &[]) } else { done.text().to_owned() };
            assert!(found == wanted, "{command:?}: not all of the log");
        }
    }
    assert!(killed >= 12, "only {killed} times one of the points was met");
}
