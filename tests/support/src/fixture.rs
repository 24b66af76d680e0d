//! Starts what nearly every test of the whole program needs: an issuer, an Elasticsearch, and an elastauth that uses both.

use std::path::Path;

use crate::check::Checker;
use crate::elasticsearch::Elasticsearch;
use crate::issuer::Issuer;
use crate::process::free_port;
use crate::servers::{Elastauth, config};

/// The path of the elastauth that this build made. It is a macro, because cargo sets the variable for tests of the same package
/// only.
#[macro_export]
macro_rules! elastauth {
    () => {
        ::std::path::Path::new(env!("CARGO_BIN_EXE_elastauth"))
    };
}

/// An elastauth, the issuer and the Elasticsearch that it uses, and a client of its gRPC port.
pub struct Fixture {
    /// The issuer that signs the tokens of the test.
    pub issuer: Issuer,
    /// The stand-in for Elasticsearch, which holds the users.
    pub elasticsearch: Elasticsearch,
    /// The process that the test examines.
    pub elastauth: Elastauth,
    /// A client that sends Checks to it, as Envoy does.
    pub checker: Checker,
}

impl Fixture {
    /// Starts elastauth with its cache in memory; `edit` may change the configuration.
    pub async fn start(binary: &Path, edit: impl FnOnce(String) -> String) -> Self {
        Self::start_with(binary, "", edit).await
    }

    /// As [`Self::start`], with further lines of the section `grpc`.
    pub async fn start_with(binary: &Path, grpc: &str, edit: impl FnOnce(String) -> String) -> Self {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let yaml = edit(config(&issuer.url, &elasticsearch.url, "  type: memory"));
        let listen = format!("127.0.0.1:{}", free_port());
        let elastauth = Elastauth::start_at(binary, &yaml, &listen, grpc);
        let checker = Checker::connect(&elastauth.grpc).await;
        Self { issuer, elasticsearch, elastauth, checker }
    }
}

/// Starts an elastauth with this configuration and connects a client to its gRPC port.
pub async fn serve(binary: &Path, yaml: &str) -> (Elastauth, Checker) {
    let elastauth = Elastauth::start(binary, yaml);
    let checker = Checker::connect(&elastauth.grpc).await;
    (elastauth, checker)
}

/// The configuration with further lines of the section `elasticsearch`.
#[must_use]
pub fn with_elasticsearch(yaml: &str, lines: &str) -> String {
    yaml.replace("  username: prov", &format!("{lines}  username: prov"))
}
