//! Verification: intact rings pass, each kind of damage is found where it is.

use crate::testing::{Forge, size};
use crate::verify::{Damage, Progress, VerifyError, VerifyReport, verify};
use proptest::prelude::*;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::limits::PAGE_FOOTER_LEN;
use waldo_shm_protocol::record::RecordFault;

fn run(forge: &Forge) -> Result<VerifyReport, VerifyError> {
    verify(forge.home(), &mut |_| {})
}

fn damage_of(forge: &Forge) -> (u64, u64, Option<u64>, Damage) {
    match run(forge) {
        Err(VerifyError::Damaged { path, page, offset, seq_no, damage }) => {
            assert_eq!(path, forge.page_path(page));
            (page, offset, seq_no, damage)
        }
        other => panic!("{other:?}"),
    }
}

fn filled() -> Forge {
    let mut forge = Forge::new(16384, 4);
    forge.append_n(600);
    // All but the last record are known to be durable.
    let last = forge.log.last().unwrap();
    forge.meta.durable = Position::new(last.page, last.offset).unwrap();
    forge.write_meta();
    forge
}

#[test]
fn an_intact_ring_passes_and_is_counted() {
    for live in [false, true] {
        let mut forge = if live { Forge::live(16384, 4) } else { Forge::new(16384, 4) };
        forge.append_n(600);
        let mut last = Progress { page: 0, bytes_done: 0, bytes_total: 0 };
        let report = verify(forge.home(), &mut |p| {
            assert!(p.bytes_done >= last.bytes_done && p.bytes_done <= p.bytes_total);
            last = p;
        })
        .unwrap();
        assert_eq!(last.bytes_done, 4 * 16384);
        assert_eq!(report.pages, 4);
        assert_eq!(report.records, forge.kept().len() as u64);
        let payload: usize = forge.kept().iter().map(|e| e.data.len()).sum();
        assert_eq!(report.payload_bytes, payload as u64);
        assert_eq!(report.first_seq_no, Some(forge.kept()[0].seq));
        assert_eq!(report.last_seq_no, Some(600));
        assert_eq!(report.end, forge.position());
        assert_eq!(report.notes.len(), usize::from(live), "{:?}", report.notes);
    }
}

#[test]
fn an_empty_ring_passes() {
    let mut forge = Forge::new(16384, 4);
    assert_eq!(run(&forge).unwrap().pages, 0);
    forge.rotate();
    let report = run(&forge).unwrap();
    assert_eq!((report.pages, report.records, report.end), (1, 0, Position::start_of(1)));
}

#[test]
fn a_bad_record_before_the_last_page_is_damage() {
    let forge = filled();
    let victim = &forge.kept()[20];
    forge.damage(victim.page, victim.offset + 50, b"#");
    let (page, offset, seq_no, damage) = damage_of(&forge);
    assert_eq!((page, offset, seq_no), (victim.page, victim.offset, Some(victim.prev)));
    assert!(matches!(damage, Damage::Record(RecordFault::Payload { .. })));
}

#[test]
fn a_bad_record_at_the_end_is_the_end_unless_it_had_been_durable() {
    let mut forge = filled();
    let last = forge.log.last().unwrap().clone();
    forge.damage(last.page, last.offset + 50, b"#");
    let report = run(&forge).unwrap();
    assert_eq!(report.last_seq_no, Some(599));
    assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
    forge.meta.durable = Position::new(last.page, last.offset + 8).unwrap();
    forge.write_meta();
    let (page, offset, seq_no, damage) = damage_of(&forge);
    assert_eq!((page, offset, seq_no), (last.page, last.offset, Some(599)));
    assert!(matches!(damage, Damage::Record(RecordFault::Payload { .. })));
}

