//! A machine whose power can be cut: a file system in an image, and a /dev/shm, that only this thread and its
//! children see.
//!
//! Both are mounted in a mount namespace of their own. So nothing is left behind, whatever ends the test:
//! with the last process in the namespace go the mounts, and with the mounts the loop devices.
#![allow(unsafe_code, reason = "the power is cut by an ioctl")]

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Shut down at once: what is in memory, and the journal too, is lost.
const WITHOUT_FLUSHING_THE_LOG: u32 = 2;

// FS_IOC_SHUTDOWN, the same for ext4 and XFS.
nix::ioctl_read!(fs_shutdown, b'X', 125, u32);

const SHM: &str = "/dev/shm";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileSystem {
    Ext4,
    Xfs,
}

impl FileSystem {
    pub fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
        }
    }

    /// XFS refuses to be smaller.
    fn image_len(self) -> u64 {
        match self {
            FileSystem::Ext4 => 96 << 20,
            FileSystem::Xfs => 304 << 20,
        }
    }

    fn make_args(self) -> &'static [&'static str] {
        match self {
            FileSystem::Ext4 => &["-q", "-F"],
            FileSystem::Xfs => &["-q", "-f"],
        }
    }

    /// Mount options that change what reaches the disk when.
    pub fn mount_options(self) -> &'static [&'static str] {
        match self {
            FileSystem::Ext4 => &["defaults", "commit=1", "data=writeback", "nodelalloc"],
            FileSystem::Xfs => &["defaults"],
        }
    }
}

pub struct Machine {
    file_system: FileSystem,
    mounted: bool,
    // Holds the image, on a tmpfs, and the directory that the image is mounted on.
    root: TempDir,
}

impl Machine {
    /// A machine with an empty file system, not mounted.
    ///
    /// # Errors
    /// Why there cannot be one here, for the log.
    pub fn new(file_system: FileSystem) -> Result<Machine, String> {
        let name = file_system.name();
        unshare(CloneFlags::CLONE_NEWNS)
            .map_err(|error| format!("no mount namespace (not root?): {error}"))?;
        let no: Option<&str> = None;
        mount(no, "/", no, MsFlags::MS_REC | MsFlags::MS_PRIVATE, no)
            .map_err(|error| format!("the mounts cannot be made private: {error}"))?;
        let root = tempfile::Builder::new().prefix("waldo-power-").tempdir().map_err(|e| e.to_string())?;
        mount_tmpfs(root.path())?;
        let mut machine = Machine { file_system, mounted: false, root };
        mount_tmpfs(Path::new(SHM))?;
        fs::create_dir(machine.top()).map_err(|error| error.to_string())?;
        machine.make_file_system().map_err(|error| format!("mkfs.{name}: {error}"))?;
        // Whether it can be mounted at all: a kernel without loop devices or without this file system.
        machine.mount("defaults")?;
        machine.unmount();
        Ok(machine)
    }

    /// Where the file system is mounted.
    pub fn top(&self) -> PathBuf {
        self.root.path().join("top")
    }

    /// A directory on a tmpfs that is not /dev/shm.
    pub fn tmpfs(&self) -> PathBuf {
        self.root.path().to_owned()
    }

    /// An empty file system in place of the one there is, which must not be mounted.
    pub fn make_file_system(&mut self) -> Result<(), String> {
        assert!(!self.mounted);
        let image = self.image();
        // A new file, so that no byte of the old one is left.
        let _ = fs::remove_file(&image);
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(self.file_system.image_len()).map_err(|error| error.to_string())?;
        let mkfs = format!("mkfs.{}", self.file_system.name());
        run(Command::new(mkfs).args(self.file_system.make_args()).arg(image))
    }

    /// Mounts the file system; it replays its journal if the power was cut.
    pub fn mount(&mut self, options: &str) -> Result<(), String> {
        let mut command = Command::new("mount");
        command.args(["-t", self.file_system.name(), "-o", &format!("loop,{options}")]);
        run(command.arg(self.image()).arg(self.top()))?;
        self.mounted = true;
        Ok(())
    }

    /// Everything that has not reached the disk is lost from here on, and no write succeeds any more.
    pub fn cut(&self) {
        let top = File::open(self.top()).unwrap();
        let mut how = WITHOUT_FLUSHING_THE_LOG;
        // SAFETY: the kernel reads one u32 behind the pointer, which is there.
        unsafe { fs_shutdown(top.as_raw_fd(), &raw mut how) }.unwrap();
    }

    /// Every process that uses it must be gone, or about to go.
    pub fn unmount(&mut self) {
        if !std::mem::take(&mut self.mounted) {
            return;
        }
        // A killed process's io_uring lets go of its files a moment later.
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = umount2(&self.top(), MntFlags::empty()) {
            if Instant::now() > deadline {
                let _ = umount2(&self.top(), MntFlags::MNT_DETACH);
                panic!("{} cannot be unmounted: {error}", self.top().display());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A power cut empties the shared memory too.
    pub fn empty_shared_memory(&self) {
        umount2(SHM, MntFlags::MNT_DETACH).unwrap();
        mount_tmpfs(Path::new(SHM)).unwrap();
    }

    fn image(&self) -> PathBuf {
        self.root.path().join("image")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The namespace would take them down as well, with the process. The temporary directory can go at
        // once only if nothing is mounted on it.
        for path in [&self.top(), Path::new(SHM), self.root.path()] {
            let _ = umount2(path, MntFlags::MNT_DETACH);
        }
    }
}

fn mount_tmpfs(at: &Path) -> Result<(), String> {
    let no: Option<&str> = None;
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), no)
        .map_err(|error| format!("no tmpfs on {}: {error}", at.display()))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
