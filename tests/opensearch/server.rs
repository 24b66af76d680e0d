//! One node of OpenSearch for all tests of this file: `tests/opensearch/up.sh` runs it from what `tests/tools.sh opensearch`
//! fetched, and ends it by its process id when this process ends, however that comes about.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use elastauth::cluster_client::account::Scheme;
use elastauth::cluster_client::{self, Account};
use elastauth::credentials::RequestContext;
use elastauth::opensearch::{Hashing, OpenSearch, RoleField, Settings};
use elastauth::outbound::{Authorities, ClientIdentity, Tls};
use elastauth_support::elasticsearch::ADMIN;
use elastauth_support::process::free_port;
use reqwest::Method;
use serde_json::Value;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::{Instant, sleep};

/// How long a start may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A node that runs or was stopped.
pub struct Node {
    pub url: String,
    folder: PathBuf,
    ports: [u16; 2],
    script: Option<Child>,
}

static NODE: OnceLock<Option<RwLock<Node>>> = OnceLock::new();

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The node, which the first test starts; none where its files were not fetched. Tests that disturb it use [`alone`].
pub async fn node() -> Option<RwLockReadGuard<'static, Node>> {
    Some(cell().await?.read().await)
}

/// The node, for one test only.
pub async fn alone() -> Option<RwLockWriteGuard<'static, Node>> {
    Some(cell().await?.write().await)
}

async fn cell() -> Option<&'static RwLock<Node>> {
    tokio::task::spawn_blocking(|| NODE.get_or_init(|| available().then(|| RwLock::new(Node::start()))))
        .await
        .unwrap()
        .as_ref()
}

/// Whether the files of the node were fetched. If not, that is printed past the test harness, which swallows what passing tests
/// print.
fn available() -> bool {
    let there = root().join(".tools/opensearch/pom.xml").exists();
    if !there {
        let why = "skipped: the tests against a real OpenSearch; `make tools` fetches it where a JDK 17, Maven and OpenSSL are\n";
        std::io::stderr().write_all(why.as_bytes()).unwrap();
    }
    there
}

impl Node {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let ports = [free_port(), free_port()];
        let url = format!("https://127.0.0.1:{}", ports[0]);
        let mut node = Self { url, folder, ports, script: None };
        node.run();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(node.ready());
        node
    }

    #[expect(clippy::disallowed_methods, reason = "it ends by its input, and its outputs are the test's")]
    fn run(&mut self) {
        let mut command = Command::new(root().join("tests/opensearch/up.sh"));
        command.arg(&self.folder).args(self.ports.map(|port| port.to_string()));
        self.script = Some(command.stdin(Stdio::piped()).spawn().unwrap());
    }

    /// Waits until its security index is loaded, that is until a login works.
    async fn ready(&mut self) {
        let began = Instant::now();
        loop {
            let ended = self.script.as_mut().and_then(|script| script.try_wait().unwrap());
            let out = || fs::read_to_string(self.folder.join("logs/out")).unwrap_or_default();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "OpenSearch did not come up:\n{}", out());
            if self.ca().exists() && self.status(Method::GET, "_plugins/_security/authinfo", ADMIN).await == Some(200) {
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Ends it and leaves its data.
    pub fn stop(&mut self) {
        let mut script = self.script.take().unwrap();
        script.stdin.take().unwrap().write_all(b"stop\n").unwrap();
        script.wait().unwrap();
    }

    /// The same node once more.
    pub async fn start_again(&mut self) {
        self.run();
        self.ready().await;
    }

    pub fn ca(&self) -> PathBuf {
        self.folder.join("config/ca.pem")
    }

    /// For the configuration of an elastauth.
    pub fn yaml(&self) -> String {
        let mut yaml = String::new();
        writeln!(yaml, "  ca_file: {}", self.ca().display()).unwrap();
        // a loaded machine must not make confirmations or writes fail
        writeln!(yaml, "  timeout: 10s\n  write_timeout: 20s").unwrap();
        writeln!(yaml, "  opensearch_hash_cost: 4\n  opensearch_write_interval: 50ms").unwrap();
        yaml
    }

    pub fn settings(&self) -> Settings {
        let scheme = Scheme::Basic { username: ADMIN.0.into() };
        let account = Some(Account { scheme, secret: ADMIN.1.to_owned().into(), file: None });
        let tls = Tls { authorities: Authorities::File(self.ca()), identity: None };
        let hosts = vec![self.url.parse().unwrap()];
        Settings {
            connection: cluster_client::Settings { hosts, account, tls, media_type: "application/json".into() },
            timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(40),
            dry_run: false,
            cluster: "tests".into(),
            store: "memory of a test".into(),
            roles: RoleField::Backend,
            hashing: Hashing::Here { cost: 4, cores: 2 },
            write_interval: Duration::from_millis(1),
            max_batch: 100,
        }
    }

    /// The certificate of a super-administrator instead of an account.
    pub fn certified(&self) -> Settings {
        let config = |name| self.folder.join("config").join(name);
        let mut settings = self.settings();
        settings.connection.account = None;
        settings.connection.tls.identity =
            Some(ClientIdentity { certificate: config("super.pem"), key: config("super.key") });
        settings
    }

    pub fn provisioner(&self) -> OpenSearch {
        OpenSearch::new(self.settings()).unwrap()
    }

    fn http(&self) -> reqwest::Client {
        let authority = reqwest::Certificate::from_pem(&fs::read(self.ca()).unwrap()).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20));
        client.tls_certs_only([authority]).build().unwrap()
    }

    async fn status(&self, method: Method, path: &str, (user, password): (&str, &str)) -> Option<u16> {
        let request = self.http().request(method, format!("{}/{path}", self.url)).basic_auth(user, Some(password));
        request.send().await.ok().map(|answer| answer.status().as_u16())
    }

    /// Whether this user can log in with this password.
    pub async fn accepts(&self, user: &str, password: &str) -> bool {
        self.status(Method::GET, "_plugins/_security/authinfo", (user, password)).await == Some(200)
    }

    /// As a person with all rights: the status and the body.
    pub async fn by_hand(&self, method: Method, user: &str, body: Option<Value>) -> (u16, Value) {
        let (http, url) = (self.http(), format!("{}/_plugins/_security/api/internalusers/{user}", self.url));
        loop {
            let request = http.request(method.clone(), &url).basic_auth("admin", Some(ADMIN.1));
            let answer = body.iter().fold(request, reqwest::RequestBuilder::json).send().await.unwrap();
            // other tests write meanwhile
            if answer.status() != 409 {
                return (answer.status().as_u16(), answer.json().await.unwrap_or_default());
            }
        }
    }

    /// One user, as a GET shows it; null if absent.
    pub async fn user(&self, name: &str) -> Value {
        self.by_hand(Method::GET, name, None).await.1[name].take()
    }
}

/// The context of a write that no request asked for.
pub fn context() -> RequestContext {
    RequestContext::default()
}