#[test]
fn a_later_record_can_prove_that_an_earlier_one_was_durable() {
    let mut forge = Forge::new(16384, 4);
    forge.append_n(5);
    forge.durable = forge.position();
    forge.append_n(5);
    let victim = forge.log[3].clone();
    forge.damage(victim.page, victim.offset + 4, b"####");
    let (page, offset, seq_no, damage) = damage_of(&forge);
    assert_eq!((page, offset, seq_no), (1, victim.offset, Some(3)));
    assert!(matches!(damage, Damage::Record(_)));
    // Behind the durable position it is a torn tail, with records that were never acknowledged beyond.
    let mut forge = Forge::new(16384, 4);
    forge.append_n(5);
    forge.durable = forge.position();
    forge.append_n(5);
    let victim = forge.log[6].clone();
    forge.damage(victim.page, victim.offset + 4, b"####");
    let report = run(&forge).unwrap();
    assert_eq!(report.last_seq_no, Some(6));
    assert!(report.notes[0].contains("3 records"), "{:?}", report.notes);
}

#[test]
fn a_log_that_was_closed_and_is_shorter_now_is_damaged() {
    let mut forge = Forge::new(16384, 4);
    forge.append_n(5);
    forge.meta.clean_end = forge.position();
    forge.write_meta();
    run(&forge).unwrap();
    let last = forge.log[4].clone();
    forge.damage(1, last.offset, &vec![0; size(last.data.len()) as usize]);
    let (_, offset, _, damage) = damage_of(&forge);
    assert_eq!(offset, last.offset);
    assert!(matches!(damage, Damage::Record(RecordFault::Blank)));
}

/// The preparer writes footers some time after their pages are complete.
#[test]
fn a_footer_that_is_written_during_the_check_is_no_damage() {
    let mut forge = Forge::live(16384, 4);
    forge.append_n(600);
    let page = forge.oldest + 1;
    let path = forge.page_path(page);
    let whole = std::fs::read(&path).unwrap();
    let mut bare = whole.clone();
    bare[16384 - PAGE_FOOTER_LEN - 32 * 24..].fill(0);
    std::fs::write(&path, bare).unwrap();
    let mut written = false;
    let report = verify(forge.home(), &mut |progress| {
        if progress.page == page && !written {
            std::fs::write(&path, &whole).unwrap();
            written = true;
        }
    });
    let notes = report.unwrap().notes;
    assert!(notes.iter().any(|note| note.contains(&format!("page {page} is sealed and has no good footer"))));
    assert!(run(&forge).unwrap().notes.len() < notes.len());
}

#[test]
fn missing_and_foreign_pages_are_damage() {
    let forge = filled();
    std::fs::copy(forge.page_path(forge.oldest + 2), forge.page_path(forge.oldest + 1)).unwrap();
    assert!(
        matches!(damage_of(&forge), (page, 0, Some(_), Damage::Missing | Damage::Header(_)) if page == forge.oldest + 1)
    );
    std::fs::remove_file(forge.page_path(forge.oldest + 1)).unwrap();
    assert!(matches!(damage_of(&forge), (page, 0, _, Damage::Missing) if page == forge.oldest + 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_change_to_a_sealed_page_is_found(at in 0..16384usize, bit in 0..8u8) {
        let forge = filled();
        let page = forge.oldest + 1;
        let end = forge.log.iter().rfind(|e| e.page == page).unwrap();
        let seal = (end.offset + size(end.data.len())) as usize;
        let entries = forge.kept().iter().filter(|e| e.page == page).count().div_ceil(4).min(32);
        let index = 16384 - PAGE_FOOTER_LEN - entries * 24;
        // Not covered: the rest of the header's block, what lies between the seal and the index, padding.
        let padding = forge.log.iter().filter(|e| e.page == page).any(|e| {
            let pad = e.offset as usize + 48 + e.data.len();
            (pad..(e.offset + size(e.data.len())) as usize).contains(&at)
        });
        let covered = !(128..4096).contains(&at) && !(seal + 48..index).contains(&at) && !padding;
        let mut bytes = std::fs::read(forge.page_path(page)).unwrap();
        bytes[at] ^= 1 << bit;
        std::fs::write(forge.page_path(page), bytes).unwrap();
        // A page without its seal or its footer can be what a crash leaves, and that is told.
        let noticed = match run(&forge) {
            Err(_) => true,
            Ok(report) => {
                let told = [format!("page {page} is sealed and has no"), format!("page {page}, offset {seal}: the seal")];
                report.notes.iter().any(|note| told.iter().any(|told| note.contains(told.as_str())))
            }
        };
        prop_assert_eq!(noticed, covered, "{}", at);
    }
}
