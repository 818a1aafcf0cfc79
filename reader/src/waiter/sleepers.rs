//! Which stream waits for what: a place for each stream, and a list of the places that hold a waker.
//!
//! There are no searches: entering, leaving and taking one cost the same, however many streams there are.
//! Allocated places are reused.

use crate::options::Visibility;
use std::task::Waker;

/// The wakers of the streams that wait.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    places: Vec<Slot>,
    free: Vec<usize>,
    /// Numbers of the places that hold a waker: those that wait for committed records, and for durable ones.
    waiting: [Vec<usize>; 2],
}

#[derive(Debug)]
struct Slot {
    waker: Option<Waker>,
    visibility: Visibility,
    /// Where in its list this place is, if it holds a waker.
    at: usize,
}

impl Sleepers {
    /// A place for one more stream.
    pub(super) fn enter(&mut self, visibility: Visibility) -> usize {
        let place = Slot { waker: None, visibility, at: 0 };
        match self.free.pop() {
            Some(number) => {
                self.places[number] = place;
                number
            }
            None => {
                self.places.push(place);
                self.places.len() - 1
            }
        }
    }

    /// Puts `waker` into a place; gives back the one that was there.
    pub(super) fn wait(&mut self, number: usize, waker: Waker) -> Option<Waker> {
        let place = &mut self.places[number];
        let before = place.waker.replace(waker);
        if before.is_none() {
            let list = &mut self.waiting[place.visibility as usize];
            place.at = list.len();
            list.push(number);
        }
        before
    }

    /// Gives a place up; gives back its waker.
    pub(super) fn leave(&mut self, number: usize) -> Option<Waker> {
        let Slot { waker, visibility, at } = &mut self.places[number];
        let waker = waker.take();
        if waker.is_some() {
            let (list, at) = (&mut self.waiting[*visibility as usize], *at);
            list.swap_remove(at);
            if let Some(moved) = list.get(at) {
                self.places[*moved].at = at;
            }
        }
        self.free.push(number);
        waker
    }

    /// Moves the wakers of up to `max` streams that wait for records of this kind to the end of `out`.
    pub(super) fn take(&mut self, visibility: Visibility, max: usize, out: &mut Vec<Waker>) {
        let (places, list) = (&mut self.places, &mut self.waiting[visibility as usize]);
        let waiting = list.drain(list.len().saturating_sub(max)..);
        out.extend(waiting.filter_map(|number| places[number].waker.take()));
    }

    /// How many streams there are.
    pub(super) fn streams(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.iter().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Visibility::{Committed, Durable};

    fn taken(sleepers: &mut Sleepers, visibility: Visibility) -> usize {
        let mut out = Vec::new();
        sleepers.take(visibility, usize::MAX, &mut out);
        out.len()
    }

    #[test]
    fn each_waits_in_its_own_list_and_is_taken_once() {
        let mut sleepers = Sleepers::default();
        let numbers: Vec<_> =
            (0..10).map(|n| sleepers.enter(if n < 3 { Durable } else { Committed })).collect();
        for number in &numbers {
            assert!(sleepers.wait(*number, Waker::noop().clone()).is_none());
            assert!(sleepers.wait(*number, Waker::noop().clone()).is_some(), "it waits already");
        }
        assert_eq!(sleepers.waiting(), 10);
        assert_eq!([taken(&mut sleepers, Durable), taken(&mut sleepers, Durable)], [3, 0]);
        assert_eq!(taken(&mut sleepers, Committed), 7);
        assert_eq!((sleepers.waiting(), sleepers.streams()), (0, 10));
    }

    #[test]
    fn who_leaves_takes_nobody_along_and_leaves_nothing_behind() {
        let mut sleepers = Sleepers::default();
        for _ in 0..3 {
            let numbers: Vec<_> = (0..100).map(|_| sleepers.enter(Committed)).collect();
            for number in &numbers {
                sleepers.wait(*number, Waker::noop().clone());
            }
            // From the front, the middle and the back of the list.
            for number in numbers.iter().step_by(3).chain(numbers.iter().skip(1).step_by(3)) {
                assert!(sleepers.leave(*number).is_some());
            }
            assert_eq!((sleepers.waiting(), sleepers.streams()), (33, 33));
            assert_eq!(taken(&mut sleepers, Committed), 33);
            for number in numbers.iter().skip(2).step_by(3) {
                assert!(sleepers.leave(*number).is_none(), "it did not wait any more");
            }
            assert_eq!((sleepers.waiting(), sleepers.streams()), (0, 0));
        }
        assert_eq!(sleepers.places.len(), 100, "places are used again");
    }
}
