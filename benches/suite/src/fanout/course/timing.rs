//! What is timed at the writer: appends, and flushes.

use super::super::Args;
use super::Course;

/// Flushes that are timed at each occasion.
const FLUSHES: usize = 6;

impl Course<'_> {
    /// The writer alone, or as good as.
    pub(super) fn measure_writer(&mut self, name: &str) -> anyhow::Result<()> {
        self.fresh_page()?;
        self.flushes(name)?;
        self.loads(name)
    }

    pub(super) fn measure_writer_beside_idle_readers(&mut self) -> anyhow::Result<()> {
        // First, while the newest page is the one that all of them have mapped.
        self.flushes("idle")?;
        self.loads("idle")
    }

    pub(super) fn flushes(&mut self, name: &str) -> anyhow::Result<()> {
        for _ in 0..FLUSHES {
            self.crowd.order("bulk");
            self.crowd.order("flush");
        }
        self.end_flushes(name)
    }

    /// The same, each flush after all readers have read what is flushed, and not before.
    pub(super) fn flushes_of_what_was_read(&mut self) -> anyhow::Result<()> {
        for n in 0..FLUSHES {
            self.caught_up = 0;
            self.crowd.order("bulk");
            self.crowd.order("mark");
            let what = format!("readers at flush {} of {FLUSHES}", n + 1);
            self.count(&what, self.findings.readers, |course| course.caught_up)?;
            self.crowd.order("flush");
        }
        self.end_flushes("following")
    }

    pub(super) fn end_flushes(&mut self, name: &str) -> anyhow::Result<()> {
        self.crowd.order(&format!("flushed {name}"));
        let what = format!("timing flushes ({name})");
        self.until(&what, |course| course.findings.has_flushes(name))
    }

    pub(super) fn loads(&mut self, name: &str) -> anyhow::Result<()> {
        let Args { baseline, rate, .. } = self.args;
        self.crowd.order(&format!("flat flat-{name} {baseline}"));
        self.crowd.order(&format!("pace paced-{name} {baseline} {rate}"));
        let (flat, paced) = (format!("flat-{name}"), format!("paced-{name}"));
        let what = format!("timing appends ({name})");
        self.until(&what, |course| {
            course.findings.load(&flat).is_some() && course.findings.load(&paced).is_some()
        })
    }

    /// Has the writer begin a page.
    pub(super) fn fresh_page(&mut self) -> anyhow::Result<()> {
        self.ready = None;
        self.crowd.order("page");
        self.until("beginning a page", |course| course.ready.is_some())
    }
}
