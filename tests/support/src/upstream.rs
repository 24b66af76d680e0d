//! A server behind Envoy that counts the bytes of requests as they arrive, echoes the bytes of a web socket, and redirects `/moved`
//! to `/landed`.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One request that reached the server.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The request line and the headers, names in lower case as Envoy writes them.
    pub head: String,
    /// The number of bytes of the body that have arrived so far.
    pub body: usize,
}

impl Seen {
    /// The values of this header, in order.
    #[must_use]
    pub fn header(&self, name: &str) -> Vec<&str> {
        let named = |line: &'_ str| line.split_once(": ").filter(|(key, _)| *key == name).map(|(_, value)| value.len());
        self.head.lines().filter_map(|line| Some(&line[line.len() - named(line)?..])).collect()
    }
}

/// A running server; dropping it ends it.
pub struct Upstream {
    /// The address to connect to, as `127.0.0.1:port`.
    pub address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    /// Starts the server on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let all = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&all)));
            }
        });
        Self { address, seen, task }
    }

    /// Every request that arrived so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// It serves one request for each connection, which suffices for Envoy.
async fn serve(mut stream: TcpStream, all: Arc<Mutex<Vec<Seen>>>) -> Option<()> {
    let (head, rest) = head(&mut stream).await?;
    let seen = Seen { head, body: rest.len() };
    let length = seen.header("content-length").first().and_then(|text| text.parse().ok()).unwrap_or(0);
    let upgrade = seen.header("upgrade") == ["websocket"];
    let moved = seen.head.starts_with("GET /moved ").then(|| seen.header("host")[0].to_owned());
    let mut body = seen.body;
    let at = {
        let mut all = all.lock().unwrap();
        all.push(seen);
        all.len() - 1
    };
    let mut piece = vec![0; 64 * 1024];
    if upgrade {
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
            .await
            .ok()?;
        stream.write_all(&rest).await.ok()?;
        while let Ok(count @ 1..) = stream.read(&mut piece).await {
            stream.write_all(&piece[..count]).await.ok()?;
        }
        return Some(());
    }
    while body < length {
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        body += count;
        all.lock().unwrap()[at].body = body;
    }
    let answer = match moved {
        Some(host) => {
            format!("302 Found\r\nlocation: http://{host}/landed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        }
        None => "200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".to_owned(),
    };
    stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await.ok()
}

/// Reads up to the empty line; returns the head, and the part of the body that was read with it.
async fn head(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Some((String::from_utf8(bytes).unwrap(), rest));
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
