//! What people state, and the pages that it takes.

use super::*;

const MIB: u64 = 1 << 20;

/// With pages of which every byte is for records.
fn pages(capacity: Capacity, page_len: u64) -> Result<Option<ChosenPages>, String> {
    capacity.pages(PageRoom { len: page_len, records: page_len }, 65_536)
}

fn of_bytes(bytes: u64) -> Capacity {
    Capacity { bytes: Some(bytes), ..Capacity::default() }
}

fn of_time(keep: u64, rate: u64) -> Capacity {
    Capacity { keep: Some(Duration::from_secs(keep)), rate: Some(rate), ..Capacity::default() }
}

#[test]
fn a_size_takes_whole_pages_and_never_more_than_was_allowed() {
    assert_eq!(pages(Capacity::default(), MIB), Ok(None));
    assert_eq!(pages(of_bytes(10 << 30), 64 * MIB), Ok(Some(ChosenPages { pages: 160, told: None })));
    let chosen = pages(of_bytes(10 * MIB + 5), MIB).unwrap().unwrap();
    assert_eq!(chosen.pages, 10);
    assert!(chosen.told.unwrap().contains("10 pages are taken, which are 10,485,760 bytes"));
    let refused = pages(of_bytes(MIB - 1), MIB).unwrap_err();
    assert!(refused.contains("smallest ring has one page of 1.00 MiB"), "{refused}");
    let refused = pages(of_bytes(65_537 * MIB), MIB).unwrap_err();
    assert!(refused.contains("65,537 pages") && refused.contains("2.00 MiB at least"), "{refused}");
}

#[test]
fn two_ways_to_say_it_may_agree_and_may_not_disagree() {
    let both = |pages| Capacity { pages: Some(pages), ..of_bytes(8 * MIB) };
    assert_eq!(pages(both(8), MIB).unwrap().unwrap().pages, 8);
    let refused = pages(both(9), MIB).unwrap_err();
    assert!(refused.contains("says 9 pages of 1.00 MiB, the size says 8: give one of the two"), "{refused}");
    let half = Capacity { keep: Some(Duration::from_secs(1)), ..Capacity::default() };
    assert!(pages(half, MIB).unwrap_err().contains("rate"));
    let half = Capacity { rate: Some(1), ..Capacity::default() };
    assert!(pages(half, MIB).unwrap_err().contains("time"));
}

/// Right after the newest page was begun, the ring holds one page less than it has.
#[test]
fn a_time_at_a_rate_is_held_also_when_the_newest_page_has_just_been_begun() {
    let chosen = pages(of_time(6 * 3600, 10 * MIB), 64 * MIB).unwrap().unwrap();
    assert_eq!(chosen.pages, 3375 + 1);
    let told = chosen.told.unwrap();
    assert!(told.starts_with("6h at 10.0 MiB/s are 211 GiB: 3,376 pages of 64.0 MiB"), "{told}");
    assert_eq!(pages(of_time(1, MIB + 1), MIB).unwrap().unwrap().pages, 3);
    assert!(pages(of_time(u64::MAX, u64::MAX), MIB).is_err());
    // What a page has beside records holds none. The tests of the command try that with rings.
    let page = PageRoom { len: MIB, records: MIB / 2 };
    let chosen = of_time(1, MIB + 1).pages(page, 65_536).unwrap().unwrap();
    assert_eq!(chosen.pages, 4);
    assert!(
        chosen
            .told
            .unwrap()
            .contains("4 pages of 1.00 MiB with the one that is being filled, 4.00 MiB in all")
    );
}

#[test]
fn rates_and_times_are_read() {
    assert_eq!(parse_rate("10MB"), Ok(10 * MIB));
    assert_eq!(parse_rate("10MB/s"), Ok(10 * MIB));
    assert_eq!(parse_keep("6h"), Ok(Duration::from_secs(6 * 3600)));
    for wrong in ["0", "0/s", "x", "1/m"] {
        assert!(parse_rate(wrong).is_err(), "{wrong}");
    }
    for wrong in ["0s", "x", "6"] {
        assert!(parse_keep(wrong).is_err(), "{wrong}");
    }
}
