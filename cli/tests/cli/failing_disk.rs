//! A disk that fails for good under the command. Needs root; says so where something is missing.

use crate::PROGRAM;
use crate::disk_failure::{CASES, machine, on_own_thread};
use crate::wait::wait_until;
use std::io::Write;
use std::process::{Command, Stdio};

/// Scripts go by the exit status.
#[test]
fn the_command_ends_with_an_error_when_the_disk_fails() {
    for (file_system, failure) in CASES {
        on_own_thread(move || {
            let Some(mut machine) = machine(file_system) else { return };
            for how in [&["--no-sync"][..], &["--sync-interval", "20"], &[]] {
                machine.mount("defaults").unwrap();
                let home = machine.top().join(format!("ring{}", how.len()));
                let mut command = Command::new(PROGRAM);
                command.args(["append", "--page-size", "1M", "--ring-size", "4"]).args(how).arg(&home);
                let mut process = command
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap();
                let mut input = process.stdin.take().unwrap();
                input.write_all(b"one\n").unwrap();
                let mut seen = None;
                wait_until("the first record is there, or the command has ended", || {
                    let status = waldo::reader::Ring::attach(&home).map(|ring| ring.status());
                    seen = Some(format!("{status:?}"));
                    matches!(status, Ok(Ok(status)) if status.tip_seq_no == Some(1))
                        || process.try_wait().unwrap().is_some()
                });
                assert!(process.try_wait().unwrap().is_none(), "{seen:?}");
                failure.happen(&machine);
                wait_until("the command ends", || {
                    // The pipe breaks when it has.
                    let _ = input.write_all(b"more\n");
                    process.try_wait().unwrap().is_some()
                });
                let output = process.wait_with_output().unwrap();
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(1), "{file_system:?} {failure:?} {how:?}: {text}");
                assert!(text.contains("the writer has stopped after an error"), "{text}");
                machine.unmount();
            }
        });
    }
}
