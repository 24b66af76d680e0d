//! A connection to Redis that transfers bytes (RESP2), for values that are not text and for messages that Redis sends unasked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// A reply of Redis, by its type in RESP2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A simple string, `+OK` for example.
    Status(String),
    /// An error, `-ERR …` for example.
    Error(String),
    /// An integer, `:1` for example.
    Number(i64),
    /// A bulk string, or nil.
    Bytes(Option<Vec<u8>>),
    /// A list of replies.
    List(Vec<Reply>),
}

impl Reply {
    /// The bytes of a bulk string, if it is one and not nil.
    #[must_use]
    pub fn bytes(self) -> Option<Vec<u8>> {
        if let Self::Bytes(bytes) = self { bytes } else { None }
    }
}

/// One connection to a Redis.
pub struct Resp(BufReader<TcpStream>);

impl Resp {
    /// Connects and authenticates with this password.
    pub fn connect(address: &str, password: &str) -> Self {
        let mut connection = Self(BufReader::new(TcpStream::connect(address).unwrap()));
        let reply = connection.command(&[b"AUTH", password.as_bytes()]);
        assert_eq!(reply, Reply::Status("OK".into()));
        connection
    }

    /// Sends a command and returns the reply, which may be an error.
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

    /// The next message from Redis; `None` when it has closed the connection.
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

/// The answer of a Redis of this version to `HELLO 3`, a command that exists since 6.0.
#[must_use]
pub fn hello(version: &str) -> String {
    format!(
        "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n${}\r\n{version}\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:3\r\n\
         $4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
        version.len()
    )
}

/// Starts a server that answers every `HELLO` with these bytes and anything else not at all, and returns its address. It runs as
/// long as the process of the test.
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

/// A client sends one command at a time, so that the bytes of one read are one command.
fn greet(mut connection: TcpStream, answer: &str) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = connection.read(&mut bytes) {
        let greeted = String::from_utf8_lossy(&bytes[..length]).contains("HELLO");
        if greeted && connection.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
