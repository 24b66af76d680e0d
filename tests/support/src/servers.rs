//! Starts the real servers, Envoy, Redis and elastauth itself, each on its own ports and in its own directory.

use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Process, free_port};

pub use crate::envoy::Envoy;

/// The root directory of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The path of a tool: one that the environment names, or one that `tests/tools.sh` fetched; `ENVOY_VERSION` selects among
/// several Envoys. When it is missing, the test fails: one that passes without having run proves nothing to the person who ran it.
/// With `SKIP_MISSING_TOOLS=true` it is skipped instead.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "test support reads the environment of the test run")]
pub fn tool(name: &str) -> Option<PathBuf> {
    let found = optional_tool(name);
    let may_skip = env::var("SKIP_MISSING_TOOLS").is_ok_and(|value| value == "true");
    assert!(
        found.is_some() || may_skip,
        "no {name}: `make tools` gets it, and with SKIP_MISSING_TOOLS=true tests that need it are skipped"
    );
    found
}

/// As [`tool`], for one that needs a runtime of its own (Node.js, Java): when it is missing, the test is skipped, and `make tools`
/// says so.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "test support reads the environment of the test run")]
pub fn optional_tool(name: &str) -> Option<PathBuf> {
    let variable = name.to_uppercase().replace('-', "_");
    let found = env::var(&variable).ok().map(PathBuf::from).or_else(|| {
        let version = env::var("ENVOY_VERSION").ok().filter(|_| name == "envoy");
        let file = version.map_or_else(|| name.to_owned(), |version| format!("{name}-{version}"));
        let path = root().join(".tools/bin").join(file);
        path.exists().then_some(path)
    });
    if found.is_none() {
        println!("skipped: no {name}; `make tools` gets it, or set {variable}");
    }
    found
}

/// A running redis-server that requires a password.
pub struct Redis {
    /// The address to connect to, as `127.0.0.1:port`.
    pub address: String,
    /// The process of the server, so that a test can stall or kill it.
    pub process: Process,
    _folder: TempDir,
}

/// The password of every Redis that tests start.
pub const REDIS_PASSWORD: &str = "redis-password";

impl Redis {
    /// Starts a server on a free port; `extra` are further options of redis-server.
    pub fn start(extra: &[&str]) -> Option<Self> {
        let binary = tool("redis-server")?;
        let (port, folder) = (free_port().to_string(), tempfile::tempdir().unwrap());
        let mut command = Command::new(binary);
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--requirepass", REDIS_PASSWORD]).args(extra).current_dir(folder.path());
        let process = Process::start("redis", &mut command);
        process.wait_for_line(0, &["Ready to accept connections"]);
        Some(Self { address: format!("127.0.0.1:{port}"), process, _folder: folder })
    }

    /// Sends a command, as an operator would with redis-cli, and returns the text of the reply.
    pub fn command(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let mut send = |words: &[&str]| {
            let mut message = format!("*{}\r\n", words.len());
            for word in words {
                message.push_str(&format!("${}\r\n{word}\r\n", word.len()));
            }
            stream.write_all(message.as_bytes()).unwrap();
        };
        send(&["AUTH", REDIS_PASSWORD]);
        send(words);
        send(&["QUIT"]);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let answer = answer.strip_prefix("+OK\r\n").unwrap().strip_suffix("+OK\r\n").unwrap();
        assert!(!answer.starts_with('-'), "{words:?}: {answer}");
        answer.to_owned()
    }
}

/// A running elastauth, on ports of its own.
pub struct Elastauth {
    /// The address of the gRPC service, as `127.0.0.1:port`.
    pub grpc: String,
    /// The address of the health endpoints, as `http://127.0.0.1:port`.
    pub http: String,
    /// The process, so that a test can read its log or stop it.
    pub process: Process,
    _folder: TempDir,
}

impl Elastauth {
    /// Starts elastauth with this configuration on free ports and waits until it listens.
    pub fn start(binary: &Path, config: &str) -> Self {
        Self::start_under(binary, config, &[])
    }

    /// As [`Self::start`], with exactly these variables in its environment.
    pub fn start_under(binary: &Path, config: &str, env: &[(&str, &str)]) -> Self {
        Self::run(binary, config, &format!("127.0.0.1:{}", free_port()), "", env)
    }

    /// As [`Self::start`], with this gRPC address (`unix:/path` too) and further lines of the section `grpc`.
    pub fn start_at(binary: &Path, config: &str, listen: &str, grpc: &str) -> Self {
        Self::run(binary, config, listen, grpc, &[])
    }

    fn run(binary: &Path, config: &str, listen: &str, grpc: &str, env: &[(&str, &str)]) -> Self {
        let http = free_port();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yml");
        let section = format!("grpc:\n  listen: \"{listen}\"\n{grpc}");
        fs::write(&file, format!("listen: \"127.0.0.1:{http}\"\n{section}{config}")).unwrap();
        let binary = binary.canonicalize().expect("the elastauth binary");
        let mut command = Command::new(binary);
        command.env_clear().envs(env.iter().copied()).arg("--config").arg(&file).current_dir(folder.path());
        let process = Process::start("elastauth", &mut command);
        process.wait_for_line(0, &["elastauth serves"]);
        Self { grpc: listen.to_owned(), http: format!("http://127.0.0.1:{http}"), process, _folder: folder }
    }
}

/// A configuration for these servers; `cache` is the YAML of the section `cache`.
#[must_use]
pub fn config(issuer: &str, elasticsearch: &str, cache: &str) -> String {
    let (user, password) = crate::elasticsearch::ADMIN;
    format!(
        "oidc:\n  issuer: \"{issuer}\"\n  client_id: elastauth\n\
         cache:\n{cache}\n\
         elasticsearch:\n  hosts: [\"{elasticsearch}\"]\n  username: {user}\n  password: {password}\n\
         secret_key: \"{}\"\n\
         group_mappings:\n  Admins: [kibana_admin, monitoring_user]\n  developers: [kibana_user, dev]\n\
         log_level: debug\n",
        "0123456789abcdef".repeat(4)
    )
}

/// The same for callers that are named by headers; `provider` is the YAML of the section `authelia`.
#[must_use]
pub fn headers_config(elasticsearch: &str, provider: &str) -> String {
    let tokens = config("", elasticsearch, "  type: memory");
    let rest = &tokens[tokens.find("cache:").unwrap()..];
    format!("auth_provider: authelia\nauthelia:\n{provider}\n{rest}")
}

/// The `cache` section for a Redis that a test started.
#[must_use]
pub fn redis_cache(address: &str) -> String {
    format!("  type: redis\n  redis_host: \"{address}\"\n  redis_password: {REDIS_PASSWORD}")
}
