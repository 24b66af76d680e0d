//! TLS and Unix sockets on the gRPC port: which clients may ask, and what happens when certificates change or the process is
//! restarted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use elastauth_support::certificates::{Authority, Pair, client};
use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::envoy::exchange;
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{free_port, run, said, until};
use elastauth_support::servers::{Elastauth, Envoy, config};
use rustls::ClientConfig;
use tempfile::TempDir;
use tonic::Code;

const ENVOY: &str = "spiffe://cluster.local/ns/gateway/sa/envoy";
const SERVICE: &str = "envoy.service.auth.v3.Authorization";

/// The TLS files of one elastauth, which a test can write again.
struct Files(TempDir);

impl Files {
    fn new(server: &Pair, authorities: &[&Authority]) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.pair(server);
        files.authorities(authorities);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn pair(&self, pair: &Pair) {
        self.write("cert.pem", &pair.cert);
        self.write("key.pem", &pair.key);
    }

    fn authorities(&self, authorities: &[&Authority]) {
        let all: String = authorities.iter().map(|authority| authority.pem.as_str()).collect();
        self.write("ca.pem", &all);
    }

    fn section(&self) -> String {
        let at = |name: &str| self.path(name).display().to_string();
        format!(
            "  tls_cert_file: {}\n  tls_key_file: {}\n  tls_client_ca_file: {}\n  tls_reload_interval: 20ms\n  \
             tls_allowed_sans: [\"{ENVOY}\", Envoy.Example.com]\n",
            at("cert.pem"),
            at("key.pem"),
            at("ca.pem")
        )
    }
}

struct Bench {
    authority: Authority,
    files: Files,
    issuer: Issuer,
    elasticsearch: Elasticsearch,
    elastauth: Elastauth,
}

impl Bench {
    async fn start() -> Self {
        let authority = Authority::new("first");
        let files = Files::new(&authority.server(), &[&authority]);
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory");
        let listen = format!("127.0.0.1:{}", free_port());
        let elastauth = Elastauth::start_at(elastauth!(), &yaml, &listen, &files.section());
        Self { authority, files, issuer, elasticsearch, elastauth }
    }

