//! What goes in comes out.

use crate::support::*;
use serde_json::Value;

/// Lines that programs like to trip over.
fn nasty() -> Vec<u8> {
    let mut text =
        b"plain\n\n  spaces  \ncarriage\r\n\xff\xfe\x00 not text\n\ttab \"quote\" \\ back\n".to_vec();
    text.extend_from_slice("zażółć gęślą jaźń\n".as_bytes());
    text.extend(std::iter::repeat_n(b'x', 300_000));
    text.push(b'\n');
    for i in 0..5000 {
        text.extend_from_slice(format!("line {i} {}\n", "=".repeat(i % 97)).as_bytes());
    }
    text
}

#[test]
fn text_comes_out_byte_for_byte() {
    let place = Place::new();
    let text = nasty();
    let home = place.ring("ring", &text);
    let done = run(waldo().arg("tail").arg(&home), b"");
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    assert!(done.stdout == text, "tail printed something else than was appended");
}

#[test]
fn a_last_line_without_newline_is_kept() {
    let place = Place::new();
    let home = place.ring("ring", b"one\ntwo");
    assert_eq!(run(waldo().arg("tail").arg(&home), b"").stdout, b"one\ntwo\n");
}

#[test]
fn nothing_appended_is_nothing_printed() {
    let place = Place::new();
    let home = place.ring("ring", b"");
    let done = run(waldo().arg("tail").arg(&home), b"");
    assert_eq!((done.code, done.stdout.len()), (0, 0), "{}", done.stderr);
}

#[test]
fn records_go_from_ring_to_ring_framed() {
    let place = Place::new();
    let mut framed = Vec::new();
    for payload in [&b"with\nnewlines\n"[..], b"", b"\x00\xff", &[7; 100_000]] {
        framed.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        framed.extend_from_slice(payload);
    }
    let mut from = framed.clone();
    for name in ["a", "b"] {
        let home = place.join(name);
        let done = run(waldo().args(["append", "--framed", "--no-sync"]).args(SMALL).arg(&home), &from);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(done.stderr.contains("appended 4 records"), "{}", done.stderr);
        from = run(waldo().args(["tail", "--format", "raw"]).arg(&home), b"").stdout;
        assert!(from == framed, "ring {name} gives something else");
    }
}

#[test]
fn numbering_goes_on_and_places_are_found() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n2\n3\n");
    let done = run(waldo().arg("append").arg(&home), b"4\n5\n");
    assert!(done.stderr.contains("seq 4 to 5"), "{}", done.stderr);
    let tail = |args: &[&str]| {
        let done = run(waldo().arg("tail").arg(&home).args(args), b"");
        assert_eq!(done.code, 0, "{args:?}: {}", done.stderr);
        done.text().split_whitespace().collect::<String>()
    };
    assert_eq!(tail(&[]), "12345");
    assert_eq!(tail(&["--from", "3"]), "345");
    assert_eq!(tail(&["--from", "2", "--count", "2"]), "23");
    assert_eq!(tail(&["--count", "0"]), "");
    assert_eq!(tail(&["--from", "tip"]), "");
    assert_eq!(tail(&["--from", "1h"]), "12345");
    assert_eq!(tail(&["--from", "2099-01-01T00:00:00Z"]), "");
    assert_eq!(tail(&["--from", "4", "--verify", "--durable"]), "45");
}

#[test]
fn json_and_hex_say_what_is_there() {
    let place = Place::new();
    let home = place.ring("ring", b"he said \"no\"\n\xff\xfe\n");
    let done = run(waldo().args(["tail", "--format", "json"]).arg(&home), b"");
    let records: Vec<Value> = done.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2);
    assert_eq!((&records[0]["seq"], &records[0]["prev"]), (&1.into(), &0.into()));
    assert_eq!(records[0]["data"], "he said \"no\"");
    assert_eq!((&records[1]["data"], &records[1]["data_base64"]), (&Value::Null, &"//4=".into()));
    assert!(records[0]["time"].as_str().unwrap().ends_with('Z'));
    let done = run(waldo().args(["tail", "--format", "hex"]).arg(&home), b"");
    assert!(done.text().contains("# seq 2 time ") && done.text().contains("  ff fe  "), "{}", done.text());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let home = place.ring("ring", &nasty());
    let mut child = waldo()
        .arg("tail")
        .arg(&home)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Far more is to come than a pipe holds.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}
