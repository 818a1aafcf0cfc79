//! The files for systemd, as far as they can be tried without it.

use crate::ring::Place;
use crate::support::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::Command;

fn unit(name: &str) -> String {
    std::fs::read_to_string(format!("{}/systemd/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Runs systemd-analyze; `None`, and a word about it, where there is none.
fn analyze(args: &[&str]) -> Option<(bool, String)> {
    let Ok(output) = Command::new("systemd-analyze").args(args).output() else {
        println!("left out: there is no systemd-analyze");
        return None;
    };
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    Some((output.status.success(), text))
}

#[test]
fn the_units_are_in_order_and_the_service_is_confined() {
    let place = Place::new();
    let program = waldo_service().get_program().to_str().unwrap().to_owned();
    // Nothing is installed here, so the file names the program that has been built.
    let service = unit("waldo.service").replace("/usr/bin/waldo-service", &program);
    let files = ["waldo.service", "waldo.socket"].map(|name| place.dir().join(name));
    std::fs::write(&files[0], service).unwrap();
    std::fs::write(&files[1], unit("waldo.socket")).unwrap();
    let files = files.each_ref().map(|file| file.to_str().unwrap());
    let Some((ok, text)) = analyze(&["verify", "--man=no", files[0], files[1]]) else { return };
    assert!(ok && text.trim().is_empty(), "{text}");
    // 0 is what cannot do anything, 100 what may do everything.
    let security = analyze(&["security", "--offline=true", "--threshold=20", "--no-pager", files[0]]);
    let Some((ok, text)) = security else { return };
    assert!(ok, "{text}");
}

#[test]
fn the_configuration_that_comes_with_the_units_is_in_order() {
    let place = Place::new();
    let file = config_file(&place, &unit("service.toml"));
    let output = waldo_service().arg("--check").arg("--config").arg(file).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && text.contains("ring orders: /var/lib/waldo/orders"), "{text}");
}

/// `ProcSubset=pid` and `ProtectProc=invisible`, `ProtectSystem=strict`, and a user of its own: what systemd
/// makes of the unit, by hand. Needs root; says so where that is missing.
#[test]
fn the_service_works_with_little_of_proc_a_read_only_root_and_no_privileges() {
    let place = Place::new();
    std::os::unix::fs::chown(place.dir(), Some(65534), Some(65534)).unwrap_or_default();
    let script = "mount -t proc -o subset=pid,hidepid=invisible proc /proc && mount --make-rprivate / && \
                  mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro / && \
                  exec setpriv --pdeathsig KILL --reuid 65534 --regid 65534 --clear-groups --no-new-privs --bounding-set=-all \
                  --inh-caps=-all \"${@:2}\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "bash", "-c", script, "bash"]);
    command.arg(place.dir()).arg(waldo_service().get_program()).args(small(&place));
    let tried = Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]).status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("left out: no namespaces here (not root?)");
        return;
    }
    let mut program = Program::start_command(&place, &mut command);
    append(&place.socket(), "confined");
    assert_eq!(texts(&place.home()), ["confined"]);
    // The service is the only child.
    let child = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", program.pid())).unwrap();
    let child = Pid::from_raw(child.trim().parse().unwrap());
    kill(child, Signal::SIGTERM).unwrap();
    assert_eq!(program.ended().code(), Some(0), "{}", program.log());
}
