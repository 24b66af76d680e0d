//! Requests of real clients through a real Envoy: browsers, uploads, web sockets, gRPC, preflights, old and odd HTTP; and
//! `grpcurl`, with which an operator examines the service by hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use elastauth_support::check::Checker;
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{free_port, run_unsearched, until};
use elastauth_support::servers::{Elastauth, Envoy, config, tool};
use elastauth_support::upstream::Upstream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::{Code, Request};

struct Bench {
    issuer: Issuer,
    upstream: Upstream,
    _elastauth: Elastauth,
    envoy: Envoy,
    _elasticsearch: Elasticsearch,
}

impl Bench {
    async fn start() -> Option<Self> {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let upstream = Upstream::start().await;
        let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory");
        let elastauth = Elastauth::start(elastauth!(), &yaml);
        let envoy = Envoy::start(&elastauth.grpc, &upstream.address, true).await?;
        Some(Self { issuer, upstream, _elastauth: elastauth, envoy, _elasticsearch: elasticsearch })
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.issuer.token("ann", &["admins"]))
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.envoy.url.trim_start_matches("http://")).await.unwrap()
    }

    /// Sends these bytes and reads the head of the answer.
    async fn raw(&self, request: &str) -> (TcpStream, String) {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = head(&mut stream).await;
        (stream, head)
    }

    /// The one request that reached the server behind Envoy, with exactly one `Authorization`, which is elastauth's.
    fn reached(&self) -> elastauth_support::upstream::Seen {
        let seen = self.upstream.seen();
        let [seen] = seen.as_slice() else { panic!("one request: {seen:?}") };
        let values = seen.header("authorization");
        assert!(values.len() == 1 && values[0].starts_with("Basic "), "{values:?}");
        seen.clone()
    }
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap() == 0 {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browsers_request_with_cookies_and_many_headers_goes_on_with_all_of_them() {
    let Some(bench) = Bench::start().await else { return };
    let mut request = elastauth_support::http()
        .get(format!("{}/app/kibana?q=x", bench.envoy.url))
        .header("authorization", bench.bearer())
        .header("cookie", format!("sid={}; theme=dark", "x".repeat(4000)))
        .header("kbn-version", "9.0.0")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36");
    for n in 0..60 {
        request = request.header(format!("x-feature-{n}"), "v".repeat(100));
    }
    assert_eq!(request.send().await.unwrap().status().as_u16(), 200);
    let seen = bench.reached();
    assert!(seen.header("cookie")[0].ends_with("; theme=dark"));
    assert_eq!((seen.header("x-feature-59").len(), seen.header("kbn-version").len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_decided_by_its_head_and_flows_through_as_it_comes() {
    let Some(bench) = Bench::start().await else { return };
    let (piece, pieces) = (vec![b'\n'; 1 << 20], 32);
    let mut stream = bench.connect().await;
    let head_of_request = format!(
        "POST /_bulk HTTP/1.1\r\nhost: kibana.example.org\r\nauthorization: {}\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        bench.bearer(),
        pieces * piece.len()
    );
    stream.write_all(head_of_request.as_bytes()).await.unwrap();
    stream.write_all(&piece).await.unwrap();
    // the first piece arrives while the client has not sent the others: Envoy does not wait for the whole
    let arrived = || async { bench.upstream.seen().first().is_some_and(|seen| seen.body >= piece.len()) };
    until("the first piece", arrived).await;
    for _ in 1..pieces {
        stream.write_all(&piece).await.unwrap();
    }
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert_eq!(bench.reached().body, pieces * piece.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_is_let_through_once_and_then_left_alone() {
    let Some(bench) = Bench::start().await else { return };
    let handshake = |authorization: &str| {
        format!(
            "GET /ws HTTP/1.1\r\nhost: kibana.example.org\r\n{authorization}connection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    let (_, head) = bench.raw(&handshake("")).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    let (mut stream, head) = bench.raw(&handshake(&format!("authorization: {}\r\n", bench.bearer()))).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    for _ in 0..3 {
        stream.write_all(b"frame").await.unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"frame");
    }
    bench.reached();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_client_gets_a_grpc_status_and_a_short_message() {
    let Some(bench) = Bench::start().await else { return };
    let client = Checker::connect(bench.envoy.url.trim_start_matches("http://")).await;
    let status = client.call("/some.Service/Method", Request::new(Vec::new())).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "authentication required"));
    assert!(bench.upstream.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_old_http_and_connect_reach_nobody() {
    let Some(bench) = Bench::start().await else { return };
    let bearer = bench.bearer();
    for (request, expected) in [
        (
            "OPTIONS /_search HTTP/1.1\r\nhost: kibana.example.org\r\norigin: https://evil.example\r\n\
             access-control-request-method: POST\r\n\r\n"
                .to_owned(),
            "HTTP/1.1 401",
        ),
        // Envoy itself answers these
        (format!("GET / HTTP/1.0\r\nhost: kibana.example.org\r\nauthorization: {bearer}\r\n\r\n"), "HTTP/1.1 426"),
        (
            format!(
                "CONNECT kibana.example.org:9200 HTTP/1.1\r\nhost: kibana.example.org:9200\r\nauthorization: {bearer}\r\n\r\n"
            ),
            "HTTP/1.1 4",
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: kibana.example.org\r\nx_user: ann\r\nauthorization: {bearer}\r\n\r\n"),
            "HTTP/1.1 400",
        ),
    ] {
        let (_, head) = bench.raw(&request).await;
        assert!(head.starts_with(expected), "{request}: {head}");
        assert!(!head.contains("Basic"), "{head}");
    }
    assert!(bench.upstream.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_lists_describes_and_asks() {
    let Some(grpcurl) = tool("grpcurl") else { return };
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory");
    let listen = format!("127.0.0.1:{}", free_port());
    let binary = elastauth!();
    let elastauth = Elastauth::start_at(binary, &yaml, &listen, "  reflection: true\n");
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(&grpcurl);
        command.arg("-plaintext").args(arguments);
        let output = tokio::task::spawn_blocking(move || run_unsearched(&mut command, "").unwrap()).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let address = elastauth.grpc.as_str();
    let listed = run(&[address, "list"]).await;
    for service in
        ["envoy.service.auth.v3.Authorization", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]
    {
        assert!(listed.lines().any(|line| line == service), "{listed}");
    }
    let described = run(&[address, "describe", "envoy.service.auth.v3.Authorization"]).await;
    assert!(described.contains("rpc Check ( .envoy.service.auth.v3.CheckRequest )"), "{described}");
    let check = async |request: &str| {
        let reply = run(&["-d", request, address, "envoy.service.auth.v3.Authorization/Check"]).await;
        serde_json::from_str::<serde_json::Value>(&reply).unwrap()
    };
    let refused = check("{}").await;
    assert_eq!(
        (&refused["status"]["code"], &refused["deniedResponse"]["status"]["code"]),
        (&3.into(), &"BadRequest".into())
    );
    let bearer = format!("Bearer {}", issuer.token("ann", &["admins"]));
    let headers = serde_json::json!({ "authorization": bearer });
    let request = serde_json::json!({ "attributes": { "request": { "http": { "headers": headers } } } });
    let allowed = check(&request.to_string()).await;
    let header = &allowed["okResponse"]["headers"][0]["header"];
    assert_eq!(header["key"], "authorization");
    assert!(header["value"].as_str().unwrap().starts_with("Basic "));
    let health = run(&[address, "grpc.health.v1.Health/Check"]).await;
    assert!(health.contains("SERVING"), "{health}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_speaks_both_versions_and_only_when_it_is_switched_on() {
    let yaml = config("http://127.0.0.1:1", "http://127.0.0.1:1", "  type: memory");
    let binary = elastauth!();
    for (grpc, on) in [("", false), ("  reflection: true\n", true)] {
        let elastauth = Elastauth::start_at(binary, &yaml, &format!("127.0.0.1:{}", free_port()), grpc);
        let checker = Checker::connect(&elastauth.grpc).await;
        for method in [
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ] {
            // field 7, list_services in both versions
            match checker.stream(method, b"\x3a\x01*".to_vec()).await {
                Ok(mut answers) => {
                    let answer = answers.message().await.unwrap().unwrap();
                    let service = b"envoy.service.auth.v3.Authorization";
                    assert!(on && answer.windows(service.len()).any(|part| part == service), "{method}");
                }
                Err(status) => assert!(!on && status.code() == Code::Unimplemented, "{method}: {status}"),
            }
        }
    }
}
