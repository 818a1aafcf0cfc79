//! Pages that are recycled while a reader opens them.

use crate::testing::{Forge, numbers};
use crate::{Cursor, ReadError};
use waldo_shm_protocol::page::{PageGeometry, PageHeader};

/// What an opener may find at the start of a page's file while its next life begins.
fn headers(forge: &Forge) -> Vec<(&'static str, Vec<u8>)> {
    let ours = std::fs::read(forge.page_path(2)).unwrap()[..128].to_vec();
    let geometry = PageGeometry::new(16384, 32).unwrap();
    let next = PageHeader::new(crate::testing::RING, 9, geometry, 1, 1).as_bytes().to_vec();
    let foreign = PageHeader::new([1; 16], 2, geometry, 1, 1).as_bytes().to_vec();
    let mut newer = ours.clone();
    newer[8] = 99;
    let with = |at: usize| [&next[..at], &ours[at..]].concat();
    vec![
        ("retired", PageHeader::retired_bytes().to_vec()),
        ("its next life", next.clone()),
        ("torn in the page id", with(52)),
        ("torn before the checksum", with(124)),
        ("no magic", vec![0; 128]),
        ("another ring", foreign),
        ("half a version", newer),
    ]
}

#[test]
fn any_header_of_a_page_below_the_oldest_means_that_it_was_trimmed() {
    let names: Vec<_> = {
        let mut forge = Forge::live(16384, 8);
        forge.append_n(600);
        headers(&forge).into_iter().map(|(name, _)| name).collect()
    };
    for (n, name) in names.into_iter().enumerate() {
        for trimmed in [true, false] {
            let mut forge = Forge::live(16384, 8);
            forge.append_n(600);
            let (_, header) = headers(&forge).swap_remove(n);
            forge.damage(2, 0, &header);
            let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
            if trimmed {
                forge.control.as_ref().unwrap().publisher().set_oldest_page(3);
            }
            let in_page = forge.log.iter().filter(|e| e.page == 1).count() as u64;
            let mut seen = Vec::new();
            let error = loop {
                match reader.poll() {
                    Ok(Some(batch)) => seen.extend(numbers(&batch)),
                    Ok(None) => panic!("{name}: records are left"),
                    Err(error) => break error,
                }
            };
            assert_eq!(seen.last(), Some(&in_page), "{name}");
            if trimmed {
                let oldest = forge.log.iter().find(|e| e.page == 3).unwrap().seq;
                assert!(
                    matches!(error, ReadError::Lapped { requested, oldest: o, .. } if (requested, o) == (in_page, oldest)),
                    "{name}: {error}"
                );
            } else {
                assert!(
                    matches!(&error, ReadError::Page { path, .. } if *path == forge.page_path(2)),
                    "{name}: {error}"
                );
            }
        }
    }
}
