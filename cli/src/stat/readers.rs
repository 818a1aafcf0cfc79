//! Who may read a ring, according to owners, groups and permission bits: those of `ring.meta`, which new
//! files and the control segment follow, and whether all other files agree with them.

#[cfg(test)]
mod tests;

use crate::plain_file;
use nix::unistd::{Gid, Group, Uid, User};
use serde_json::{Value, json};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use waldo_shm_protocol::link::{LINK_LEN_MAX, Link};
use waldo_shm_protocol::names;

const REMEDY: &str = "opening the ring with --mode and --group changes that";

/// Owner, group and permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Access {
    owner: u32,
    group: u32,
    mode: u32,
}

/// Who may read something, besides its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    Nobody,
    Group(u32),
    AllBut(u32),
    Everybody,
}

/// Who may read a ring, as far as that is known.
#[derive(Debug)]
pub struct ReadingRights {
    files: Access,
    /// Who they are, by name: found out once, as `top` shows it in every frame.
    sentence: String,
    home: Access,
    segment: Option<Access>,
    pages_that_differ: u64,
    notes: Vec<String>,
}

impl ReadingRights {
    /// Looks at the ring in `home`; `None` if it cannot be looked at.
    pub fn of(home: &Path) -> Option<ReadingRights> {
        let files = Access::at(&home.join(names::META))?;
        let mut readers = ReadingRights {
            files,
            sentence: files.sentence(),
            home: Access::at(home)?,
            segment: segment_path(home).and_then(|path| Access::at(&path)),
            pages_that_differ: 0,
            notes: Vec::new(),
        };
        readers.look_at_segment();
        readers.look_at_pages(home);
        readers.look_at_directories(home);
        Some(readers)
    }

    /// One line, and what has to be said beside it.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        std::iter::once(self.sentence.clone()).chain(self.notes.iter().cloned())
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let mut value = self.files.to_json();
        value["directory"] = self.home.to_json();
        value["control"] = self.segment.map_or(Value::Null, Access::to_json);
        value["pages_that_differ"] = json!(self.pages_that_differ);
        value["agree"] = json!(self.notes.is_empty());
        value["notes"] = json!(self.notes);
        value
    }

    fn look_at_segment(&mut self) {
        let Some(segment) = self.segment.filter(|segment| !segment.is_for_those_of(&self.files)) else {
            return;
        };
        let same_owner = segment.owner == self.files.owner;
        let (of_segment, of_files) = (segment.audience(), self.files.audience());
        let text = if same_owner && of_files.includes(of_segment) {
            "fewer than the files: who cannot read it follows by the files"
        } else if same_owner && of_segment.includes(of_files) {
            "more than the files"
        } else {
            "others than the files: who cannot read it follows by the files"
        };
        self.notes.push(format!(
            "the control segment can be read by {text} ({}); a writer that may give it to the files' group puts that right",
            segment.sentence()
        ));
    }

    fn look_at_pages(&mut self, home: &Path) {
        let Ok(entries) = fs::read_dir(home) else { return };
        let is_page = |name: &str| names::parse_page(name).is_some();
        let pages = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_page));
        let found: Vec<Access> = pages.filter_map(|page| Access::at(&page.path())).collect();
        let differs = |page: &&Access| !page.is_for_those_of(&self.files);
        let (count, first) = (found.iter().filter(differs).count(), found.iter().find(differs));
        self.pages_that_differ = count as u64;
        if let Some(page) = first {
            self.notes.push(format!(
                "{count} of {} page files can be read by others than ring.meta (by {}); {REMEDY}",
                found.len(),
                page.sentence()
            ));
        }
    }

    /// Access control lists are left out of account, and the groups that a user has besides the ring's.
    fn look_at_directories(&mut self, home: &Path) {
        let audience = self.files.audience();
        let path = home.canonicalize().unwrap_or_else(|_| home.to_owned());
        for (depth, dir) in path.ancestors().enumerate() {
            let Some(access) = Access::at(dir) else { continue };
            let (needed, words) = if depth == 0 { (0o5, "r and x") } else { (0o1, "x") };
            if !access.lets_through(audience, needed) {
                let remedy = if depth == 0 { format!("; {REMEDY}") } else { String::new() };
                self.notes.push(format!(
                    "the directory {} keeps readers out: it belongs to {}, {} and has mode {:04o}, and they need {words} \
                     there{remedy}",
                    dir.display(),
                    user_text(access.owner),
                    group_text(access.group),
                    access.mode
                ));
            }
        }
    }
}

impl Access {
    fn at(path: &Path) -> Option<Access> {
        fs::symlink_metadata(path).ok().as_ref().map(Access::of)
    }

    fn of(stat: &Metadata) -> Access {
        Access { owner: stat.uid(), group: stat.gid(), mode: stat.mode() & 0o7777 }
    }

    fn audience(&self) -> Audience {
        match (self.mode & 0o040 != 0, self.mode & 0o004 != 0) {
            (false, false) => Audience::Nobody,
            (true, false) => Audience::Group(self.group),
            (false, true) => Audience::AllBut(self.group),
            (true, true) => Audience::Everybody,
        }
    }

    fn is_for_those_of(&self, other: &Access) -> bool {
        let everybody = self.audience() == Audience::Everybody;
        self.audience() == other.audience() && (everybody || self.owner == other.owner)
    }

    /// Whether a directory has these bits for all of `audience`.
    fn lets_through(&self, audience: Audience, bits: u32) -> bool {
        let (group, others) = (self.mode >> 3 & bits == bits, self.mode & bits == bits);
        match audience {
            Audience::Nobody => true,
            Audience::Group(id) if id == self.group => group,
            Audience::AllBut(id) if id == self.group => others,
            Audience::Group(_) => others,
            Audience::AllBut(_) | Audience::Everybody => group && others,
        }
    }

    fn sentence(&self) -> String {
        let user = user_text(self.owner);
        match self.audience() {
            Audience::Nobody => format!("{user}, and nobody else"),
            Audience::Group(group) => format!("{user}, {}, and nobody else", group_text(group)),
            Audience::AllBut(group) => format!("{user}, and everybody who is not of {}", group_text(group)),
            Audience::Everybody => "everybody".to_owned(),
        }
    }

    fn to_json(self) -> Value {
        json!({
            "owner": self.owner,
            "owner_name": user_name(self.owner),
            "group": self.group,
            "group_name": group_name(self.group),
            "mode": format!("{:04o}", self.mode),
        })
    }
}

impl Audience {
    fn includes(self, other: Audience) -> bool {
        match (self, other) {
            (Audience::Everybody, _) | (_, Audience::Nobody) => true,
            (own, other) => own == other,
        }
    }
}

fn segment_path(home: &Path) -> Option<PathBuf> {
    let link = plain_file::open(&home.join(names::LINK)).ok()?;
    match Link::parse(&plain_file::beginning(&link, LINK_LEN_MAX).ok()?).ok()? {
        Link::Posix(name) => Some(Path::new("/dev/shm").join(name.trim_start_matches('/'))),
        Link::Path(path) => Some(path.into()),
    }
}

fn user_name(id: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(id)).ok().flatten().map(|user| user.name)
}

fn group_name(id: u32) -> Option<String> {
    Group::from_gid(Gid::from_raw(id)).ok().flatten().map(|group| group.name)
}

fn user_text(id: u32) -> String {
    format!("user {}", user_name(id).unwrap_or_else(|| id.to_string()))
}

fn group_text(id: u32) -> String {
    format!("group {}", group_name(id).unwrap_or_else(|| id.to_string()))
}
