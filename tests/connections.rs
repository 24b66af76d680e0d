//! Connections that send nothing keep no client out, on either port, and are closed after a while.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use elastauth_support::check::Checker;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::issuer::Issuer;
use elastauth_support::process::until;
use elastauth_support::servers::{Elastauth, config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The limit of open files of the process under test.
const FILES: usize = 400;

/// The number of silent connections on each port; it is more than the process has descriptors.
const CROWD: usize = FILES + 50;

/// The time within which the last silent connection is closed: ten seconds, and a reserve for a busy machine.
const CLOSED: Duration = Duration::from_secs(25);

struct Bench {
    issuer: Issuer,
    _elasticsearch: Elasticsearch,
    elastauth: Elastauth,
}

impl Bench {
    async fn start() -> Self {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("elastauth");
        let binary = env!("CARGO_BIN_EXE_elastauth");
        fs::write(&script, format!("#!/bin/sh\nulimit -n {FILES}\nexec {binary} \"$@\"\n")).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
        let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory");
        let elastauth = Elastauth::start(Path::new(&script), &yaml);
        Self { issuer, _elasticsearch: elasticsearch, elastauth }
    }

    async fn is_ready(&self) -> bool {
        let asked = elastauth_support::http().get(format!("{}/ready", self.elastauth.http)).send().await;
        asked.is_ok_and(|answer| answer.status() == 200)
    }

    async fn lets_through(&self, checker: &Checker) -> bool {
        checker.ask(&self.issuer.token("ann", &["admins"])).await.password().is_some()
    }

    /// Opens many connections, sends these bytes on each, and keeps it open.
    async fn crowd(address: &str, said: &[u8]) -> Vec<TcpStream> {
        let mut crowd = Vec::new();
        for _ in 0..CROWD {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // a connection that was closed meanwhile is found out when it is read
            let _ = stream.write_all(said).await;
            crowd.push(stream);
        }
        crowd
    }
}

/// Whether all of them are closed in time.
async fn are_closed(crowd: Vec<TcpStream>) -> bool {
    let all = async {
        for mut stream in crowd {
            // an answer to half a request may come before the end; a reset is an end as well
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    };
    tokio::time::timeout(CLOSED, all).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_on_either_port_keep_nobody_out_and_are_closed() {
    let bench = Bench::start().await;
    let before = Checker::connect(&bench.elastauth.grpc).await;
    until("the first pass", || bench.lets_through(&before)).await;
    let health = bench.elastauth.http.strip_prefix("http://").unwrap();
    for (address, said) in [
        (&*bench.elastauth.grpc, &b""[..]),
        (&*bench.elastauth.grpc, b"PRI * HTTP/2.0"),
        (health, b""),
        (health, b"GET /ready HTTP/1.1\r\nhost: a"),
    ] {
        let crowd = Bench::crowd(address, said).await;
        let began = Instant::now();
        assert!(bench.is_ready().await, "beside {said:?} on {address}");
        let new = Checker::connect(&bench.elastauth.grpc).await;
        assert!(bench.lets_through(&new).await && bench.lets_through(&before).await, "beside {said:?} on {address}");
        assert!(began.elapsed() < Duration::from_secs(5), "others do not wait for them: {:?}", began.elapsed());
        assert!(are_closed(crowd).await, "{said:?} on {address}");
        assert!(bench.lets_through(&before).await, "a connection that is in use stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_of_few_open_files_says_so_at_start() {
    let bench = Bench::start().await;
    bench.elastauth.process.wait_for_line(0, &["limit of open files is low", "ulimit -n"]);
}
