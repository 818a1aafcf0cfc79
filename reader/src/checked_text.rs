//! Small text files that show whether they are complete: a title, a line for each field, a checksum.

use std::fmt::Write;
use std::str::{FromStr, Lines};
use waldo_shm_protocol::payload_hash;

/// Why a text is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextFault {
    /// Another title: of a newer version, or something else altogether.
    Title,
    /// Damaged or edited: what is wrong.
    Damaged(&'static str),
}

/// The text of these fields.
pub(crate) fn render(title: &str, fields: &[(&str, String)]) -> String {
    let mut body = format!("{title}\n");
    for (name, value) in fields {
        // Writing to a string cannot fail.
        let _ = writeln!(body, "{name} {value}");
    }
    format!("{body}checksum {:08x}\n", payload_hash(body.as_bytes()))
}

/// The fields of a complete text, one after the other.
pub(crate) struct Fields<'t>(Lines<'t>);

impl<'t> Fields<'t> {
    /// Checks what [`render`] has made.
    pub(crate) fn parse(bytes: &'t [u8], title: &str) -> Result<Fields<'t>, TextFault> {
        let text = std::str::from_utf8(bytes).map_err(|_| TextFault::Damaged("not text"))?;
        if text.split('\n').next() != Some(title) {
            return Err(TextFault::Title);
        }
        // The last one: a value may hold the same word.
        let body_len = text.rfind("checksum ").ok_or(TextFault::Damaged("its end is missing"))?;
        let (body, end) = text.split_at(body_len);
        if end != format!("checksum {:08x}\n", payload_hash(body.as_bytes())) {
            return Err(TextFault::Damaged("checksum"));
        }
        let mut lines = body.lines();
        lines.next();
        Ok(Fields(lines))
    }

    /// The value of the next field, which has this name.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<&'t str, TextFault> {
        let rest = self.0.next().and_then(|line| line.strip_prefix(name));
        rest.and_then(|rest| rest.strip_prefix(' ')).ok_or(TextFault::Damaged(name))
    }

    /// The same of a number.
    pub(crate) fn number<T: FromStr>(&mut self, name: &'static str) -> Result<T, TextFault> {
        self.text(name)?.parse().map_err(|_| TextFault::Damaged(name))
    }
}
