//! The scripts of the Debian package. What they call is played, and told; /run, /etc and /var/lib are their
//! own. Needs root for namespaces; says so where that is missing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// What is installed on the machine that a script meets.
struct Machine {
    dir: tempfile::TempDir,
    /// Run within the namespace before the script.
    prepare: &'static str,
    /// `DPKG_ROOT`, if the package is for another root than the machine's.
    root: &'static str,
}

const SYSTEMD: [&str; 3] = ["systemctl", "systemd-sysusers", "systemd-tmpfiles"];

impl Machine {
    /// Has programs that say what they are called with, and the few that are real.
    fn new(played: &[&str], prepare: &'static str) -> Machine {
        let dir = tempfile::tempdir().unwrap();
        for name in played {
            let script = "#!/bin/sh\necho \"> ${0##*/} $*\" >&2\ncase \" $FAILING \" in *\" ${0##*/} \"*) exit 1;; esac\n";
            let path = dir.path().join(name);
            fs::write(&path, script).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for name in ["sh", "mkdir", "rmdir"] {
            let found = ["/usr/bin", "/bin"]
                .map(|place| Path::new(place).join(name))
                .into_iter()
                .find(|path| path.exists());
            std::os::unix::fs::symlink(found.unwrap(), dir.path().join(name)).unwrap();
        }
        Machine { dir, prepare, root: "" }
    }

    fn with_systemd(prepare: &'static str) -> Machine {
        let machine = Machine::new(&[&SYSTEMD[..], &["waldo-service"]].concat(), prepare);
        fs::write(machine.dir.path().join("running"), "").unwrap();
        machine
    }

    /// Runs a script, in which the programs of `failing` fail, and gives what was called and said.
    fn run(&self, script: &str, args: &[&str], failing: &str) -> Option<String> {
        self.run_times(1, script, args, failing)
    }

    /// The same so many times, one after the other on one machine, with `> again` between.
    fn run_times(&self, times: u32, script: &str, args: &[&str], failing: &str) -> Option<String> {
        let script = format!("{}/../packaging/deb/{script}", env!("CARGO_MANIFEST_DIR"));
        let systemd =
            if self.dir.path().join("running").exists() { "mkdir -p /run/systemd/system;" } else { "" };
        let begin = format!(
            "set -e; for place in /run /etc /var/lib; do mount -t tmpfs tmpfs $place; done; {systemd} {}; PATH=$1; shift; \
             code=0; (sh \"$@\" 2>&1) || code=$?; for ((i = 1; i < {times}; i++)); do echo '> again'; (sh \"$@\" 2>&1) || \
             code=$?; done; /bin/ls -ld /var/lib/* /run/waldo 2>/dev/null || true; exit $code",
            self.prepare
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "bash", "-c", &begin, "bash"]).arg(self.dir.path()).arg(script).args(args);
        let output = command.env("FAILING", failing).env("DPKG_ROOT", self.root).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        if text.contains("unshare failed") {
            println!("left out: no namespaces here (not root?)");
            return None;
        }
        assert!(output.status.success(), "{args:?}: {text}");
        Some(text)
    }
}

fn position(text: &str, part: &str) -> usize {
    text.find(part).unwrap_or_else(|| panic!("no {part:?} in {text}"))
}

#[test]
fn an_installation_starts_nothing_and_can_be_done_again() {
    let machine = Machine::with_systemd(":");
    let Some(told) = machine.run_times(2, "postinst", &["configure", ""], "") else { return };
    let (first, again) = told.split_once("> again\n").unwrap();
    for told in [first, again] {
        position(told, "> systemd-sysusers waldo.conf");
        position(told, "> systemd-tmpfiles --create waldo.conf");
        position(told, "systemctl enable --now waldo");
        assert!(!told.contains("start waldo"), "{told}");
    }
}

#[test]
fn an_upgrade_starts_a_service_that_runs_again_unless_it_would_not_start() {
    let machine = Machine::with_systemd("mkdir /etc/waldo; : >/etc/waldo/service.toml");
    let run = |failing| machine.run("postinst", &["configure", "0.0.9"], failing);
    let Some(told) = run("") else { return };
    assert!(position(&told, "--check") < position(&told, "> systemctl try-restart waldo.service"), "{told}");
    let told = run("waldo-service").unwrap();
    assert!(
        !told.contains("try-restart") && told.contains("does not take /etc/waldo/service.toml"),
        "{told}"
    );
    // The package is installed all the same.
    position(&run("systemctl systemd-tmpfiles").unwrap(), "the service did not start again");
}

