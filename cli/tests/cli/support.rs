//! Running the command, with everything cleaned up whatever happens.

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use waldo::writer::segments::{self, SegmentEntry};

/// Generous: it only decides how long a broken test takes.
const DEADLINE: Duration = Duration::from_secs(120);

/// A directory with room for rings, removed with everything that belongs to them.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Place {
        Place(tempfile::Builder::new().prefix("waldo-cli-test-").tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A ring with these lines, a record each.
    pub fn ring(&self, name: &str, lines: &[u8]) -> PathBuf {
        let home = self.join(name);
        let done = run(waldo().arg("append").args(SMALL).arg(&home), lines);
        assert_eq!(done.code, 0, "{}", done.stderr);
        home
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // By what they say, and not by the links of rings, which a test may have removed.
        let is_of_this = |segment: &SegmentEntry| {
            let content = segment.content.as_ref();
            content.is_some_and(|content| content.home.starts_with(self.path()))
        };
        for segment in segments::list().unwrap_or_default().iter().filter(|segment| is_of_this(segment)) {
            let _ = nix::sys::mman::shm_unlink(segment.name.as_str());
        }
    }
}

/// A ring small enough to be made quickly.
pub const SMALL: [&str; 4] = ["--page-size", "1M", "--ring-size", "4"];

/// Name of the shared memory that the ring's link names.
pub fn segment_name(home: &Path) -> Option<String> {
    let link = std::fs::read_to_string(home.join("control.link")).ok()?;
    link.lines().find_map(|line| line.strip_prefix("posix ")).map(str::to_owned)
}

pub fn waldo() -> Command {
    take_signals();
    Command::new(crate::PROGRAM)
}

/// Has every command start with its signals at their defaults, also if these tests run as the background job
/// of a script, which ignores some: what a process handles is not handed down, what it ignores is.
fn take_signals() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
        let mask = u64::from_str_radix(mask, 16).unwrap();
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
            if mask >> (signal as i32 - 1) & 1 == 1 {
                signal_hook::flag::register(
                    signal as i32,
                    std::sync::Arc::<std::sync::atomic::AtomicBool>::default(),
                )
                .unwrap();
            }
        }
    });
}

/// How a command ended.
pub struct Done {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Done {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

/// Runs a command to its end with this input.
pub fn run(command: &mut Command, input: &[u8]) -> Done {
    let mut process = Process::start(command);
    process.write(input);
    process.finish()
}

/// Runs a command to its end whose standard output nobody reads any more.
pub fn run_unread(command: &mut Command) -> Done {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: Vec::new(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A running command; killed if the test ends before it does.
pub struct Process {
    child: Child,
    outputs: Vec<std::thread::JoinHandle<Vec<u8>>>,
}

impl Process {
    /// Starts it with all three streams piped; what it prints is collected until [`Process::finish`].
    pub fn start(command: &mut Command) -> Process {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let outputs = vec![collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap())];
        Process { child, outputs }
    }

    /// Writes to its standard input. A process that does not want it may have ended.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it. Its threads may run on for a moment after the signal has been sent.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        until("all its threads are stopped", || {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().flatten();
            let is_stopped = |task: std::fs::DirEntry| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
            };
            tasks.into_iter().all(is_stopped).then_some(())
        });
    }

    /// Whether everything that it was sent has been read, and it waits for more.
    pub fn waits_for_input(&self) -> bool {
        let stdin = self.child.stdin.as_ref().unwrap();
        let waits = is_in_call(self.child.id(), &[nix::libc::SYS_poll, nix::libc::SYS_ppoll]);
        rustix::io::ioctl_fionread(stdin).unwrap() == 0 && waits
    }

    /// Ends its input and waits for it.
    pub fn finish(mut self) -> Done {
        drop(self.child.stdin.take());
        self.wait()
    }

    /// Waits for it, its input still open.
    pub fn wait(&mut self) -> Done {
        let deadline = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the command does not end:\n{}", threads_of(self.child.id()));
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut streams = self.outputs.drain(..).map(|thread| thread.join().unwrap());
        let (stdout, stderr) = (streams.next().unwrap(), streams.next().unwrap());
        Done {
            code: status.code().unwrap_or(-1),
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the threads of a process and of its children are doing, for a test that fails because they do it for
/// ever.
fn threads_of(pid: u32) -> String {
    let read = |path: String| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let mut text = String::new();
    let mut pids = vec![pid];
    while let Some(pid) = pids.pop() {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let dir = task.path().display().to_string();
            let [name, place, call] = ["comm", "wchan", "syscall"].map(|file| read(format!("{dir}/{file}")));
            text.push_str(&format!("{dir} {name}: {place} {call}\n"));
            let children = read(format!("{dir}/children"));
            pids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    text
}

fn collect(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        bytes
    })
}

/// Looks again and again until there is an answer.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = look() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the ring holds a record with this number.
pub fn until_tip(home: &Path, seq_no: u64) {
    until("the record is there", || {
        let done = run(waldo().args(["stat", "--json"]).arg(home), b"");
        let status: serde_json::Value = serde_json::from_slice(&done.stdout).ok()?;
        (status["tip_seq_no"].as_u64() >= Some(seq_no)).then_some(())
    });
}

/// Processes that have `word` somewhere in their arguments.
pub fn processes_with(word: &Path) -> Vec<i32> {
    let needle = word.to_str().unwrap().as_bytes();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let args = std::fs::read(entry.path().join("cmdline")).ok()?;
            args.windows(needle.len()).any(|w| w == needle).then_some(pid)
        })
        .collect()
}

/// Flips a bit in the first place where `needle` stands in a page.
pub fn damage(home: &Path, needle: &[u8]) -> PathBuf {
    for entry in std::fs::read_dir(home).unwrap().flatten() {
        let bytes = std::fs::read(entry.path()).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|w| w == needle) {
            let file = std::fs::OpenOptions::new().write(true).open(entry.path()).unwrap();
            file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
            return entry.path();
        }
    }
    panic!("no page holds the bytes that were appended");
}

/// Runs `test` on a thread with mounts of its own, which what it starts has as well. Needs root, and says so
/// where that is missing.
pub fn on_own_mounts(test: impl FnOnce() + Send) {
    if !nix::unistd::geteuid().is_root() {
        println!("left out: this needs root");
        return;
    }
    let tried = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        test();
    };
    std::thread::scope(|scope| scope.spawn(tried).join().unwrap());
}

/// A process that does not outlive a test that fails.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether the first thread of a process is in one of these system calls.
pub fn is_in_call(process: u32, calls: &[i64]) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{process}/syscall")).unwrap_or_default();
    call.split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .is_some_and(|number| calls.contains(&number))
}
