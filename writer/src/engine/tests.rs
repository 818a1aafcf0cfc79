//! What the kernel has of an engine.

use super::{Engine, PIECE_IN_PLACE};
use crate::disk::{Disk, FileRights, OsDisk};
use crate::testing::{Home, LAZY, small};
use crate::{Durability, Io, WriterOptions};
use waldo_shm_protocol::names;

/// What the kernel says of this process's io_urings.
fn rings() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fdinfo").unwrap();
    // A descriptor of another test may be gone by now.
    let texts = entries.filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok());
    texts.filter(|text| text.contains("UserFiles:")).collect()
}

/// A killed writer's writes may still be on their way when the process is gone. The ring that they are in
/// holds the lock as long, so that nobody writes the same page meanwhile; it does so by the lock file's place
/// among its registered files.
#[test]
fn the_lock_is_held_by_the_ring_as_well() {
    for durability in [Durability::Sync, LAZY] {
        let home = Home::new();
        let writer = home.open(&small(Io::Uring, durability));
        let lock = home.path().join(names::LOCK);
        let lock = lock.file_name().unwrap().to_str().unwrap();
        let home_name = home.path().file_name().unwrap().to_str().unwrap().to_owned();
        let all = rings();
        if all.is_empty() {
            println!("skipped: the kernel does not tell which files are registered");
            return;
        }
        // The path, or the name alone.
        let held = |text: &String| {
            text.lines().any(|line| line.contains(lock) && (line.contains(&home_name) || !line.contains('/')))
        };
        assert!(all.iter().any(held), "{all:#?}");
        writer.close().unwrap();
    }
}

/// Until it is known that writes go through the ring, buffers are short: opening a ring takes less time.
#[test]
fn buffers_are_as_long_as_they_may_be_where_writes_go_through_the_ring() {
    const LONG: usize = 1 << 20;
    let home = Home::new();
    let scratch = OsDisk::open(home.path()).unwrap().create("scratch", FileRights::PRIVATE).unwrap();
    let lock = scratch.fd().unwrap();
    let options = |io| WriterOptions { buffer_len: LONG, buffers: 2, queue_depth: 2, ..small(io, LAZY) };
    let open = |io| Engine::<()>::open(&options(io), lock, Some(&scratch)).unwrap();
    assert_eq!(open(Io::Pwrite).buffers.get(0).len(), PIECE_IN_PLACE);
    let mut engine = open(Io::Auto);
    if engine.uring.is_none() {
        println!("skipped: there is no io_uring here");
        return;
    }
    engine.use_whole_buffers(&options(Io::Auto), 2, lock).unwrap();
    assert_eq!(engine.buffers.get(0).len(), LONG);
    engine.buffers.get_mut(0).fill(1);
    engine.uring.as_mut().unwrap().write_alone(&scratch, &engine.buffers, LONG, 0).unwrap();
    let mut written = vec![0; LONG];
    assert_eq!(scratch.read_up_to(&mut written, 0).unwrap(), LONG);
    assert!(written.iter().all(|byte| *byte == 1));
    assert_eq!(engine.fill(&written).unwrap(), LONG);
    assert_eq!(open(Io::Uring).buffers.get(0).len(), LONG);
}
