//! What a survey does not read. Rings can be larger than memory, and nothing is served before one is open.

use super::*;
use std::cell::RefCell;

/// A ring that counts what is read of each page, in bytes.
struct Counting {
    ring: Ring,
    read: RefCell<BTreeMap<u64, usize>>,
}

struct CountingFile<'a> {
    file: File<'a>,
    id: u64,
    read: &'a RefCell<BTreeMap<u64, usize>>,
}

impl PageBytes for CountingFile<'_> {
    type Error = Infallible;

    fn size(&self) -> Result<u64, Infallible> {
        self.file.size()
    }

    fn read_up_to(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Infallible> {
        *self.read.borrow_mut().entry(self.id).or_default() += bytes.len();
        self.file.read_up_to(bytes, offset)
    }
}

impl<'a> RingFiles for &'a Counting {
    type Error = Infallible;
    type Page = CountingFile<'a>;

    fn page_ids(&self) -> Result<Vec<u64>, Infallible> {
        (&self.ring).page_ids()
    }

    fn open_page(&self, id: u64) -> Result<Option<CountingFile<'a>>, Infallible> {
        let Ok(file) = (&self.ring).open_page(id);
        Ok(file.map(|file| CountingFile { file, id, read: &self.read }))
    }
}

/// The survey, and what it read of each page.
fn counted(ring: Ring) -> (Survey, BTreeMap<u64, usize>) {
    let files = Counting { ring, read: RefCell::default() };
    let survey = survey(&&files, &files.ring.meta).unwrap();
    (survey, files.read.into_inner())
}

/// Gives page `id` the footer that its records call for.
fn with_footer(ring: &mut Ring, id: u64) {
    let page = ring.files.get_mut(&id).unwrap();
    let header = PageHeader::check_any(page, page.len() as u64).unwrap();
    let read = read_page(&File(page), &header, None, PayloadCheck::Verify).unwrap();
    let footer = PageFooter::new(&header, &read.summary, &read.index);
    let (at, _) = footer.index_range(&header.geometry());
    let end = [read.index.as_bytes(), footer.as_bytes()].concat();
    page[at as usize..][..end.len()].copy_from_slice(&end);
}

/// More than header, footer, seal and index of a page.
const HINTS: usize = 1024;

/// After a crash only what may not be durable is read. The rest is long.
#[test]
fn of_pages_that_are_durable_only_what_sums_them_up_is_read() {
    let mut ring = Ring::new(1, 6, one_by_one);
    (1..6).for_each(|id| with_footer(&mut ring, id));
    ring.meta.durable = at(6, Ring::offset(0));
    let (survey, read) = counted(ring);
    assert_eq!((pages(&survey), survey.tip()), ((1..=6).collect(), Some(5 * PER_PAGE + 2)));
    assert!((1..6).all(|id| read[&id] < HINTS), "{read:?}");
}

/// After a clean close nothing is walked. Behind the end, as far is looked as a record could reach that
/// somebody's old metadata do not know of, and not to the end of the page.
#[test]
fn of_a_ring_that_was_closed_only_what_lies_behind_its_end_is_read() {
    const LONG: u64 = 16 << 20;
    let mut ring = Ring::new(1, 1, never);
    let geometry = PageGeometry::new(LONG, 4).unwrap();
    ring.meta.geometry = geometry;
    let page = ring.files.get_mut(&1).unwrap();
    page.resize(LONG as usize, 0);
    page[..128].copy_from_slice(PageHeader::new(RING, 1, geometry, 3, 0).as_bytes());
    with_footer(&mut ring, 1);
    ring.meta.clean_end = at(1, Ring::offset(2));
    let (survey, read) = counted(ring);
    assert!(survey.clean && survey.tip() == Some(2) && !survey.pages[0].walked);
    assert!(read[&1] < 3 << 20, "{read:?}");
}
