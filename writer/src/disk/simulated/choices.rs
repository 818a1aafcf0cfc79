//! What becomes of everything that may go one way or the other: by chance, or every way in turn.

/// Decides what a crash does to each thing that it may do something to.
pub(crate) trait Choices {
    /// One of `0..options`, of which 0 is the oldest state and the last one the newest.
    fn pick(&mut self, options: usize) -> usize;
    /// What is asked from now on belongs to another file.
    fn turn(&mut self) {}
}

/// A small generator of numbers that look random; the same for the same seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// Another generator, which this one and `number` decide.
    pub(crate) fn fork(&self, number: u64) -> Rng {
        let mut rng = Rng(self.0 ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        Rng(rng.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..n`; `n` is not 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// True once in `n` times; never if `n` is 0.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }

    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    pub(crate) fn shuffle<T>(&mut self, all: &mut [T]) {
        for n in (1..all.len()).rev() {
            all.swap(n, self.below(n as u64 + 1) as usize);
        }
    }
}

/// How much of what is not durable a crash takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// All of it.
    Oldest,
    /// Nothing.
    Newest,
    /// Any part.
    Any,
    /// Nearly all of it.
    MostlyOld,
    /// Little.
    MostlyNew,
    /// Another one of these for each file, and one for the names.
    Mixed,
}

impl Style {
    pub(crate) const ALL: [Style; 6] =
        [Style::Oldest, Style::Newest, Style::Any, Style::MostlyOld, Style::MostlyNew, Style::Mixed];
}

/// Choices by chance.
pub(crate) struct Styled {
    rng: Rng,
    style: Style,
    now: Style,
}

impl Styled {
    pub(crate) fn new(mut rng: Rng) -> Styled {
        let style =
            rng.of(&[Style::Oldest, Style::Any, Style::Mixed, Style::Mixed, Style::Mixed, Style::Newest]);
        Styled { rng, style, now: style }
    }

    pub(crate) fn of_style(rng: Rng, style: Style) -> Styled {
        Styled { rng, style, now: style }
    }
}

impl Choices for Styled {
    fn pick(&mut self, options: usize) -> usize {
        let any = |rng: &mut Rng| rng.below(options as u64) as usize;
        match self.now {
            Style::Oldest => 0,
            Style::Newest => options - 1,
            Style::Any | Style::Mixed => any(&mut self.rng),
            Style::MostlyOld if self.rng.one_in(6) => any(&mut self.rng),
            Style::MostlyOld => 0,
            Style::MostlyNew if self.rng.one_in(6) => any(&mut self.rng),
            Style::MostlyNew => options - 1,
        }
    }

    fn turn(&mut self) {
        if self.style == Style::Mixed {
            self.now = self.rng.of(&Style::ALL);
        }
    }
}

/// Every way there is, one after the other.
#[derive(Default)]
pub(crate) struct Odometer {
    path: Vec<(usize, usize)>,
    at: usize,
}

impl Odometer {
    /// Goes on to the next way; `false` after the last one.
    pub(crate) fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((pick, options)) = self.path.last_mut() {
            if *pick + 1 < *options {
                *pick += 1;
                return true;
            }
            self.path.pop();
        }
        false
    }
}

impl Choices for Odometer {
    fn pick(&mut self, options: usize) -> usize {
        if options == 1 {
            return 0;
        }
        if self.at == self.path.len() {
            self.path.push((0, options));
        }
        self.at += 1;
        self.path[self.at - 1].0
    }
}
