//! What every test here needs.

pub mod args;
pub mod child;
pub mod crowd;
pub mod disk_failure;
pub mod namespaces;
pub mod payload;
pub mod ring;
pub mod wait;

use nix::sys::prctl;
use nix::sys::signal::Signal;

/// Not a test: where the child processes of the tests begin.
#[test]
fn child_entry() {
    let Ok(role) = std::env::var(child::ROLE) else { return };
    let args = args::Args::parse(&std::env::var(child::ARGS).unwrap());
    crate::roles::restrict(&args);
    // After the user has been changed, which would undo it.
    prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
    assert_ne!(nix::unistd::getppid().as_raw(), 1, "the parent has gone before");
    crate::roles::play(&role, &args);
    // Nothing of the harness is wanted any more.
    std::process::exit(0);
}
