//! Running the program, with everything cleaned up whatever happens.

use crate::ring::Place;
use crate::wait::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use waldo::client::{Producer, ProducerOptions};

/// Generous: it only decides how long a broken test takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// The program, with nothing in its environment that would change what it does.
pub fn waldo_service() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waldo-service"));
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "RUST_LOG", "LISTEN_FDS"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Flags for a small ring whose control segment goes with its directory.
pub fn small(place: &Place) -> Vec<String> {
    let flags = ["--page-size", "1M", "--ring-size", "4", "--no-sync", "--control"];
    let mut flags: Vec<String> = flags.map(str::to_owned).to_vec();
    flags.push(path(&place.dir().join("control")));
    flags.extend([path(&place.home()), "--socket".to_owned(), path(&place.socket())]);
    flags
}

/// A `[[ring]]` of a file, small, called `name`, with more lines.
pub fn ring_table(place: &Place, name: &str, more: &str) -> String {
    let dir = place.dir().display();
    format!(
        "[[ring]]\nhome = \"{dir}/{name}\"\nsocket = \"{dir}/{name}.sock\"\ncontrol = \"{dir}/{name}.control\"\npage_size = \
         \"1M\"\nring_size = 4\ndurability = \"page-cache\"\n{more}\n"
    )
}

/// Writes the file and gives its path.
pub fn config_file(place: &Place, text: &str) -> PathBuf {
    let path = place.dir().join("service.toml");
    std::fs::write(&path, text).unwrap();
    path
}

pub fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A running service that has said that it is ready. Killed if the test ends before it does.
pub struct Program {
    child: Child,
    manager: UnixDatagram,
    log: PathBuf,
}

impl Program {
    /// Starts it and waits until it is ready.
    pub fn start(place: &Place, args: &[String]) -> Program {
        Program::start_command(place, waldo_service().args(args))
    }

    /// The same with a command of the test's own.
    pub fn start_command(place: &Place, command: &mut Command) -> Program {
        let mut program = Program::spawn(place, command);
        program.until_told("READY=1");
        program
    }

    /// Starts it with standard error in a file, and does not wait.
    pub fn spawn(place: &Place, command: &mut Command) -> Program {
        let log = place.dir().join("log");
        command.stderr(File::options().create(true).append(true).open(&log).unwrap());
        Program::spawn_as_it_is(place, command)
    }

    /// Starts it with standard error as the command says.
    pub fn spawn_as_it_is(place: &Place, command: &mut Command) -> Program {
        let log = place.dir().join("log");
        let socket = place.dir().join("notify");
        let _ = std::fs::remove_file(&socket);
        let manager = UnixDatagram::bind(&socket).unwrap();
        // For a service that runs as somebody else.
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777)).unwrap();
        manager.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let child = command.env("NOTIFY_SOCKET", &socket).stdout(Stdio::null()).spawn().unwrap();
        Program { child, manager, log }
    }

    /// Takes what the service manager is told, up to a message with this line.
    pub fn until_told(&mut self, line: &str) -> Vec<String> {
        let mut told = Vec::new();
        wait_until(line, || {
            let mut bytes = [0; 4096];
            if let Ok(len) = self.manager.recv(&mut bytes) {
                told.push(String::from_utf8(bytes[..len].to_vec()).unwrap());
            }
            let found = told.last().is_some_and(|last| last.lines().any(|told| told == line));
            let ended = self.child.try_wait().unwrap();
            assert!(found || ended.is_none(), "{ended:?}: {}", self.log());
            found
        });
        told
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log holds a text.
    pub fn until_logged(&self, text: &str) {
        wait_until(text, || self.log().contains(text));
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end.
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the service ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Has it end in good order.
    pub fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.ended().code(), Some(0), "{}", self.log());
        self.log()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Appends one record and waits until it is acknowledged.
pub fn append(socket: &Path, text: &str) {
    let options = ProducerOptions::default().connect_timeout(DEADLINE).reconnect_for(Some(DEADLINE));
    let producer = Producer::connect(socket, options).unwrap();
    producer.append(&[text]).unwrap().wait().unwrap();
    producer.close().unwrap();
}

/// What the ring holds, as text.
pub fn texts(home: &Path) -> Vec<String> {
    crate::ring::records(home).into_iter().map(|(_, data)| String::from_utf8(data).unwrap()).collect()
}
