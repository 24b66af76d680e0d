//! Starts the real Envoy with the configuration files that are shipped.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::certificates::Pair;
use crate::process::{Process, free_port, until};
use crate::servers::{root, tool};

/// A running Envoy, by default with `envoy/envoy.yaml`.
pub struct Envoy {
    /// The address for clients, as `http://127.0.0.1:port`.
    pub url: String,
    /// The address of the administration, as `http://127.0.0.1:port`.
    pub admin: String,
    /// The process, so that a test can read its log.
    pub process: Process,
    _folder: TempDir,
}

/// The endpoint of elastauth in the shipped file.
const ELASTAUTH: &str = "- endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 9001 } } }";

/// The address of Elasticsearch in the shipped file.
const ELASTICSEARCH: &str = "address: elasticsearch.example.org, port_value: 9200";

/// The shipped file in which the addresses are names of containers.
const COMPOSE: &str = "compose/envoy.yaml";

/// The file for Compose, with the addresses of `envoy.yaml` in place of its containers' names.
fn on_loopback(text: String) -> String {
    let replica = |n| ELASTAUTH.replace("127.0.0.1", &format!("elastauth-{n}"));
    let text = exchange(text, &format!("\n        {}", replica(2)), "");
    let text = exchange(text, &replica(1), ELASTAUTH);
    exchange(text, "address: kibana, port_value: 5601", ELASTICSEARCH)
}

/// The shipped file without TLS to Elasticsearch, and to the provider where it names one.
fn without_tls(text: &str) -> String {
    let mut parts = text.split("\n    transport_socket:\n");
    let mut plain = parts.next().unwrap().to_owned();
    let before = plain.len();
    for part in parts {
        let (_, after) = part.split_once("    load_assignment:\n").unwrap();
        plain.push_str(&format!("\n    load_assignment:\n{after}"));
    }
    assert!(plain.len() > before, "the shipped file has TLS");
    plain
}

impl Envoy {
    /// Starts Envoy with the shipped file for these addresses, and with or without `encode_raw_headers`.
    pub async fn start(elastauth: &str, elasticsearch: &str, raw_headers: bool) -> Option<Self> {
        let raw = move |text: String| {
            exchange(text, "encode_raw_headers: true", &format!("encode_raw_headers: {raw_headers}"))
        };
        Self::start_edited(&[elastauth], elasticsearch, raw).await
    }

    /// Starts Envoy in front of these replicas (`host:port`, or `unix:/path`) with one more change of the file, and waits until
    /// all of them are healthy.
    pub async fn start_edited(
        replicas: &[&str],
        elasticsearch: &str,
        edit: impl FnOnce(String) -> String,
    ) -> Option<Self> {
        Self::start_file("envoy.yaml", replicas, elasticsearch, edit).await
    }

    /// The same with another of the shipped files. The hosts that it names stay, and the address of its listener is added to
    /// them. TLS to Elasticsearch stays when `elasticsearch` begins with `https://`.
    pub async fn start_file(
        file: &str,
        replicas: &[&str],
        elasticsearch: &str,
        edit: impl FnOnce(String) -> String,
    ) -> Option<Self> {
        Self::start_at(free_port(), file, replicas, elasticsearch, edit).await
    }

    /// The same with a listener on this port.
    pub async fn start_at(
        listener: u16,
        file: &str,
        replicas: &[&str],
        elasticsearch: &str,
        edit: impl FnOnce(String) -> String,
    ) -> Option<Self> {
        let binary = tool("envoy")?;
        let admin = free_port();
        let folder = tempfile::tempdir().unwrap();
        let mut text = fs::read_to_string(root().join("envoy").join(file)).unwrap();
        if file == COMPOSE {
            text = exchange(on_loopback(text), ":10000\"", &format!(":{listener}\""));
        } else {
            text = exchange(text, "domains: [", &format!("domains: [\"127.0.0.1:{listener}\", "));
            if !elasticsearch.starts_with("https://") {
                text = without_tls(&text);
            }
        }
        let endpoints: Vec<String> = replicas.iter().map(|address| endpoint(address)).collect();
        for (from, to) in [
            ("0.0.0.0, port_value: 10000", format!("127.0.0.1, port_value: {listener}")),
            ("127.0.0.1, port_value: 9901", format!("127.0.0.1, port_value: {admin}")),
            (ELASTAUTH, endpoints.join("\n        ")),
            (ELASTICSEARCH, format!("address: 127.0.0.1, port_value: {}", port(elasticsearch))),
        ] {
            text = exchange(text, from, &to);
        }
        if replicas.iter().any(|address| address.starts_with("unix:")) {
            // a name is resolved (STRICT_DNS), the path of a socket cannot be
            text = text.replacen("type: STRICT_DNS", "type: STATIC", 1);
        }
        let file = folder.path().join("envoy.yaml");
        fs::write(&file, edit(text)).unwrap();
        let mut command = Command::new(binary);
        command.arg("-c").arg(&file).args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
        let process = Process::start("envoy", &mut command);
        let (url, admin) = (format!("http://127.0.0.1:{listener}"), format!("http://127.0.0.1:{admin}"));
        let envoy = Self { url, admin, process, _folder: folder };
        let all = u64::try_from(replicas.len()).unwrap();
        until("Envoy's listener and its healthy elastauth", || async { envoy.healthy().await == Some(all) }).await;
        Some(envoy)
    }

    /// The number of replicas that Envoy finds healthy; `None` while it starts.
    pub async fn healthy(&self) -> Option<u64> {
        let ready = self.ask("/ready").await?.contains("LIVE");
        if ready { self.stat("cluster.elastauth.membership_healthy").await } else { None }
    }

    /// The value of a counter or gauge.
    pub async fn stat(&self, name: &str) -> Option<u64> {
        let lines = self.ask(&format!("/stats?filter=^{name}$")).await?;
        lines.trim().rsplit_once(": ")?.1.parse().ok()
    }

    async fn ask(&self, path: &str) -> Option<String> {
        crate::http().get(format!("{}{path}", self.admin)).send().await.ok()?.text().await.ok()
    }
}

/// The file with the certificate that it names replaced by this one, for browsers.
#[must_use]
pub fn with_certificate(mut text: String, pair: &Pair) -> String {
    for (file, pem) in [("tls.crt", &pair.cert), ("tls.key", &pair.key)] {
        let inline = format!("inline_string: {}", Value::from(pem.as_str()));
        text = exchange(text, &format!("filename: /etc/envoy/tls/{file}"), &inline);
    }
    text
}

/// A file whose listener has no TLS, with TLS by this certificate.
#[must_use]
pub fn with_tls(text: String, pair: &Pair) -> String {
    let section = "    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - certificate_chain: { filename: /etc/envoy/tls/tls.crt }
              private_key: { filename: /etc/envoy/tls/tls.key }
      filters:
";
    with_certificate(exchange(text, "    - filters:\n", section), pair)
}

/// Replaces a text, and panics when it is not there.
#[must_use]
pub fn exchange(text: String, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the shipped file has no {from}");
    text.replace(from, to)
}

fn endpoint(address: &str) -> String {
    match address.strip_prefix("unix:") {
        Some(path) => format!("- endpoint: {{ address: {{ pipe: {{ path: \"{path}\" }} }} }}"),
        None => ELASTAUTH.replace("9001", port(address)),
    }
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}
