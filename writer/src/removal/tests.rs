//! Removing a ring only if it is still to go.

use super::*;
use crate::{Durability, Writer, WriterOptions};

fn names_in(home: &Path) -> Vec<String> {
    let entries = fs::read_dir(home).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_answer_is_given_while_no_writer_can_come_and_a_no_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let home = place.path().join("ring");
    let options =
        || WriterOptions::default().page_len(1 << 20).ring_size(2).durability(Durability::PageCache);
    Writer::open(&home, options().remove_control(true)).unwrap().close().unwrap();
    // Made for the removal, it goes with the answer.
    fs::remove_file(home.join(names::LOCK)).unwrap();
    let before = names_in(&home);
    let kept = remove_if(&home, &[], || {
        let error = Writer::open(&home, options()).unwrap_err();
        assert!(matches!(error, OpenError::Locked { .. }), "{error}");
        false
    });
    assert_eq!((kept.unwrap(), names_in(&home)), (None, before));
    assert!(remove_if(&home, &[], || true).unwrap().unwrap().directory && !home.exists());
}
