//! A hook with which tests decide what a writer does between two steps of a reader.

use std::cell::RefCell;

/// Between which steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The watermark has been loaded, and the epoch is loaded next: where a writer's restart is most
    /// dangerous.
    Loaded,
    /// A survey has found damage.
    Surveyed,
    /// The end of the good records has been found, and what stands behind it is looked at next.
    Walked,
}

type Deed = Box<dyn FnMut(Moment)>;

thread_local! {
    static DOES: RefCell<Option<Deed>> = const { RefCell::new(None) };
}

/// Makes this thread's readers call `does`, instead of the previous hook.
pub(crate) fn let_happen(does: impl FnMut(Moment) + 'static) {
    DOES.with(|slot| *slot.borrow_mut() = Some(Box::new(does)));
}

pub(crate) fn happens(moment: Moment) {
    DOES.with(|slot| slot.borrow_mut().iter_mut().for_each(|does| does(moment)));
}
