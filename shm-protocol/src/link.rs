//! The link file: where the control segment of a ring is. Two lines of text, replaced by rename.
//!
//! ```text
//! waldo-control 1
//! posix /waldo-3f0c...          a POSIX shared memory object, or
//! path /run/app/ring.control    a file on a tmpfs
//! ```

use thiserror::Error;

/// Longest link file in bytes.
pub const LINK_LEN_MAX: usize = 4200;

/// Where a control segment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Name of a POSIX shared memory object, with its leading slash.
    Posix(String),
    /// Absolute path of a file, on a tmpfs.
    Path(String),
}

/// Why a link file could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkFault {
    /// First line is not `waldo-control 1`.
    #[error("not a control link of version 1")]
    Version,
    /// Second line is neither a POSIX name nor an absolute path.
    #[error("names no control segment")]
    Target,
}

impl Link {
    /// The file's content.
    pub fn render(&self) -> String {
        match self {
            Link::Posix(name) => format!("waldo-control 1\nposix {name}\n"),
            Link::Path(path) => format!("waldo-control 1\npath {path}\n"),
        }
    }

    /// Reads the file's content.
    ///
    /// # Errors
    /// [`LinkFault`] if it is not of the form [`Link::render`] gives.
    pub fn parse(content: &[u8]) -> Result<Link, LinkFault> {
        let text = std::str::from_utf8(content).map_err(|_| LinkFault::Version)?;
        let target = text.strip_prefix("waldo-control 1\n").ok_or(LinkFault::Version)?;
        let target =
            target.strip_suffix('\n').filter(|t| !t.contains(['\n', '\0'])).ok_or(LinkFault::Target)?;
        match target.split_once(' ') {
            Some(("posix", name))
                if name.len() > 1
                    && name.len() < 255
                    && name.starts_with('/')
                    && !name[1..].contains('/')
                    && !matches!(name, "/." | "/..") =>
            {
                Ok(Link::Posix(name.to_owned()))
            }
            Some(("path", path)) if path.len() > 1 && path.starts_with('/') => {
                Ok(Link::Path(path.to_owned()))
            }
            _ => Err(LinkFault::Target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        for link in [Link::Posix("/waldo-1".into()), Link::Path("/run/a b/c".into())] {
            assert_eq!(Link::parse(link.render().as_bytes()), Ok(link));
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for wrong in [
            "",
            "waldo-control 2\nposix /a\n",
            "waldo-control 1\n",
            "waldo-control 1\nposix a\n",
            "waldo-control 1\nposix /a/b\n",
            "waldo-control 1\nposix /..\n",
            "waldo-control 1\npath rel\n",
            "waldo-control 1\npath /a\nx\n",
        ] {
            assert!(Link::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
        assert_eq!(Link::parse(&[0xff; 40]), Err(LinkFault::Version));
    }

    /// A name of a POSIX object is one part of a path; a path is absolute, and more than the root.
    #[test]
    fn a_link_names_something_that_can_hold_a_segment() {
        let longest = format!("/{}", "a".repeat(253));
        for (kind, target, legal) in [
            ("posix", "/a", true),
            ("posix", longest.as_str(), true),
            ("posix", &format!("{longest}a"), false),
            ("posix", "/", false),
            ("posix", "", false),
            ("posix", "ab", false),
            ("posix", "/a/b", false),
            ("posix", "/.", false),
            ("posix", "/..", false),
            ("posix", "/...", true),
            ("path", "/a", true),
            ("path", "/a/b", true),
            ("path", "/", false),
            ("path", "", false),
            ("path", "ab", false),
            ("other", "/a", false),
        ] {
            let content = format!("waldo-control 1\n{kind} {target}\n");
            let parsed = Link::parse(content.as_bytes());
            let wanted = match (legal, kind) {
                (false, _) => Err(LinkFault::Target),
                (true, "posix") => Ok(Link::Posix(target.to_owned())),
                (true, _) => Ok(Link::Path(target.to_owned())),
            };
            assert_eq!(parsed, wanted, "{kind} {target}");
        }
        for odd in ["posix /a\0", "posix /a", "path /a\nb\n", ""] {
            assert_eq!(
                Link::parse(format!("waldo-control 1\n{odd}").as_bytes()),
                Err(LinkFault::Target),
                "{odd:?}"
            );
        }
        assert_eq!(Link::parse(b"waldo-control 1\npath /a\0\n"), Err(LinkFault::Target));
    }

    #[test]
    fn what_is_written_is_two_lines() {
        assert_eq!(Link::Posix("/waldo-1".into()).render(), "waldo-control 1\nposix /waldo-1\n");
        assert_eq!(Link::Path("/run/a".into()).render(), "waldo-control 1\npath /run/a\n");
    }
}
