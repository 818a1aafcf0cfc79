//! `docs/FORMAT.md` says what the code says.
#![cfg(not(loom))]

use std::path::Path;
use waldo_shm_protocol::record::RecordNumbers;
use waldo_shm_protocol::segment::{self, Counter, WriterState};
use waldo_shm_protocol::{FORMAT_VERSION, format, lane, limits, link, meta, names, page, record};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/FORMAT.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of every row of the table that follows `heading`, header and rule left out.
fn rows<'a>(document: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let start = document.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading:?}"));
    document[start + 1..]
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

#[test]
fn every_structure_is_described_as_it_is() {
    let document = document();
    for table in format::tables() {
        table.check_document(&document).unwrap();
    }
}

#[test]
fn limits_are_those_of_the_code() {
    let document = document();
    let documented = rows(&document, "## Limits");
    let expected: [(&str, u64); 26] = [
        ("FORMAT_VERSION", FORMAT_VERSION.into()),
        ("RECORD_HEADER_LEN", limits::RECORD_HEADER_LEN as u64),
        ("RECORD_ALIGN", limits::RECORD_ALIGN as u64),
        ("RECORD_SIZE_LIMIT", limits::RECORD_SIZE_LIMIT as u64),
        ("PAYLOAD_LEN_MAX", limits::PAYLOAD_LEN_MAX as u64),
        ("PAGE_HEADER_LEN", limits::PAGE_HEADER_LEN as u64),
        ("PAGE_FOOTER_LEN", limits::PAGE_FOOTER_LEN as u64),
        ("INDEX_ENTRY_LEN", limits::INDEX_ENTRY_LEN as u64),
        ("PAGE_LEN_MIN", limits::PAGE_LEN_MIN),
        ("PAGE_LEN_MAX", limits::PAGE_LEN_MAX),
        ("PAGE_ID_MAX", limits::PAGE_ID_MAX),
        ("INDEX_CAPACITY_MAX", limits::INDEX_CAPACITY_MAX.into()),
        ("RING_SIZE_MAX", limits::RING_SIZE_MAX.into()),
        ("WAKE_WORDS_MAX", limits::WAKE_WORDS_MAX.into()),
        ("SEGMENT_LEN_MAX", limits::SEGMENT_LEN_MAX),
        ("META_SLOT_LEN", meta::META_SLOT_LEN as u64),
        ("META_LEN", meta::META_LEN as u64),
        ("LINK_LEN_MAX", link::LINK_LEN_MAX as u64),
        ("COMMITTED_OFFSET", segment::COMMITTED_OFFSET as u64),
        ("STATUS_OFFSET", segment::STATUS_OFFSET as u64),
        ("WAKE_OFFSET", segment::WAKE_OFFSET as u64),
        ("SLOTS_OFFSET", segment::SLOTS_OFFSET as u64),
        ("SERVICE_LINE_OFFSET", lane::SERVICE_LINE_OFFSET as u64),
        ("LANE_WORDS_OFFSET", lane::LANE_WORDS_OFFSET as u64),
        ("LANE_CAPACITY_MIN", lane::LANE_CAPACITY_MIN),
        ("LANE_CAPACITY_MAX", lane::LANE_CAPACITY_MAX),
    ];
    for (name, value) in expected {
        let row = documented.iter().find(|row| row[0] == name);
        let row = row.unwrap_or_else(|| panic!("{name} is not in the table of limits"));
        assert_eq!(row[1].parse(), Ok(value), "{name}");
    }
    assert_eq!(documented.len(), expected.len(), "a limit that the code does not have");
}

#[test]
fn counters_and_states_have_their_numbers() {
    let document = document();
    let counters = rows(&document, "### Counters by number");
    assert_eq!(counters.len(), Counter::ALL.len());
    for ((counter, name), row) in Counter::ALL.into_iter().zip(counters) {
        assert_eq!(row[..2], [(counter as usize).to_string(), format!("`{name}`")]);
    }
    let states = rows(&document, "### Writer states by number");
    for (number, row) in states.iter().enumerate() {
        let state = WriterState::from_word(number as u32).expect("documented, but not in the code");
        assert_eq!(row[..2], [number.to_string(), format!("{state:?}").to_uppercase()]);
    }
    assert_eq!(WriterState::from_word(states.len() as u32), None, "in the code, but not documented");
}

#[test]
fn magic_numbers_names_and_flags_are_those_of_the_code() {
    let document = document();
    let magic = |bytes: [u8; 8]| {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = std::str::from_utf8(&bytes).expect("a magic number is text").trim_end().to_owned();
        format!("| `{text}\\n` | `{}` |", hex.join(" "))
    };
    let numbers = [
        page::PAGE_MAGIC,
        page::PAGE_MAGIC_RETIRED,
        page::FOOTER_MAGIC,
        meta::META_MAGIC,
        segment::SEGMENT_MAGIC.to_le_bytes(),
    ];
    for row in numbers.map(magic) {
        assert!(document.contains(&row), "missing: {row}");
    }
    let names = [names::META, names::LOCK, names::LINK, names::PAGE_PREFIX, names::SCRATCH_PREFIX];
    for name in names {
        assert!(document.contains(&format!("`{name}")), "missing: {name}");
    }
    assert!(
        document.contains(&format!("`{}`", names::page(0x1a2b))),
        "missing: the example of a page's name"
    );
    assert!(document.contains(&format!("`{:#010x}`", record::FLAG_SEAL)), "missing: the seal flag");
    assert!(
        document.contains(
            &link::Link::Posix("/waldo-00112233445566778899aabbccddeeff-801-2a0047".into()).render()
        )
    );
}

#[test]
fn the_example_record_is_what_the_code_writes() {
    use waldo_shm_protocol::record::{Record, Stamp};
    use waldo_shm_protocol::{PageSeed, Position, payload_hash};
    use zerocopy::IntoBytes;
    let ring: [u8; 16] = std::array::from_fn(|n| n as u8 * 0x11);
    let stamp = Stamp { time_ns: 1_000_000_007, durable: Position::start_of(2), epoch: 3 };
    let header = Record::encode(
        PageSeed::new(&ring, 2),
        4096,
        RecordNumbers { seq_no: 42, prev_seq_no: 41 },
        5,
        payload_hash(b"hello"),
        stamp,
    );
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(b"hello\0\0\0");
    let lines: Vec<String> = bytes
        .chunks(16)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "))
        .collect();
    let expected = lines.join("\n");
    assert!(document().contains(&expected), "the example should be\n{expected}");
}
