//! Makes an engine that a test opens behave as on another machine.

use std::cell::Cell;

thread_local! {
    static IN_FORCE: Cell<Option<EngineOverride>> = const { Cell::new(None) };
}

/// What [`Engine::open`](super::Engine::open) with `Io::Uring` results in on other machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineOverride {
    /// Nothing can be registered: too little memory may be locked.
    Unregistered,
    /// A small piece that is alone is written in place, all others through the ring.
    SmallInPlace,
    /// Everything is written in place, large payloads from where they are.
    AllInPlace,
}

impl EngineOverride {
    /// Every one there is.
    pub(crate) const ALL: [EngineOverride; 3] =
        [EngineOverride::Unregistered, EngineOverride::SmallInPlace, EngineOverride::AllInPlace];

    /// The one in force for engines that this thread opens.
    pub(crate) fn in_force() -> Option<EngineOverride> {
        IN_FORCE.get()
    }

    /// Puts `wanted` in force for engines that this thread opens from now on.
    pub(crate) fn set(wanted: Option<EngineOverride>) {
        IN_FORCE.set(wanted);
    }
}
