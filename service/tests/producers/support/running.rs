//! A service within the test's process.

use super::ring::{Place, open};
use super::transport::apply;
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use waldo::writer::Durability;
use waldo_service::{Service, ServiceCounters, ServiceError, ServiceOptions, Watch};

/// Ends when dropped.
pub struct Running {
    watch: Watch,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<ServiceCounters, ServiceError>>>,
}

impl Running {
    pub fn start(place: &Place, durability: Durability, options: ServiceOptions) -> Running {
        let writer = open(place.dir(), durability);
        Running::serve(|| Service::bind(writer, place.socket(), apply(options)).unwrap())
    }

    pub fn serve(make: impl FnOnce() -> Service) -> Running {
        let service = make();
        let watch = service.watch();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(service.run(async {
                let _ = stopped.await;
            }))
        });
        Running { watch, stop: Some(stop), thread: Some(thread) }
    }

    pub fn counters(&self) -> ServiceCounters {
        self.watch.counters()
    }

    /// Asks for the end, and does not wait.
    pub fn begin_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    pub fn stop(mut self) -> ServiceCounters {
        self.begin_stop();
        self.thread.take().unwrap().join().unwrap().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.begin_stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
