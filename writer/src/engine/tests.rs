//! What the kernel has of an engine.

use crate::testing::{Home, LAZY, small};
use crate::{Durability, Io};
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
