//! Simulated histories: the writer on a disk that loses what a disk may lose, cut off at every operation, and
//! recovered; checked against what was appended.
//!
//! A *life* is a [`Writer`](crate::Writer) or a [`SharedWriter`](crate::SharedWriter) on a simulated disk,
//! from its opening to its end ([`life`]). Every change it makes to the disk is recorded. Then the life is
//! ended anywhere, again and again, by a power cut or by SIGKILL, with every outcome that such a crash may
//! have; each time recovery runs on what is left, entirely in memory ([`images`]), and may be crashed again
//! in the middle. That is a *history*. One of the images is where the next life begins ([`random`]). For
//! short lives every outcome is tried ([`exhaustive`]).
//!
//! What must hold is decided by [`oracle`], apart from the writer's own checks:
//!
//! 1. A ring that was never damaged opens.
//! 2. What it holds is an unbroken run of what was appended, with the payloads that were appended.
//! 3. It ends not before what was acknowledged as durable; after SIGKILL, not before what was committed.
//! 4. It begins where it began, unless it holds as many pages with records as the ring is to have.
//! 5. A complete record is removed only with a word about it in [`OpenReport::cut`](crate::OpenReport::cut).
//! 6. A second opening changes nothing and cuts nothing.
//! 7. Epochs never repeat.
//!
//! In some images the recovery itself meets errors first, and in some the `ring.meta` of an earlier time is
//! put back.
//!
//! `WALDO_HISTORIES=1000000 cargo test --release -p waldo-writer histories -- --nocapture` runs so many,
//! prints how it goes, and the seed of the shortest example of each rule that was broken.
//! `WALDO_HISTORIES_FIRST` is the first seed. `WALDO_HISTORIES_SEED=0x... cargo test -p waldo-writer
//! histories_by_chance -- --nocapture` replays one seed, with the whole course of the life. Seeds that four
//! divides are for lives with threads, and need not take the same course again. `WALDO_HISTORIES_STEPS` is
//! the length of the lives of which every outcome is tried, 3 by default.

mod exhaustive;
mod images;
mod life;
mod oracle;
mod random;
mod recovery;
mod tally;
mod tests;
mod truth;

/// Names the environment variable with the seed to replay.
const SEED: &str = "WALDO_HISTORIES_SEED";
