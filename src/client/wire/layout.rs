//! Offsets of the frames' fields: asserted where a structure is defined, kept as a table for the document.

use waldo_shm_protocol::layout::Field;

/// Asserts size and offsets of a structure and keeps them as a table.
macro_rules! describe {
    ($name:ident, $title:literal, $size:literal, { $($field:ident: $offset:literal,)* }) => {
        const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(core::mem::offset_of!($name, $field) == $offset);)*
        };
        impl $name {
            /// Offsets and sizes, for documentation and its test.
            pub const TABLE: waldo_shm_protocol::layout::Table = waldo_shm_protocol::layout::Table {
                title: $title,
                size: $size,
                fields: &$crate::client::wire::layout::sized([$((stringify!($field), $offset)),*], $size),
            };
        }
    };
}
pub(super) use describe;

/// Turns names and offsets into fields: each ends where the next begins, so nothing is left unnamed.
pub(super) const fn sized<const N: usize>(fields: [(&'static str, usize); N], total: usize) -> [Field; N] {
    let mut out = [Field { name: "", offset: 0, size: 0 }; N];
    let mut i = 0;
    while i < N {
        let end = if i + 1 < N { fields[i + 1].1 } else { total };
        out[i] = Field { name: fields[i].0, offset: fields[i].1, size: end - fields[i].1 };
        i += 1;
    }
    out
}
