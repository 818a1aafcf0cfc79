//! Looking into files, whole or broken.

use crate::support::*;
use std::os::unix::fs::FileExt;

#[test]
fn every_part_of_a_ring_is_decoded() {
    let place = Place::new();
    let home = place.ring("ring", b"alpha\nbravo\ncharlie\n");
    let inspect = |args: &[&str]| {
        let done = run(waldo().arg("inspect").arg(&home).args(args), b"");
        assert_eq!(done.code, 0, "{args:?}: {}", done.stderr);
        done.text().to_owned()
    };
    let overview = inspect(&[]);
    assert!(overview.contains("ring_size") && overview.contains("page-0000000000000001"), "{overview}");
    let page = inspect(&["page", "1", "--records", "2"]);
    assert!(page.contains("header good") && page.contains("\"bravo\""), "{page}");
    assert!(!page.contains("charlie"), "{page}");
    assert!(inspect(&["page", "0x1"]).contains("charlie"));
    assert!(inspect(&["meta"]).contains("clean_end"));
}

#[test]
fn the_control_segment_of_a_live_writer_is_decoded() {
    let place = Place::new();
    let home = place.join("ring");
    let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(&home));
    writer.write(b"one\n");
    until_tip(&home, 1);
    let done = run(waldo().arg("inspect").arg(&home).arg("control"), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.text().contains("2 (Live)") && done.text().contains("tip_seq_no             1"),
        "{}",
        done.text()
    );
    assert_eq!(writer.finish().code, 0);
}

#[test]
fn damage_is_shown_and_does_not_stop_it() {
    let place = Place::new();
    let home = place.ring("ring", b"alpha\nbravo\n");
    let page = home.join("page-0000000000000001");
    let file = std::fs::OpenOptions::new().write(true).open(&page).unwrap();
    let show = || {
        let done = run(waldo().arg("inspect").arg(&page), b"");
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.text().to_owned()
    };
    file.write_all_at(b"X", 4096 + 48).unwrap();
    assert!(show().contains("! payload hash"));
    file.write_all_at(b"X", 60).unwrap();
    assert!(show().contains("! header: checksum") && show().contains("\"bravo\""), "{}", show());
    for len in [5000, 4100, 100, 9, 0] {
        file.set_len(len).unwrap();
        show();
    }
    std::fs::write(home.join("ring.meta"), b"WALDORG\nnot much").unwrap();
    let done = run(waldo().arg("inspect").arg(&home), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.text().contains("! the file is 16 bytes long"), "{}", done.text());
}

#[test]
fn the_layout_is_printed() {
    let done = run(waldo().args(["inspect", "layout"]), b"");
    assert!(done.text().contains("Record header, 48 bytes") && done.text().contains("| 44 | 4 | checksum |"));
}
