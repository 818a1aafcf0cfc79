//! Names of the files in a ring's home directory.

/// The ring's metadata: identity, geometry, epoch. See [`crate::meta`].
pub const META: &str = "ring.meta";
/// The writer's lock. Mode 0600: a process that can open this file could lock the writer out.
pub const LOCK: &str = "writer.lock";
/// Tells readers where the control segment is. See [`crate::link`].
pub const LINK: &str = "control.link";
/// Prefix of page files.
pub const PAGE_PREFIX: &str = "page-";
/// Prefix of files that are not pages yet, or no longer. Left-over files may be deleted at open.
pub const SCRATCH_PREFIX: &str = "scratch-";

/// Name of page `id`: its id as sixteen hexadecimal digits, so that names sort as pages do.
pub fn page(id: u64) -> String {
    format!("{PAGE_PREFIX}{id:016x}")
}

/// The id in a page's name; `None` if this is not the name of a page.
pub fn parse_page(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PAGE_PREFIX)?;
    let well_formed = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    well_formed.then(|| u64::from_str_radix(digits, 16).ok()).flatten().filter(|id| *id > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_names_round_trip() {
        assert_eq!(parse_page(&page(0x1234)), Some(0x1234));
        for wrong in
            ["page-1", "page-00000000000000G0", "page-0000000000000000", "page-000000000000000A", "x"]
        {
            assert_eq!(parse_page(wrong), None, "{wrong}");
        }
    }
}
