//! Disks that fail for good, on a loop device of their own.

use crate::machine::{FileSystem, Machine};
use std::process::Command;

/// How the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// EIO of everything: writes, flushes, and the opening of files.
    Shutdown,
    /// EROFS of every change, as after `errors=remount-ro`.
    ReadOnly,
}

impl Failure {
    /// Has it happen now.
    pub fn happen(self, machine: &Machine) {
        match self {
            Failure::Shutdown => machine.cut(),
            Failure::ReadOnly => {
                let done =
                    Command::new("mount").args(["-o", "remount,abort"]).arg(machine.top()).output().unwrap();
                assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            }
        }
    }
}

/// Where and how.
pub const CASES: [(FileSystem, Failure); 3] = [
    (FileSystem::Ext4, Failure::Shutdown),
    (FileSystem::Ext4, Failure::ReadOnly),
    (FileSystem::Xfs, Failure::Shutdown),
];

/// A machine for one case; `None`, and a word about it, where there is none.
pub fn machine(file_system: FileSystem) -> Option<Machine> {
    Machine::new(file_system).inspect_err(|why| println!("skipped: {why}")).ok()
}

/// Runs `test` on a thread of its own, which goes into a mount namespace of its own.
pub fn on_own_thread(test: impl FnOnce() + Send + 'static) {
    if let Err(panic) = std::thread::spawn(test).join() {
        std::panic::resume_unwind(panic);
    }
}
