//! [`RingViews`]: all rings of the process, for those who watch.

use crate::hosted::RingView;
use parking_lot::Mutex;
use std::sync::Arc;

/// The rings as the metrics see them, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct RingViews(Arc<Mutex<Vec<Arc<RingView>>>>);

impl RingViews {
    /// All of them, those that have failed included.
    pub fn all(&self) -> Vec<Arc<RingView>> {
        self.0.lock().clone()
    }

    /// Shows a ring, in the place of the one of its name.
    pub fn put(&self, view: Arc<RingView>) {
        let mut views = self.0.lock();
        match views.iter_mut().find(|other| other.name == view.name) {
            Some(place) => *place = view,
            None => views.push(view),
        }
    }

    /// Shows a ring no more.
    pub fn remove(&self, name: &str) {
        self.0.lock().retain(|view| view.name != name);
    }
}
