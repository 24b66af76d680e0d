//! Child processes that end with the test that started them, and that say no secret.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::ops::Range;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::secrets;

/// How long anything may take to start.
pub const PATIENCE: Duration = Duration::from_secs(30);

type Lines = Arc<(Mutex<Vec<String>>, Condvar)>;

/// A running process and what it printed.
pub struct Process {
    name: String,
    child: Child,
    lines: Lines,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts it with both outputs captured.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "here the outputs are searched")]
    pub fn start(name: &str, command: &mut Command) -> Self {
        secrets::keep_of(command);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let lines = Lines::default();
        let outputs: [Box<dyn io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        let readers = outputs.map(|output| {
            let lines = Arc::clone(&lines);
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    lines.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                    lines.1.notify_all();
                }
            })
        });
        Self { name: name.to_owned(), child, lines, readers: readers.into() }
    }

    /// Everything printed so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a line from `from` on contains all parts, and answers it.
    pub fn wait_for_line(&self, from: usize, parts: &[&str]) -> String {
        let ends = Instant::now() + PATIENCE;
        let mut lines = self.lines.0.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().skip(from).find(|line| parts.iter().all(|part| line.contains(part))) {
                return line.clone();
            }
            let left = ends.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} never printed {parts:?}:\n{}", self.name, lines.join("\n"));
            lines = self.lines.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it ever had resident (`VmHWM`), in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.kilobytes("VmHWM:") * 1024
    }

    /// The memory that is resident now (`VmRSS`), in bytes.
    #[must_use]
    pub fn resident(&self) -> usize {
        self.kilobytes("VmRSS:") * 1024
    }

    fn kilobytes(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let figure = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        figure.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// SIGINT.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    /// SIGSTOP: it neither answers nor ends.
    pub fn stall(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    #[expect(clippy::disallowed_methods, reason = "kill says nothing")]
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// SIGKILL, and gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        let lines = self.lines();
        if thread::panicking() {
            let tail = &lines[lines.len().saturating_sub(40)..];
            eprintln!("--- {} ---\n{}", self.name, tail.join("\n"));
        } else {
            secrets::are_not_in(&self.name, &lines.join("\n"));
        }
    }
}

/// Runs a command to its end with this on its standard input.
pub fn run(command: &mut Command, input: &str) -> io::Result<Output> {
    let output = run_unsearched(command, input)?;
    for said in [&output.stdout, &output.stderr] {
        secrets::are_not_in(&format!("{command:?}"), &String::from_utf8_lossy(said));
    }
    Ok(output)
}

/// The same of a client that prints the credential which is its answer.
#[expect(clippy::disallowed_methods, reason = "its callers say why")]
pub fn run_unsearched(command: &mut Command, input: &str) -> io::Result<Output> {
    secrets::keep_of(command);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // whoever does not read it may be gone first
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        child.wait_with_output()
    })
}

/// Runs a command to its end while nobody reads its standard output: whatever it writes there meets a closed pipe.
#[expect(clippy::disallowed_methods, reason = "what it says is searched here")]
pub fn run_unread(command: &mut Command) -> io::Result<Output> {
    secrets::keep_of(command);
    let (reader, writer) = io::pipe()?;
    drop(reader);
    let output = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    secrets::are_not_in(&format!("{command:?}"), &String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

/// [`run`] where the stand-ins that the command asks are tasks of this runtime.
pub async fn run_beside(mut command: Command, input: &str) -> Output {
    let input = input.to_owned();
    tokio::task::spawn_blocking(move || run(&mut command, &input).unwrap()).await.unwrap()
}

/// Both outputs of a command.
#[must_use]
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Ports that the system gives to nobody by itself (`ip_local_port_range`): one of its own choice, once free again, would soon
/// be somebody's connection, and who was to listen on it could not.
const PORTS: Range<u16> = 10_000..32_768;

/// A port that nobody listens on, each time another.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // test processes that run at once begin at different places
    let first = Random::new(std::process::id().into()).below(PORTS.len());
    let next = || (first + usize::from(NEXT.fetch_add(1, Ordering::Relaxed))) % PORTS.len();
    let mut ports = std::iter::repeat_with(next).map(|at| PORTS.start + u16::try_from(at).unwrap());
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// Asks until the answer is yes; ten times a second is often enough for a start.
pub async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let ends = Instant::now() + PATIENCE;
    while !ask().await {
        assert!(Instant::now() < ends, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
