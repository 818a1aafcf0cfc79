//! Which file systems a ring can live on.

use crate::error::OpenError;
use nix::sys::statfs::{FsType, statfs};
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

/// Refuses file systems on which mapped readers and a flushing writer cannot work.
pub(crate) fn check_file_system(home: &Path) -> Result<&'static str, OpenError> {
    let kind = statfs(home)
        .map_err(|errno| OpenError::Io { action: "look at", path: home.to_owned(), source: errno.into() })?
        .filesystem_type();
    let known = KNOWN.iter().find(|(magic, ..)| kind == FsType(*magic as _));
    match known {
        Some((_, fs, Some(reason))) => Err(OpenError::FileSystem { path: home.to_owned(), fs, reason }),
        Some((_, fs @ "tmpfs", None)) => {
            tracing::warn!(
                "{} is on tmpfs: records survive the writer, but nothing survives a reboot",
                home.display()
            );
            Ok(fs)
        }
        // Copy-up is what breaks mappings there, and files made by us live in the upper layer from the start.
        Some((_, fs @ "overlayfs", None)) => {
            tracing::warn!(
                "{} is on overlayfs: put it on a volume, a `volatile` overlay loses data",
                home.display()
            );
            Ok(fs)
        }
        Some((_, fs, None)) => Ok(fs),
        None => Ok("other"),
    }
}