    /// The answer to a valid token, or the code with which the call fails. A refused handshake may be reported by the connection
    /// or by the first call.
    async fn ask(&self, config: &Arc<ClientConfig>) -> Result<Answer, Code> {
        let Ok(checker) = Checker::connect_tls(&self.elastauth.grpc, config).await else { return Err(Code::Unknown) };
        let request = elastauth_support::check::bearer(&self.issuer.token("ann", &["admins"]));
        checker.check(request).await.map(|reply| Answer::read(&reply)).map_err(|status| status.code())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_clients_on_the_list_are_answered_and_others_are_told_nothing() {
    let bench = Bench::start().await;
    let (ours, other) = (&bench.authority, Authority::new("other"));
    for names in [&[ENVOY][..], &["envoy.example.com"], &["x.example.com", "ENVOY.example.com"]] {
        let config = client(&[ours], Some(&ours.sign(names)));
        assert!(bench.ask(&config).await.unwrap().password().is_some(), "{names:?}");
        let checker = Checker::connect_tls(&bench.elastauth.grpc, &config).await.unwrap();
        assert!(checker.serving(SERVICE).await.unwrap());
    }
    let near = format!("{ENVOY}x");
    for names in [&["spiffe://cluster.local/ns/other/sa/x"][..], &[&near], &["*.example.com"], &[]] {
        let from = bench.elastauth.process.lines().len();
        let config = client(&[ours], Some(&ours.sign(names)));
        assert_eq!(bench.ask(&config).await.unwrap_err(), Code::PermissionDenied, "{names:?}");
        let shown = names.first().copied().unwrap_or_default();
        bench.elastauth.process.wait_for_line(from, &["peer_not_allowed", shown]);
        let checker = Checker::connect_tls(&bench.elastauth.grpc, &config).await.unwrap();
        assert_eq!(checker.serving(SERVICE).await.unwrap_err().code(), Code::PermissionDenied);
    }
    for (shown, why) in [(None, "no certificate"), (Some(other.sign(&[ENVOY])), "of another authority")] {
        let from = bench.elastauth.process.lines().len();
        let refused = bench.ask(&client(&[ours], shown.as_ref())).await.unwrap_err();
        assert!(refused != Code::PermissionDenied, "{why}: the handshake fails, and not a call");
        bench.elastauth.process.wait_for_line(from, &["tls_handshake"]);
    }
    let plain = Checker::connect(&bench.elastauth.grpc).await;
    assert!(plain.serving("").await.is_err(), "without TLS there is no answer");
    let users: Vec<_> = bench.elasticsearch.history().into_iter().map(|write| write.user).collect();
    assert_eq!(users, ["ann"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_keys_and_authorities_change_under_load_without_a_failed_call() {
    let bench = Bench::start().await;
    let (first, second) = (&bench.authority, Authority::new("second"));
    let stop = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicUsize::new(0));
    // the client of a roll-over of authorities: it trusts both, and shows a certificate of the old one
    let config = client(&[first, &second], Some(&first.sign(&[ENVOY])));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stop, calls, config) = (Arc::clone(&stop), Arc::clone(&calls), Arc::clone(&config));
            let (address, token) = (bench.elastauth.grpc.clone(), bench.issuer.token("ann", &["admins"]));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let checker = Checker::connect_tls(&address, &config).await.unwrap();
                    for _ in 0..10 {
                        assert!(checker.ask(&token).await.password().is_some());
                        calls.fetch_add(1, Ordering::SeqCst);
                    }
                }
            })
        })
        .collect();
    let process = &bench.elastauth.process;
    let more = async || {
        let goal = calls.load(Ordering::SeqCst) + 100;
        until("calls", || async { calls.load(Ordering::SeqCst) >= goal }).await;
    };
    more().await;

    // the key is copied first, as an operator may do: the old pair stays in use until certificate and key fit
    let (from, next) = (process.lines().len(), second.server());
    bench.files.write("key.pem", &next.key);
    process.wait_for_line(from, &["cannot be used", "certificate and key"]);
    more().await;
    assert!(bench.ask(&client(&[first], Some(&first.sign(&[ENVOY])))).await.is_ok(), "the old pair is still in use");
    let from = process.lines().len();
    bench.files.pair(&next);
    process.wait_for_line(from, &["TLS files read again"]);
    more().await;
    let (new_only, old_only) = (client(&[&second], Some(&first.sign(&[ENVOY]))), client(&[first], None));
    assert!(bench.ask(&new_only).await.is_ok(), "the new certificate is shown");
    assert!(
        Checker::connect_tls(&bench.elastauth.grpc, &old_only).await.is_err(),
        "the old certificate is not shown any more"
    );

    let of_second = client(&[&second], Some(&second.sign(&[ENVOY])));
    assert!(bench.ask(&of_second).await.is_err(), "not yet an authority of clients");
    let from = process.lines().len();
    bench.files.authorities(&[first, &second]);
    process.wait_for_line(from, &["TLS files read again"]);
    more().await;
    assert!(bench.ask(&of_second).await.is_ok());

    stop.store(true, Ordering::SeqCst);
    for task in load {
        task.await.expect("no call failed");
    }
    let from = process.lines().len();
    bench.files.authorities(&[&second]);
    process.wait_for_line(from, &["TLS files read again"]);
    // the same client as before, which has tickets to resume its sessions
    assert!(bench.ask(&config).await.is_err(), "no session outlives its authority");
    println!("{} calls over changing certificates, none failed", calls.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_asks_over_mutual_tls() {
    let bench = Bench::start().await;
    let pair = bench.authority.sign(&[ENVOY]);
    bench.files.write("envoy.pem", &pair.cert);
    bench.files.write("envoy.key", &pair.key);
    let at = |name: &str| bench.files.path(name).display().to_string();
    let socket = format!(
        "transport_socket:\n      name: envoy.transport_sockets.tls\n      typed_config:\n        \
         \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext\n        \
         common_tls_context:\n          tls_certificates: [ {{ certificate_chain: {{ filename: \"{}\" }}, private_key: {{ filename: \"{}\" }} }} ]\n          \
         validation_context: {{ trusted_ca: {{ filename: \"{}\" }} }}\n    load_assignment:\n      cluster_name: elastauth",
        at("envoy.pem"),
        at("envoy.key"),
        at("ca.pem")
    );
    let edit = |text| exchange(text, "load_assignment:\n      cluster_name: elastauth", &socket);
    let addresses = [bench.elastauth.grpc.as_str()];
    let Some(envoy) = Envoy::start_edited(&addresses, bench.elasticsearch.address(), edit).await else { return };
    assert_eq!(get(&envoy.url, &bench.issuer.token("ann", &["admins"])).await, 200);
    assert_eq!(get(&envoy.url, "a.b.c").await, 401);
}

async fn get(url: &str, token: &str) -> u16 {
    elastauth_support::http().get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_asks_over_a_unix_socket_which_outlives_crashes_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grpc.sock");
    let listen = format!("unix:{}", path.display());
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = format!("{}drain: 10ms\n", config(&issuer.url, &elasticsearch.url, "  type: memory"));
    let start = || Elastauth::start_at(elastauth!(), &yaml, &listen, "  socket_mode: \"0600\"\n");
    let mut first = start();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let Some(envoy) = Envoy::start_edited(&[&listen], elasticsearch.address(), |text| text).await else { return };
    let token = issuer.token("ann", &["admins"]);
    assert_eq!(get(&envoy.url, &token).await, 200);

    let file = folder.path().join("second.yml");
    fs::write(&file, format!("listen: \"127.0.0.1:{}\"\ngrpc: {{listen: \"{listen}\"}}\n{yaml}", free_port())).unwrap();
    let mut command = std::process::Command::new(elastauth!());
    let second = run(command.arg("--config").arg(&file).env_clear(), "").unwrap();
    assert!(!second.status.success());
    let said = said(&second);
    assert!(said.contains(&format!("cannot listen on {listen}: another process answers there")), "{said}");
    assert_eq!(get(&envoy.url, &token).await, 200, "the first process goes on serving");

    first.process.kill();
    assert!(path.exists(), "a crash leaves the socket behind");
    let mut second = start();
    until("Envoy finds the next process", || async { get(&envoy.url, &token).await == 200 }).await;
    second.process.terminate();
    assert!(second.process.wait().success());
    assert!(!path.exists(), "an orderly end removes the socket");
}
