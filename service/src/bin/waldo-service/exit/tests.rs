//! The codes, and that unit, document and help say the same of them.

use super::*;
use anyhow::Context;
use clap::CommandFactory;

fn file(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn code(error: impl Into<anyhow::Error>) -> u8 {
    let outcome: anyhow::Result<()> = Err(error.into());
    code_of(&outcome.context("cannot open the ring").context("more").unwrap_err())
}

#[test]
fn a_code_says_what_a_start_again_is_good_for() {
    let io = |kind| io::Error::from(kind);
    let open = |kind| OpenError::Io { action: "open", path: "x".into(), source: io(kind) };
    assert_eq!(code(Usage("no".into())), USAGE);
    assert_eq!(code(OpenError::Options { reason: "no".into() }), USAGE);
    assert_eq!(code(OpenError::Locked { path: "x".into(), holder: "y".into() }), IN_USE);
    assert_eq!(code(OpenError::MissingPage { path: "x".into() }), PERSON);
    assert_eq!(code(open(ErrorKind::PermissionDenied)), PERSON);
    assert_eq!(code(open(ErrorKind::StorageFull)), FAILURE);
    assert_eq!(code(open(ErrorKind::NotFound)), FAILURE);
    assert_eq!(code(ServiceError::SocketHeld { path: "x".into() }), IN_USE);
    assert_eq!(code(ServiceError::JournalDamaged { path: "x".into(), reason: "y".into() }), PERSON);
    let directory = |kind| ServiceError::Directory { path: "x".into(), source: io(kind), hint: "" };
    assert_eq!(code(directory(ErrorKind::PermissionDenied)), PERSON);
    assert_eq!(code(directory(ErrorKind::NotFound)), FAILURE);
    assert_eq!(code(io(ErrorKind::AddrInUse)), IN_USE);
    assert_eq!(code(anyhow::anyhow!("something else")), FAILURE);
}

/// `KEY=1 2` of the unit, as numbers.
fn of_unit(key: &str) -> Vec<u8> {
    let unit = file("systemd/waldo.service");
    let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap().split(' ').map(|code| code.parse().unwrap()).collect()
}

#[test]
fn the_unit_starts_the_service_again_where_that_is_of_use() {
    assert!(file("systemd/waldo.service").contains("\nRestart=on-failure\n"));
    assert_eq!(of_unit("RestartPreventExitStatus"), [USAGE, PERSON]);
    // Never given up at the pace of RestartSec=, and given up where somebody starts it again at once.
    let [interval, burst, pause] =
        ["StartLimitIntervalSec", "StartLimitBurst", "RestartSec"].map(|key| of_unit(key)[0]);
    assert!(interval > 0 && u32::from(burst) * u32::from(pause) > u32::from(interval));
    let document = file("../docs/OPERATIONS.md");
    let choice =
        format!("`RestartSec={pause}`, `StartLimitIntervalSec={interval}`, `StartLimitBurst={burst}`");
    assert!(document.contains(&choice), "{choice}");
    // After SIGINT, and after a second SIGTERM: an operator wanted that.
    assert_eq!(of_unit("SuccessExitStatus"), [130, 143]);
}

#[test]
fn the_document_and_the_help_name_every_code() {
    let document = file("../docs/OPERATIONS.md");
    let help = crate::args::Args::command().render_long_help().to_string();
    for code in [0, FAILURE, USAGE, PERSON, IN_USE, 130] {
        let row = document.lines().find(|line| line.starts_with(&format!("| `{code}` |")));
        let again = row.unwrap_or_else(|| panic!("{code}")).split('|').nth(3).unwrap().trim();
        let wanted = if [FAILURE, IN_USE].contains(&code) { "yes" } else { "no" };
        assert_eq!(again, wanted, "{code}");
        assert!(help.contains(&format!("\n  {code} ")), "{code}: {help}");
    }
}
