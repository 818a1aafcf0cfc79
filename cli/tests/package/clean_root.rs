//! A root with the package, the shared libraries that its programs need, and nothing else: no shell, no users
//! but the package's own.

use crate::layout;
use nix::mount::{MsFlags, mount};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Producers and readers: users of their own, in the group of the service.
pub const PRODUCER: u32 = 2001;
pub const READER: u32 = 2002;

pub struct CleanRoot {
    dir: PathBuf,
    /// User and group of the service.
    pub user: u32,
    pub group: u32,
}

impl CleanRoot {
    /// Makes it in `place`, on a tmpfs; only the rings lie on the disk.
    pub fn new(place: &Path, package: Option<&Path>) -> CleanRoot {
        let (dir, rings) = (place.join("root"), place.join("rings"));
        fs::create_dir(&dir).unwrap();
        fs::create_dir(&rings).unwrap();
        mount_at("tmpfs", &dir, MsFlags::empty());
        match package {
            Some(package) => done(Command::new("dpkg-deb").arg("-x").arg(package).arg(&dir)),
            None => layout::lay_out(&dir),
        }
        for program in ["waldo", "waldo-service"] {
            copy_libraries(&dir, &dir.join("usr/bin").join(program));
        }
        for name in ["proc", "dev/shm", "tmp", "run", "var/lib/waldo"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        mount_at("proc", &dir.join("proc"), MsFlags::empty());
        mount_at("tmpfs", &dir.join("dev/shm"), MsFlags::MS_NOSUID);
        fs::write(dir.join("dev/null"), "").unwrap();
        bind(Path::new("/dev/null"), &dir.join("dev/null"));
        bind(&rings, &dir.join("var/lib/waldo"));
        let (user, group) = make_user(&dir);
        make_directories(&dir, user, group);
        CleanRoot { dir, user, group }
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir.join(path)).unwrap()
    }

    /// A command in this root, as this user, in the group of the service, with an empty environment.
    pub fn command(&self, user: u32, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        command.arg(format!("--userspec={user}:{}", self.group)).arg("--groups=").arg(&self.dir);
        command.arg(program).args(args);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        command
    }

    /// Runs a command of the package to its end and gives what it prints.
    pub fn run(&self, user: u32, program: &str, args: &[&str]) -> String {
        let output = self.command(user, program, args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {}: {errors}", output.status);
        text
    }
}

fn mount_at(kind: &str, dir: &Path, flags: MsFlags) {
    mount(Some(kind), dir, Some(kind), flags, None::<&str>).unwrap();
}

fn bind(from: &Path, to: &Path) {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What the dynamic linker would load, and the linker.
fn copy_libraries(root: &Path, program: &Path) {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let paths: Vec<&str> = text.split_whitespace().filter(|word| word.starts_with('/')).collect();
    assert!(!paths.is_empty(), "{text}");
    for path in paths {
        let target = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(path, target).unwrap();
    }
}

/// The user that the package's sysusers.d file asks for; by hand where there is no systemd.
fn make_user(root: &Path) -> (u32, u32) {
    let file = root.join("usr/lib/sysusers.d/waldo.conf");
    let root_flag = format!("--root={}", root.display());
    match Command::new("systemd-sysusers").args([&root_flag, "waldo.conf"]).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => {
            assert!(fs::read_to_string(file).unwrap().contains("\nu waldo "));
            fs::write(root.join("etc/passwd"), "waldo:x:990:990::/var/lib/waldo:/usr/sbin/nologin\n")
                .unwrap();
            fs::write(root.join("etc/group"), "waldo:x:990:\n").unwrap();
        }
    }
    let users = fs::read_to_string(root.join("etc/passwd")).unwrap();
    let line = users.lines().find(|line| line.starts_with("waldo:")).unwrap();
    let number = |part: usize| line.split(':').nth(part).unwrap().parse().unwrap();
    (number(2), number(3))
}

/// The directories that the package's tmpfiles.d file asks for; by hand where there is no systemd.
fn make_directories(root: &Path, user: u32, group: u32) {
    let made = Command::new("systemd-tmpfiles")
        .args(["--create", &format!("--root={}", root.display()), "waldo.conf"])
        .output();
    if let Ok(output) = made {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    for name in ["var/lib/waldo", "run/waldo"] {
        fs::create_dir_all(root.join(name)).unwrap();
        chown(root.join(name), Some(user), Some(group)).unwrap();
    }
}
