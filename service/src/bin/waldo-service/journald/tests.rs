//! A journal that takes entries, and one that does not.

use super::*;
use nix::cmsg_space;
use nix::fcntl::SealFlag;
use nix::sys::socket::{ControlMessageOwned, recvmsg};
use std::collections::HashMap;
use std::io::{IoSliceMut, Read, Seek};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use tracing_subscriber::layer::SubscriberExt;

struct Place {
    dir: tempfile::TempDir,
    journal: UnixDatagram,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let journal = UnixDatagram::bind(dir.path().join("socket")).unwrap();
        journal.set_nonblocking(true).unwrap();
        Place { dir, journal }
    }

    /// The sender, whose empty datagram has been taken.
    fn sender(&self) -> Journald {
        let sender = Journald::at(&self.dir.path().join("socket")).unwrap();
        assert_eq!(self.journal.recv(&mut [0; 1]).unwrap(), 0);
        sender
    }

    fn entry(&self) -> Option<HashMap<String, String>> {
        let mut bytes = vec![0; 1 << 20];
        let len = self.journal.recv(&mut bytes).ok()?;
        Some(parse(&bytes[..len]))
    }
}

/// As the journal reads it.
fn parse(mut entry: &[u8]) -> HashMap<String, String> {
    let mut fields = HashMap::new();
    while !entry.is_empty() {
        let name = entry.split(|byte| *byte == b'\n').next().unwrap();
        let rest = &entry[name.len() + 1..];
        let len = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(rest[8 + len], b'\n');
        fields.insert(text(name), text(&rest[8..8 + len]));
        entry = &rest[8 + len + 1..];
    }
    fields
}

#[test]
fn an_entry_has_its_fields_by_names_that_the_journal_takes() {
    let place = Place::new();
    let subscriber = tracing_subscriber::registry().with(place.sender());
    tracing::subscriber::with_default(subscriber, || {
        tracing::warn!(ring = "orders", r#type = 7, "two\nlines=here");
    });
    let entry = place.entry().unwrap();
    assert_eq!(entry["MESSAGE"], "two\nlines=here");
    assert_eq!((entry["WALDO_RING"].as_str(), entry["WALDO_TYPE"].as_str()), ("orders", "7"));
    assert_eq!((entry["PRIORITY"].as_str(), entry["SYSLOG_IDENTIFIER"].as_str()), ("4", "waldo-service"));
    assert!(entry["CODE_FILE"].ends_with("tests.rs"));
}

#[test]
fn no_field_can_be_taken_for_another() {
    assert_eq!(name_of("_PID"), "WALDO__PID");
    assert_eq!(name_of("a.b=c\nd"), "WALDO_A_B_C_D");
    assert_eq!(name_of("größe"), "WALDO_GR____E");
    assert_eq!(name_of(&"x".repeat(500)).len(), NAME_LEN_MAX);
}

/// A stopped journal: its queue is full, and whoever waited for room would wait for ever.
#[test]
fn a_journal_that_takes_nothing_holds_up_nobody_and_is_told_later_what_was_dropped() {
    let place = Place::new();
    let sender = place.sender();
    let before = dropped();
    let mut sent = 0;
    while sender.untold.load(Ordering::Relaxed) < 1000 {
        let mut entry = Vec::new();
        put(&mut entry, "MESSAGE", "unread");
        sender.send(&entry);
        sent += 1;
    }
    assert!(dropped() >= before + 1000);
    let mut taken = 0;
    while place.entry().is_some() {
        taken += 1;
    }
    assert_eq!(taken + 1000, sent);
    let mut entry = Vec::new();
    put(&mut entry, "MESSAGE", "read");
    sender.send(&entry);
    assert!(place.entry().unwrap()["MESSAGE"].starts_with("1000 entries of this log were dropped"));
    assert_eq!(place.entry().unwrap()["MESSAGE"], "read");
    sender.send(&entry);
    assert_eq!(place.entry().unwrap()["MESSAGE"], "read", "it is told once");
    // It has ended.
    drop(place.journal);
    sender.send(&entry);
    assert_eq!(sender.untold.load(Ordering::Relaxed), 1);
}

#[test]
fn a_journal_that_takes_nothing_at_the_start_is_a_journal() {
    let place = Place::new();
    let sender = place.sender();
    while sender.untold.load(Ordering::Relaxed) == 0 {
        sender.send(b"A=b\n");
    }
    assert!(Journald::at(&place.dir.path().join("socket")).is_ok());
    assert!(Journald::at(&place.dir.path().join("none")).is_err());
}

#[test]
fn an_entry_too_long_for_a_datagram_comes_as_a_sealed_file() {
    let place = Place::new();
    let sender = place.sender();
    let long = "x".repeat(4 << 20);
    let mut entry = Vec::new();
    put(&mut entry, "MESSAGE", &long);
    sender.send(&entry);
    let mut space = cmsg_space!(RawFd);
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let fd = place.journal.as_raw_fd();
    let got = recvmsg::<()>(fd, &mut parts, Some(&mut space), MsgFlags::empty()).unwrap();
    let Some(ControlMessageOwned::ScmRights(files)) = got.cmsgs().unwrap().next() else { panic!("no file") };
    // SAFETY: the kernel has just made this descriptor for this process.
    #[allow(unsafe_code, reason = "a descriptor comes as a number")]
    let file = unsafe { OwnedFd::from_raw_fd(files[0]) };
    let mut file = File::from(file);
    let seals = fcntl(&file, FcntlArg::F_GET_SEALS).unwrap();
    let wanted = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    assert!(SealFlag::from_bits_truncate(seals).contains(wanted));
    let mut text = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut text).unwrap();
    assert_eq!(parse(&text)["MESSAGE"], long);
}
