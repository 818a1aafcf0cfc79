//! Which file systems a ring can live on.

use super::Directory;
use crate::error::OpenError;
use crate::options::Durability;
use nix::sys::statfs::{FsType, fstatfs};
use std::path::Path;

/// (magic number, name, refused because). Numbers from linux/magic.h; those without a reason are fine.
const KNOWN: [(i64, &str, Option<&str>); 12] = [
    (0xef53, "ext4", None),
    (0x5846_5342, "xfs", None),
    (0x9123_683e, "btrfs", None),
    (0x0102_1994, "tmpfs", None),
    (0x6969, "NFS", Some(NETWORK)),
    (0xff53_4d42, "CIFS", Some(NETWORK)),
    (0xfe53_4d42, "SMB", Some(NETWORK)),
    (0x0102_1997, "9p", Some(NETWORK)),
    (0x00c3_6400, "Ceph", Some(NETWORK)),
    (0x6573_5546, "FUSE", Some("what is written and what is mapped may differ there; use a local disk")),
    (0x794c_7630, "overlayfs", None),
    (0x8584_58f6, "ramfs", None),
];
const NETWORK: &str = "readers that map files would not see what is written; use a local disk";

/// Refuses file systems on which mapped readers and a flushing writer cannot work, warns of those that
/// promise less than `durability` says, by their name.
pub(crate) fn check_file_system(home: &Directory, durability: Durability) -> Result<(), OpenError> {
    let kind = fstatfs(home)
        .map_err(|errno| OpenError::Io {
            action: "look at",
            path: home.home().to_owned(),
            source: errno.into(),
        })?
        .filesystem_type();
    judge(home.home(), kind, durability)
}

fn judge(home: &Path, kind: FsType, durability: Durability) -> Result<(), OpenError> {
    let known = KNOWN.iter().find(|(magic, ..)| kind == FsType(*magic as _));
    let home_text = home.display();
    match known {
        Some((_, fs, Some(reason))) => {
            return Err(OpenError::FileSystem { path: home.to_owned(), fs, reason });
        }
        Some((_, fs @ ("tmpfs" | "ramfs"), None)) if durability == Durability::Sync => tracing::warn!(
            "{home_text} is on {fs}, where nothing is durable: appends will be acknowledged as if they were, and a \
             reboot loses them; use a disk, or Durability::Interval"
        ),
        Some((_, fs @ ("tmpfs" | "ramfs"), None)) => {
            tracing::warn!(
                "{home_text} is on {fs}: records survive the writer, but nothing survives a reboot"
            );
        }
        // Copy-up is what breaks mappings there, and files made by us live in the upper layer from the start.
        Some((_, fs @ "overlayfs", None)) => {
            tracing::warn!("{home_text} is on {fs}: put it on a volume, a `volatile` overlay loses data");
        }
        Some(_) => {}
        None => tracing::info!("{home_text} is on a file system that Waldo is not tried on: {kind:?}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_the_network_and_fuse_are_refused_by_name() {
        let home = Path::new("/somewhere");
        for (magic, fs, reason) in KNOWN {
            match (judge(home, FsType(magic as _), Durability::Sync), reason) {
                (Err(error @ OpenError::FileSystem { .. }), Some(reason)) => {
                    let text = error.to_string();
                    assert!(
                        text.contains(fs) && text.contains(reason) && text.contains("local disk"),
                        "{text}"
                    );
                }
                (Ok(()), None) => {}
                (other, _) => panic!("{fs}: {other:?}"),
            }
        }
        judge(home, FsType(0x1234), Durability::Sync).unwrap();
    }
}
