//! What nearly every test of the whole program begins with: an issuer, an Elasticsearch, and an elastauth that uses both.

use std::path::Path;

use crate::check::Checker;
use crate::elasticsearch::Elasticsearch;
use crate::issuer::Issuer;
use crate::process::free_port;
use crate::servers::{Elastauth, config};

/// The program of this build. A macro, because cargo names it to the tests of its own package only.
#[macro_export]
macro_rules! elastauth {
    () => {
        ::std::path::Path::new(env!("CARGO_BIN_EXE_elastauth"))
    };
}

/// An issuer of tokens and an Elasticsearch.
pub struct Services {
    /// Signs tokens.
    pub issuer: Issuer,
    /// Has the users.
    pub elasticsearch: Elasticsearch,
}

impl Services {
    /// Starts both.
    pub async fn start() -> Self {
        Self { issuer: Issuer::start().await, elasticsearch: Elasticsearch::start().await }
    }

    /// A configuration for them; `cache` is the YAML of that section.
    #[must_use]
    pub fn config(&self, cache: &str) -> String {
        config(&self.issuer.url, &self.elasticsearch.url, cache)
    }
}

/// An elastauth, the services that it uses, and a client of its gRPC port.
pub struct Fixture {
    /// Signs tokens.
    pub issuer: Issuer,
    /// Has the users.
    pub elasticsearch: Elasticsearch,
    /// What is tested.
    pub elastauth: Elastauth,
    /// Asks it as Envoy does.
    pub checker: Checker,
}

impl Fixture {
    /// With the cache in memory, after this change of the configuration.
    pub async fn start(binary: &Path, edit: impl FnOnce(String) -> String) -> Self {
        Self::start_with(binary, "", edit).await
    }

    /// The same with more lines of the section `grpc`.
    pub async fn start_with(binary: &Path, grpc: &str, edit: impl FnOnce(String) -> String) -> Self {
        let services = Services::start().await;
        let yaml = edit(services.config("  type: memory"));
        let listen = format!("127.0.0.1:{}", free_port());
        let elastauth = Elastauth::start_at(binary, &yaml, &listen, grpc);
        let checker = Checker::connect(&elastauth.grpc).await;
        let Services { issuer, elasticsearch } = services;
        Self { issuer, elasticsearch, elastauth, checker }
    }
}

/// Starts an elastauth and a client of its gRPC port.
pub async fn serve(binary: &Path, yaml: &str) -> (Elastauth, Checker) {
    let elastauth = Elastauth::start(binary, yaml);
    let checker = Checker::connect(&elastauth.grpc).await;
    (elastauth, checker)
}

/// The configuration with more lines of the section `elasticsearch`.
#[must_use]
pub fn with_elasticsearch(yaml: &str, lines: &str) -> String {
    yaml.replace("  username: prov", &format!("{lines}  username: prov"))
}
