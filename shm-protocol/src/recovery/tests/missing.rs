//! Pages that are not there, or not there any more.

use super::*;
use std::cell::RefCell;

/// Not even a writer that promises nothing for power cuts loses what was flushed: pages only make room for
/// newer ones, so where there is none at all the files have been removed.
#[test]
fn a_ring_without_any_page_is_damaged_if_it_had_been_durable() {
    for trims_early in [false, true] {
        let mut ring = Ring::new(1, 1, never);
        ring.files.clear();
        ring.meta.trims_early = trims_early;
        assert_eq!(ring.survey().unwrap().next_id, 1, "a new ring");
        ring.meta.durable = at(2, Ring::offset(1));
        let damage = ring.survey().unwrap_err();
        assert_eq!((damage.page, damage.kind), (2, DamageKind::Missing), "{trims_early}");
    }
}

/// A page that was about to be made when the power went is left over, whatever the writer flushes when: only
/// records in it would prove that it had been more.
#[test]
fn a_page_without_a_header_and_without_records_is_left_over() {
    for durable_names in [false, true] {
        let mut ring = Ring::new(1, 3, one_by_one).prepared(4).without_header(4);
        ring.meta.durable_names = durable_names;
        let survey = ring.survey().unwrap();
        assert_eq!(pages(&survey), [1, 2, 3]);
        assert_eq!(survey.left_overs, [LeftOver { id: 4, holds_records: false }]);
    }
}

/// A ring of which one page loses its name once its header has been read.
struct Vanishing {
    ring: Ring,
    id: u64,
    opened: RefCell<BTreeMap<u64, u32>>,
}

impl<'a> RingFiles for &'a Vanishing {
    type Error = Infallible;
    type Page = File<'a>;

    fn page_ids(&self) -> Result<Vec<u64>, Infallible> {
        (&self.ring).page_ids()
    }

    fn open_page(&self, id: u64) -> Result<Option<File<'a>>, Infallible> {
        let mut opened = self.opened.borrow_mut();
        let times = opened.entry(id).or_default();
        *times += 1;
        if id == self.id && *times > 1 { Ok(None) } else { (&self.ring).open_page(id) }
    }
}

/// Somebody may remove a page while readers, who hold no lock, look at the files. What they find has no gap.
#[test]
fn a_page_that_goes_away_during_a_survey_leaves_no_gap() {
    for (id, expected) in [(1, vec![2, 3, 4, 5]), (2, vec![1]), (4, vec![1, 2, 3]), (5, vec![1, 2, 3, 4])] {
        let files = Vanishing { ring: Ring::new(1, 5, never), id, opened: RefCell::default() };
        let found = survey(&&files, &files.ring.meta);
        let Ok(found) = found else { panic!("page {id} is called damaged: {found:?}") };
        assert_eq!(pages(&found), expected, "without page {id}");
    }
}
