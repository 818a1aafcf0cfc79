//! What an opening notes in the metadata, and what the next one makes of it.

use super::*;
use crate::disk::OsDisk;
use crate::metafile::MetaFile;

/// What an opening has found it has made durable. If some of it is lost later, that is damage, although no
/// record names it as durable: cutting it would take away what readers have been told to be safe.
#[test]
fn what_an_opening_found_is_durable_from_then_on() {
    for io in Io::ALL {
        // Nothing is known to be durable in these files.
        let image = crashed(io, 0);
        let (page, offset, _) = places(image.path())[RECORDS as usize - 5];
        let torn = copy(&image);
        overwrite(&torn, page, offset + 16, &[0xff]);
        let writer = torn.open(&options(io));
        assert_eq!((writer.tip(), writer.open_report().cut.is_some()), (Some(RECORDS - 5), true));
        drop(writer);

        let writer = image.open(&options(io));
        let killed = copy(&image);
        drop(writer);
        overwrite(&killed, page, offset + 16, &[0xff]);
        match Writer::open(killed.path(), options(io)) {
            Err(OpenError::Corrupt { after_seq_no, .. }) => assert_eq!(after_seq_no, RECORDS - 5),
            other => panic!("{other:?}"),
        }
    }
}

/// What a crash can leave depends on how the last writer flushed, and so does what is called damage: a ring
/// must not be refused for what is only the usual way of its last writer, nor be cut for what is not.
#[test]
fn each_writer_notes_what_a_crash_of_it_can_leave() {
    let home = Home::new();
    let regimes =
        [LAZY, Durability::Sync, Durability::PageCache, Durability::Sync, LAZY, Durability::PageCache];
    for durability in regimes {
        let writer = home.open(&small(Io::Pwrite, durability));
        let noted = MetaFile::open(&OsDisk::open(home.path()).unwrap()).unwrap().unwrap().meta;
        let expected = (durability == Durability::Sync, durability == Durability::PageCache);
        assert_eq!((noted.durable_names, noted.trims_early), expected, "{durability:?}");
        writer.close().unwrap();
    }
}

/// Somebody may remove a page between the look into the directory and the look into the page. It counts as
/// one that is not there.
#[test]
fn a_page_that_is_removed_while_a_ring_is_opened_is_a_missing_one() {
    let image = crashed(Io::Pwrite, RECORDS);
    let newest = places(image.path()).last().unwrap().0;
    for (id, refused) in [(newest + 9, false), (image.page_ids().last().unwrap() + 1, false), (newest, true)]
    {
        let home = copy(&image);
        if id == newest {
            fs::remove_file(home.page(id)).unwrap();
        }
        let disk = FaultyDisk::open(home.path());
        disk.faults.listed.store(id, std::sync::atomic::Ordering::Relaxed);
        match Writer::open_on(home.path(), Arc::new(disk), options(Io::Pwrite)) {
            Ok(writer) => assert_eq!((writer.tip(), refused), (Some(RECORDS), false), "page {id}"),
            Err(error) => assert!(matches!(error, OpenError::MissingPage { .. }) && refused, "{id}: {error}"),
        }
    }
}