#[test]
fn without_systemd_the_user_and_the_directories_are_made_once() {
    let played = ["getent", "groupadd", "useradd", "chown"];
    let machine = Machine::new(&played, ":");
    let Some(told) = machine.run("postinst", &["configure", ""], "getent") else { return };
    assert!(position(&told, "> groupadd --system waldo") < position(&told, "> useradd --system"), "{told}");
    assert_eq!(told.matches("drwxr-xr-x").count(), 2, "{told}");
    assert_eq!(told.matches("> chown waldo:waldo").count(), 2, "{told}");
    let told = machine.run_times(2, "postinst", &["configure", ""], "").unwrap();
    let (_, again) = told.split_once("> again\n").unwrap();
    assert!(!again.contains("> chown") && !again.contains("could not"), "{told}");
    assert_eq!(again.matches("drwxr-xr-x").count(), 2, "{told}");
    let machine = Machine::new(&played, "mkdir -m 700 /var/lib/waldo");
    let told = machine.run("postinst", &["configure", "0.0.9"], "").unwrap();
    assert!(!told.contains("add ") && told.contains("drwx------"), "{told}");
    position(&machine.run("postrm", &["remove"], "").unwrap(), "drwx------");
}

/// One that is there is left as it is by the next try.
#[test]
fn a_directory_that_cannot_be_given_to_the_user_is_told_and_not_left() {
    let machine = Machine::new(&["getent", "groupadd", "useradd", "chown"], ":");
    let Some(told) = machine.run("postinst", &["configure", ""], "chown") else { return };
    assert_eq!(told.matches("could not be made").count(), 2, "{told}");
    assert!(!told.contains("drwx"), "{told}");
}

#[test]
fn a_package_for_another_root_leaves_this_machine_as_it_is() {
    let prepare = "mkdir -p /run/other/var/lib/waldo /var/lib/waldo /run/waldo";
    let mut machine = Machine::with_systemd(prepare);
    machine.root = "/run/other";
    let Some(told) = machine.run("postinst", &["configure", "0.0.9"], "") else { return };
    assert!(told.contains("> systemd-sysusers --root=/run/other waldo.conf"), "{told}");
    assert!(told.contains("> systemd-tmpfiles --root=/run/other --create waldo.conf"), "{told}");
    assert!(!told.contains("> systemctl"), "{told}");
    let told = machine.run("prerm", &["remove"], "").unwrap();
    assert_eq!(told.matches("> ").count(), 1, "{told}");
    assert!(told.contains("> systemctl --root=/run/other disable waldo.socket"), "{told}");
    let told = machine.run("postrm", &["purge"], "").unwrap();
    assert!(!told.contains("stay") && told.matches("drwx").count() == 2, "{told}");

    let mut machine = Machine::new(&["getent", "groupadd", "useradd", "chown"], "mkdir -p /run/other");
    machine.root = "/run/other";
    let told = machine.run("postinst", &["configure", ""], "").unwrap();
    assert!(told.contains("in /run/other the user") && !told.contains("> "), "{told}");
}

#[test]
fn a_removal_ends_the_service_whatever_systemd_says_and_an_upgrade_does_not() {
    let machine = Machine::with_systemd(":");
    for failing in ["", "systemctl"] {
        let Some(told) = machine.run("prerm", &["remove"], failing) else { return };
        let socket = position(&told, "> systemctl stop waldo.socket");
        assert!(socket < position(&told, "> systemctl stop waldo.service"), "{told}");
        position(&told, "> systemctl disable");
        position(&machine.run("postrm", &["remove"], failing).unwrap(), "> systemctl daemon-reload");
    }
    let told = machine.run("prerm", &["upgrade", "0.2.0"], "").unwrap();
    assert!(!told.contains("> "), "{told}");
}

#[test]
fn a_purge_leaves_the_rings_and_says_so() {
    let machine = Machine::with_systemd("mkdir -p /var/lib/waldo/orders /run/waldo");
    let Some(told) = machine.run("postrm", &["purge"], "") else { return };
    assert!(
        told.contains("the rings in /var/lib/waldo stay") && told.contains(" /var/lib/waldo\n"),
        "{told}"
    );
    let machine = Machine::with_systemd("mkdir -p /var/lib/waldo /run/waldo");
    let told = machine.run("postrm", &["purge"], "").unwrap();
    assert!(!told.contains("/waldo"), "{told}");
}
