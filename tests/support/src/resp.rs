//! A connection that speaks bytes with Redis (RESP2): for values that are no text, and for what Redis says unasked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// What Redis says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`
    Status(String),
    /// `-ERR …`
    Error(String),
    /// `:1`
    Number(i64),
    /// Bytes, or nil.
    Bytes(Option<Vec<u8>>),
    /// Several.
    List(Vec<Reply>),
}

impl Reply {
    /// Bytes that are there.
    #[must_use]
    pub fn bytes(self) -> Option<Vec<u8>> {
        if let Self::Bytes(bytes) = self { bytes } else { None }
    }
}

/// One connection.
pub struct Resp(BufReader<TcpStream>);

impl Resp {
    /// Connects and gives the password.
    pub fn connect(address: &str, password: &str) -> Self {
        let mut connection = Self(BufReader::new(TcpStream::connect(address).unwrap()));
        let reply = connection.command(&[b"AUTH", password.as_bytes()]);
        assert_eq!(reply, Reply::Status("OK".into()));
        connection
    }

    /// One command; an error is a reply too.
    pub fn command(&mut self, words: &[&[u8]]) -> Reply {
        let mut message = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            message.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            message.extend_from_slice(word);
            message.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&message).unwrap();
        self.read().expect("Redis answers")
    }

    /// The next thing that Redis says; none when it has hung up.
    pub fn read(&mut self) -> Option<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok()?;
        let line = line.strip_suffix("\r\n")?;
        let (kind, rest) = line.split_at(1);
        Some(match kind {
            "+" => Reply::Status(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Number(rest.parse().unwrap()),
            "$" => Reply::Bytes(match usize::try_from(rest.parse::<i64>().unwrap()) {
                Ok(length) => Some(self.exactly(length)?),
                Err(_negative) => None,
            }),
            "*" => Reply::List((0..rest.parse().unwrap()).map(|_| self.read()).collect::<Option<_>>()?),
            _ => panic!("not RESP2: {line}"),
        })
    }

    fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes).ok()?;
        bytes.truncate(length);
        Some(bytes)
    }
}

/// What a Redis of this version answers to `HELLO 3` (from 6.0 on it has that).
#[must_use]
pub fn hello(version: &str) -> String {
    format!(
        "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n${}\r\n{version}\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:3\r\n\
         $4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
        version.len()
    )
}

/// A server that answers every `HELLO` with these bytes, and anything else not at all; its address. It lives as long as the
/// test's process.
#[must_use]
pub fn greets_with(answer: &str) -> String {
    let (listener, answer) = (TcpListener::bind("127.0.0.1:0").unwrap(), answer.to_owned());
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || greet(connection, &answer));
        }
    });
    address
}

/// A client asks one thing at a time: what comes at once is one command.
fn greet(mut connection: TcpStream, answer: &str) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = connection.read(&mut bytes) {
        let greeted = String::from_utf8_lossy(&bytes[..length]).contains("HELLO");
        if greeted && connection.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
