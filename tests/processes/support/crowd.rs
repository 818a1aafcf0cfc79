//! Child processes by the hundred: they share one pipe to their parent, and nobody talks to them.

use super::args::Args;
use super::child::{ARGS, MARK, ROLE};
use super::wait::DEADLINE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How many processes the tests of crowds start: `WALDO_TEST_CROWD`, or `default`. Ten thousand take some 4
/// GiB of memory, a `ulimit -u` that allows them, and minutes.
pub fn size(default: usize) -> usize {
    std::env::var("WALDO_TEST_CROWD").map_or(default, |text| text.parse().unwrap())
}

/// What a child has to say: its number, and words.
pub type Message = (usize, Vec<String>);

/// A number of children that play the same role. Killed and reaped when dropped.
pub struct Crowd {
    role: &'static str,
    members: Vec<Option<Child>>,
    output: PipeWriter,
    messages: Receiver<Message>,
}

impl Crowd {
    pub fn new(role: &'static str) -> Crowd {
        let (input, output) = std::io::pipe().unwrap();
        let (sender, messages) = channel();
        thread::spawn(move || listen(input, |message| sender.send(message).is_ok()));
        Crowd { role, members: Vec::new(), output, messages }
    }

    /// Starts one more; its number. It dies with the calling thread.
    pub fn start(&mut self, args: Args) -> usize {
        let number = self.members.len();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["support::child_entry", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, self.role)
            .env(ARGS, args.with("number", number).render())
            .stdin(Stdio::null())
            .stdout(self.output.try_clone().unwrap())
            .spawn()
            .unwrap();
        self.members.push(Some(child));
        number
    }

    /// The numbers of those who have not been killed.
    pub fn numbers(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|number| self.members[*number].is_some()).collect()
    }

    pub fn pid(&self, number: usize) -> u32 {
        self.members[number].as_ref().unwrap().id()
    }

    pub fn signal(&self, number: usize, signal: Signal) {
        kill(Pid::from_raw(self.pid(number) as i32), signal).unwrap();
    }

    /// Whether all threads of one sleep.
    pub fn asleep(&self, number: usize) -> bool {
        self.threads(number, "State:").iter().all(|state| state.starts_with('S'))
    }

    /// How often the threads of one have gone to sleep.
    pub fn sleeps(&self, number: usize) -> u64 {
        let counts = self.threads(number, "voluntary_ctxt_switches:");
        counts.iter().map(|count| count.parse::<u64>().unwrap()).sum()
    }

    /// What the kernel says in field `name` of the status of each of its threads: the harness has one of its
    /// own.
    fn threads(&self, number: usize, name: &str) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid(number))).unwrap();
        let field = |status: String| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            value.trim().to_owned()
        };
        tasks.map(|task| field(fs::read_to_string(task.unwrap().path().join("status")).unwrap())).collect()
    }

    /// Kills and reaps one.
    pub fn kill(&mut self, number: usize) {
        let mut child = self.members[number].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The next message; panics if one of them has failed, or nothing comes for too long.
    pub fn hear(&mut self) -> Message {
        // The more there are, the longer it takes until it is one's turn.
        let deadline = Instant::now() + DEADLINE + Duration::from_millis(20) * self.members.len() as u32;
        loop {
            match self.messages.recv_timeout(Duration::from_secs(1)) {
                Ok(message) => return message,
                Err(RecvTimeoutError::Disconnected) => panic!("nobody is left"),
                Err(RecvTimeoutError::Timeout) => self.check(),
            }
            assert!(Instant::now() < deadline, "none of the {}s says anything", self.role);
        }
    }

    /// The next message if there is one already.
    pub fn hear_now(&mut self) -> Option<Message> {
        self.messages.try_recv().ok()
    }

    fn check(&mut self) {
        for (number, member) in self.members.iter_mut().enumerate() {
            let Some(status) = member.as_mut().and_then(|child| child.try_wait().unwrap()) else { continue };
            assert!(status.success(), "{} {number} failed: {status:?}", self.role);
        }
    }

    /// Waits until each of `numbers` has said `word`, and nothing else meanwhile; what came with it, by
    /// number.
    pub fn expect(&mut self, numbers: &[usize], word: &str) -> Vec<Vec<u64>> {
        let mut answers: Vec<Option<Vec<u64>>> = self.members.iter().map(|_| None).collect();
        for _ in numbers {
            let (number, words) = self.hear();
            assert_eq!(words[0], word, "{} {number} said {words:?}", self.role);
            answers[number] = Some(words[1..].iter().map(|word| word.parse().unwrap()).collect());
        }
        numbers.iter().map(|number| answers[*number].take().expect("each says it once")).collect()
    }

    /// Waits for the end of those who are left, which must be a success.
    pub fn finish(mut self) {
        for (number, member) in self.members.iter_mut().enumerate() {
            let Some(mut child) = member.take() else { continue };
            let status = child.wait().unwrap();
            assert!(status.success(), "{} {number} failed: {status:?}", self.role);
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in self.members.iter_mut().flatten() {
            // It may have ended by itself.
            let _ = child.kill();
        }
        for child in self.members.iter_mut().flatten() {
            let _ = child.wait();
        }
    }
}

/// Hands on what comes out of the pipe until `take` declines. A line is written in one go, so lines do not
/// mix.
fn listen(input: PipeReader, take: impl Fn(Message) -> bool) {
    for line in BufReader::new(input).lines().map_while(Result::ok) {
        // In front of it may be what the harness prints without a newline.
        let Some((_, message)) = line.rsplit_once(MARK) else { continue };
        let mut words = message.split(' ').map(str::to_owned);
        let Some(number) = words.next().and_then(|word| word.parse().ok()) else { continue };
        if !take((number, words.collect())) {
            return;
        }
    }
}
