//! The layouts as data: one table per structure, asserted at compile time where the structure is
//! defined and compared with `docs/FORMAT.md` by a test, so that neither can drift.

/// One field of a structure: where it is and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name in the code.
    pub name: &'static str,
    /// Offset in bytes from the start of the structure.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
}

/// One structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Title, as in `docs/FORMAT.md`.
    pub title: &'static str,
    /// Size in bytes.
    pub size: usize,
    /// Fields in order.
    pub fields: &'static [Field],
}

impl Table {
    /// The table in the form that `docs/FORMAT.md` uses.
    pub fn to_markdown(&self) -> String {
        let mut out = String::from("| offset | size | field |\n|---:|---:|---|\n");
        for field in self.fields {
            out.push_str(&format!("| {} | {} | {} |\n", field.offset, field.size, field.name));
        }
        out
    }

    /// Checks that a document describes the structure: the table stands under a heading of the third level
    /// with title and size, and the text below names each field.
    ///
    /// # Errors
    /// What is missing.
    pub fn check_document(&self, document: &str) -> Result<(), String> {
        let heading = format!("\n### {} ({} bytes)\n", self.title, self.size);
        let (_, section) =
            document.split_once(&heading).ok_or_else(|| format!("there is no heading {}", heading.trim()))?;
        let section = section.split_once("\n#").map_or(section, |(section, _)| section);
        let expected = self.to_markdown();
        // A row too many would go on where the expected table ends.
        let prose = section.split_once(&format!("\n{expected}")).map(|(_, prose)| prose);
        let Some(prose) = prose.filter(|prose| !prose.starts_with('|')) else {
            return Err(format!("the table under {} should be\n{expected}", heading.trim()));
        };
        match self.fields.iter().find(|field| !prose.contains(&format!("`{}`", field.name))) {
            Some(field) => Err(format!("{}: no word on {}", self.title, field.name)),
            None => Ok(()),
        }
    }
}

/// Asserts size and offsets of a structure and keeps them as a [`Table`]. For the crates of Waldo.
#[doc(hidden)]
#[macro_export]
macro_rules! describe {
    ($name:ident, $title:literal, $size:literal, { $($field:ident: $offset:literal,)* }) => {
        #[cfg(not(loom))]
        const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(core::mem::offset_of!($name, $field) == $offset);)*
        };
        impl $name {
            /// Offsets and sizes, for documentation and its test.
            pub const TABLE: $crate::layout::Table = $crate::layout::Table {
                title: $title,
                size: $size,
                fields: &$crate::layout::sized([$((stringify!($field), $offset)),*], $size),
            };
        }
    };
}
pub use describe;

/// Turns names and offsets into fields: each ends where the next begins, so nothing is left unnamed.
#[doc(hidden)]
pub const fn sized<const N: usize>(fields: [(&'static str, usize); N], total: usize) -> [Field; N] {
    let mut out = [Field { name: "", offset: 0, size: 0 }; N];
    let mut i = 0;
    while i < N {
        let end = if i + 1 < N { fields[i + 1].1 } else { total };
        out[i] = Field { name: fields[i].0, offset: fields[i].1, size: end - fields[i].1 };
        i += 1;
    }
    out
}
