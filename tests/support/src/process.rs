//! Starts child processes that end with the test that started them, and checks that their output contains no secret.

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

/// The longest time that a start, or anything else that a test waits for, may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

type Lines = Arc<(Mutex<Vec<String>>, Condvar)>;

/// A running process and the lines that it printed.
pub struct Process {
    name: String,
    child: Child,
    lines: Lines,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts the command and captures both of its outputs.
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

    /// All lines printed so far, of both outputs.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a line from number `from` on contains all parts, and returns it.
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

    /// The number of the process (PID).
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

    /// Sends SIGTERM, which asks the process to end.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// Sends SIGHUP, as a closed terminal does.
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    /// Sends SIGSTOP: the process neither answers nor ends until [`Self::resume`].
    pub fn stall(&self) {
        self.signal("STOP");
    }

    /// Sends SIGCONT, after which a stalled process goes on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    #[expect(clippy::disallowed_methods, reason = "kill says nothing")]
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Sends SIGKILL and waits until the process has ended.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until the process ends, and returns its status.
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

/// Runs a command to its end with `input` as its standard input, and checks that its output contains no secret.
pub fn run(command: &mut Command, input: &str) -> io::Result<Output> {
    let output = run_unsearched(command, input)?;
    for said in [&output.stdout, &output.stderr] {
        secrets::are_not_in(&format!("{command:?}"), &String::from_utf8_lossy(said));
    }
    Ok(output)
}

/// As [`run`], for a client that prints the credential which it received.
#[expect(clippy::disallowed_methods, reason = "its callers say why")]
pub fn run_unsearched(command: &mut Command, input: &str) -> io::Result<Output> {
    secrets::keep_of(command);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // the process may end without reading its input
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        child.wait_with_output()
    })
}

/// Runs a command to its end with a closed pipe as its standard output.
#[expect(clippy::disallowed_methods, reason = "what it says is searched here")]
pub fn run_unread(command: &mut Command) -> io::Result<Output> {
    secrets::keep_of(command);
    let (reader, writer) = io::pipe()?;
    drop(reader);
    let output = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    secrets::are_not_in(&format!("{command:?}"), &String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

/// [`run`] for a command that talks to stand-ins which are tasks of this runtime.
pub async fn run_beside(mut command: Command, input: &str) -> Output {
    let input = input.to_owned();
    tokio::task::spawn_blocking(move || run(&mut command, &input).unwrap()).await.unwrap()
}

/// Both outputs of a command as one text.
#[must_use]
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Ports outside the range from which the system chooses by itself (`ip_local_port_range`). A port of that range would soon be
/// used for some connection once it is free again, and the server of a test could not listen on it.
const PORTS: Range<u16> = 10_000..32_768;

/// A port on which no process listens; each call returns another.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // so that test processes which run at once begin at different ports
    let first = Random::new(std::process::id().into()).below(PORTS.len());
    let next = || (first + usize::from(NEXT.fetch_add(1, Ordering::Relaxed))) % PORTS.len();
    let mut ports = std::iter::repeat_with(next).map(|at| PORTS.start + u16::try_from(at).unwrap());
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// Waits until `ask` answers true; it is asked every 50 ms.
pub async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let ends = Instant::now() + PATIENCE;
    while !ask().await {
        assert!(Instant::now() < ends, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
