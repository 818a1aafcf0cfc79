//! Places that processes of a test can be put into.

use std::process::Command;

/// Whether `unshare` can make these namespaces here; if not, says so.
pub fn can_unshare(namespaces: &[&str]) -> bool {
    let tried = Command::new("unshare").args(namespaces).arg("true").output();
    let can = tried.is_ok_and(|output| output.status.success());
    if !can {
        println!("skipped: `unshare {}` is not possible here", namespaces.join(" "));
    }
    can
}

/// For a shell in a mount namespace of its own: another `/dev/shm`, as service managers and containers give.
pub const PRIVATE_SHM: &str = "mount -t tmpfs waldo-test /dev/shm";

/// For a shell in a mount namespace of its own: the kernel's boot id cannot be read.
pub const NO_BOOT_ID: &str = "mount --bind /dev/null /proc/sys/kernel/random/boot_id";

/// The same: the boot id is another one, as in a container of systemd-nspawn.
pub const OTHER_BOOT_ID: &str = "echo 01234567-89ab-cdef-0123-456789abcdef > /dev/shm/waldo-test-boot-id-$$; \\
     mount --bind /dev/shm/waldo-test-boot-id-$$ /proc/sys/kernel/random/boot_id; rm /dev/shm/waldo-test-boot-id-$$";
