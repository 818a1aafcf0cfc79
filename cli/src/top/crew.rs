//! Threads for work that may take long, so that a file that does not answer holds up neither the keys nor
//! other rings.

use anyhow::Context;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Threads at most. Each job that does not end keeps one.
const THREADS_MAX: usize = 32;

/// A thread that has been at one job for this long is not waited for by the jobs behind.
const STUCK: Duration = Duration::from_millis(500);

type Job<R> = Box<dyn FnOnce() -> R + Send>;

/// How far a job has come.
#[derive(Debug)]
pub struct JobProgress {
    queued: Instant,
    begun: OnceLock<Instant>,
}

/// What a job that takes long waits for, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// A file that does not answer.
    Answer(Duration),
    /// A thread: those that there are have other jobs.
    Thread(Duration),
}

impl JobProgress {
    /// What the job waits for, if it has for `patience`.
    pub fn delay(&self, patience: Duration) -> Option<Delay> {
        let (time, delay) = match self.begun.get().map(Instant::elapsed) {
            Some(time) => (time, Delay::Answer(time)),
            None => (self.queued.elapsed(), Delay::Thread(self.queued.elapsed())),
        };
        (time >= patience).then_some(delay)
    }
}

/// Threads, as many as are needed for the jobs to get done.
pub struct Crew<R> {
    shared: Arc<Shared<R>>,
    threads: Vec<JoinHandle<()>>,
    /// Has a byte when there are results.
    bell: UnixStream,
}

struct Shared<R> {
    state: Mutex<State<R>>,
    changed: Condvar,
    ringing: UnixStream,
}

struct State<R> {
    jobs: VecDeque<(Arc<JobProgress>, Job<R>)>,
    results: Vec<R>,
    /// Since when each thread has been at its job; `None`: it waits for one.
    busy: Vec<Option<Instant>>,
}

impl<R: Send + 'static> Crew<R> {
    /// One thread.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn start() -> anyhow::Result<Crew<R>> {
        let (bell, ringing) = UnixStream::pair().context("cannot make a socket pair")?;
        for end in [&bell, &ringing] {
            end.set_nonblocking(true).context("cannot set up a socket pair")?;
        }
        let state = State { jobs: VecDeque::new(), results: Vec::new(), busy: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), ringing });
        let mut crew = Crew { shared, threads: Vec::new(), bell };
        crew.hire().context("cannot start a thread")?;
        Ok(crew)
    }

    fn hire(&mut self) -> std::io::Result<()> {
        let (shared, number) = (self.shared.clone(), self.threads.len());
        self.shared.lock().busy.push(None);
        let work = move || work(&shared, number);
        match std::thread::Builder::new().name("waldo-look".to_owned()).spawn(work) {
            Ok(thread) => self.threads.push(thread),
            Err(error) => {
                self.shared.lock().busy.pop();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Puts a job behind the others.
    pub fn add(&self, job: impl FnOnce() -> R + Send + 'static) -> Arc<JobProgress> {
        let progress = Arc::new(JobProgress { queued: Instant::now(), begun: OnceLock::new() });
        self.shared.lock().jobs.push_back((progress.clone(), Box::new(job)));
        self.shared.changed.notify_one();
        progress
    }

    /// To wait for results: readable when there are some.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// What has been done. If jobs wait behind those that do not end, or for long, another thread takes them.
    /// A panic of a job goes on here.
    pub fn results(&mut self) -> Vec<R> {
        let mut bytes = [0; 64];
        while (&self.bell).read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
        if let Some(at) = self.threads.iter().position(JoinHandle::is_finished)
            && let Err(panic) = self.threads.swap_remove(at).join()
        {
            std::panic::resume_unwind(panic);
        }
        let mut state = self.shared.lock();
        let results = std::mem::take(&mut state.results);
        let stuck = |since: &Option<Instant>| since.is_some_and(|since| since.elapsed() >= STUCK);
        // Or many jobs that take a little each.
        let late = state.jobs.front().is_some_and(|(progress, _)| progress.queued.elapsed() >= STUCK);
        let held_up = late || (!state.jobs.is_empty() && state.busy.iter().all(stuck));
        drop(state);
        if held_up && self.threads.len() < THREADS_MAX {
            // Without another thread the jobs wait longer, and are shown to.
            let _ = self.hire();
        }
        results
    }
}

impl<R> Shared<R> {
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        // No job runs while this is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a thread does. It ends with the process.
fn work<R>(shared: &Shared<R>, number: usize) {
    let mut state = shared.lock();
    loop {
        let Some((progress, job)) = state.jobs.pop_front() else {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        state.busy[number] = Some(*progress.begun.get_or_init(Instant::now));
        drop(state);
        let result = job();
        state = shared.lock();
        state.busy[number] = None;
        state.results.push(result);
        // One that is full has bytes in it, and that is all that matters.
        let _ = (&shared.ringing).write(&[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn until<R: Send + 'static>(crew: &mut Crew<R>, mut done: impl FnMut(Vec<R>) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done(crew.results()) {
            assert!(Instant::now() < deadline, "waited in vain");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn jobs_that_do_not_end_hold_up_no_others() {
        let mut crew = Crew::start().unwrap();
        let (sender, receiver) = mpsc::channel::<()>();
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..3 {
            let receiver = receiver.clone();
            crew.add(move || receiver.lock().unwrap().recv().is_ok());
        }
        crew.add(|| true);
        until(&mut crew, |results| results == [true]);
        assert!(crew.threads.len() >= 4);
        drop(sender);
        let mut ended = 0;
        until(&mut crew, |results| {
            ended += results.len();
            ended == 3
        });
    }

    /// Behind as many as there are threads at most. Such a job's own file has been asked for nothing.
    #[test]
    fn a_job_that_nobody_has_begun_with_waits_for_a_thread() {
        let mut crew = Crew::start().unwrap();
        let (sender, receiver) = mpsc::channel::<()>();
        let (receiver, hour) = (Arc::new(Mutex::new(receiver)), Duration::from_secs(3600));
        let add = |crew: &Crew<bool>| {
            let receiver = receiver.clone();
            crew.add(move || receiver.lock().unwrap().recv().is_ok())
        };
        let first = add(&crew);
        while first.begun.get().is_none() {
            std::thread::yield_now();
        }
        let second = add(&crew);
        assert!(matches!(first.delay(Duration::ZERO), Some(Delay::Answer(_))));
        assert!(matches!(second.delay(Duration::ZERO), Some(Delay::Thread(_))));
        assert_eq!((first.delay(hour), second.delay(hour)), (None, None));
        drop(sender);
        let mut ended = 0;
        until(&mut crew, |results| {
            ended += results.len();
            ended == 2
        });
    }

    #[test]
    fn a_panic_of_a_job_is_not_lost() {
        let mut crew = Crew::start().unwrap();
        crew.add(|| panic!("of a job"));
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(&mut crew, |_results: Vec<()>| false);
        }));
        assert_eq!(tried.unwrap_err().downcast_ref(), Some(&"of a job"));
    }
}
