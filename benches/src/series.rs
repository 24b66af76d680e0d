//! Defines what is measured: each series is a server and a message, and a run of it gives CPU and time for each check.

use std::path::{Path, PathBuf};
use std::process::Command;

use elastauth_bench::messages;
use elastauth_support::check::{Answer, Checker};
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::envoy::{Envoy, exchange};
use elastauth_support::issuer::Issuer;
use elastauth_support::process::Process;
use elastauth_support::servers::{Elastauth, config};

use crate::load::{self, Ask, Run};

/// The number of checks in one run: long enough for the kernel's accounting, short enough that a disturbance affects few of them.
const COUNT: u32 = 20_000;
/// The same for series in which each check needs a signature or a round trip.
const FEWER: u32 = 5_000;

/// A series that is measured, and becomes one line of the report.
pub struct Series {
    /// Which message is sent to which server.
    pub name: String,
    /// The name of the series that these figures are divided by.
    pub base: &'static str,
    /// The ratio that is promised; empty when none is.
    pub target: &'static str,
    address: String,
    pids: Vec<u32>,
    ask: Ask,
    count: u32,
}

impl Series {
    /// Divides the figures by those of this series, instead of the floor's.
    pub fn over(self, base: &'static str) -> Self {
        Self { base, ..self }
    }

    /// Sets the ratio that is promised.
    pub fn target(self, target: &'static str) -> Self {
        Self { target, ..self }
    }

    /// Sends [`FEWER`] checks in a run.
    pub fn fewer(self) -> Self {
        Self { count: FEWER, ..self }
    }

    /// The id of the server's process.
    pub fn pid(&self) -> u32 {
        self.pids[self.pids.len() - 1]
    }

    /// Sends the messages of one run and measures it.
    pub fn run(&self, folder: &Path) -> Run {
        load::send(&self.address, &self.ask, self.count, &self.pids, folder)
    }
}

/// A series of checks that are sent straight to a server.
pub fn checks(server: &impl Server, name: &str, message: &[u8]) -> Series {
    let (address, pids, ask) = (server.address().to_owned(), vec![server.pid()], Ask::Check(message.to_owned()));
    Series { name: name.to_owned(), base: "floor", target: "", address, pids, ask, count: COUNT }
}

/// A series of requests through an Envoy, which asks this server.
pub fn requests(envoy: &Envoy, server: &impl Server, name: &str, token: &str) -> Series {
    let address = envoy.url.trim_start_matches("http://").to_owned();
    let (pids, ask) = (vec![envoy.process.id(), server.pid()], Ask::Request(messages::browser(token)));
    Series { name: name.to_owned(), base: "Envoy and the floor", target: "", address, pids, ask, count: COUNT }
}

/// A running server that answers checks.
pub trait Server {
    /// The address of its gRPC port, as `host:port`.
    fn address(&self) -> &str;
    /// The id of its process.
    fn pid(&self) -> u32;
}

impl Server for Elastauth {
    fn address(&self) -> &str {
        &self.grpc
    }

    fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Server for Constant {
    fn address(&self) -> &str {
        &self.address
    }

    fn pid(&self) -> u32 {
        self.process.id()
    }
}

/// Starts an Envoy with the shipped file, except that it answers by itself what is let through. It has one worker, so that only
/// the call of the server differs between series. `asks` is false for an Envoy that does not call the server.
pub async fn envoy(server: &impl Server, asks: bool) -> Envoy {
    let answer = "direct_response: { status: 200 }";
    let silent = "direct_response: { status: 200 }\n                typed_per_filter_config: { envoy.filters.http.ext_authz: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute, disabled: true } }";
    let edit =
        |text| exchange(text, "route: { cluster: elasticsearch, timeout: 0s }", if asks { answer } else { silent });
    Envoy::start_edited(&[server.address()], "http://127.0.0.1:1", edit).await.expect("an Envoy")
}

/// A running floor server, or its lean twin.
pub struct Constant {
    process: Process,
    address: String,
}

impl Constant {
    /// Starts the program `name`, which is `floor` or `lean`.
    pub fn start(bins: &Path, name: &str) -> Self {
        let process = Process::start(name, &mut Command::new(bins.join(name)));
        let line = process.wait_for_line(0, &["serves on"]);
        let address = line.rsplit(' ').next().expect("an address").to_owned();
        Self { process, address }
    }
}

/// The stand-ins that elastauth needs, and the folder of the programs.
pub struct World {
    /// The issuer that signs the tokens.
    pub issuer: Issuer,
    /// The stand-in for Elasticsearch, which holds the users.
    pub elasticsearch: Elasticsearch,
    bins: PathBuf,
}

impl World {
    /// Starts the stand-ins; the programs are in the folder `bins`.
    pub async fn start(bins: &Path) -> Self {
        Self { issuer: Issuer::start().await, elasticsearch: Elasticsearch::start().await, bins: bins.to_owned() }
    }

    /// Starts an elastauth with this `cache` section and further lines of configuration.
    pub fn elastauth(&self, cache: &str, more: &str) -> Elastauth {
        let yaml =
            config(&self.issuer.url, &self.elasticsearch.url, cache).replace("log_level: debug", "log_level: info");
        Elastauth::start(&self.bins.join("elastauth"), &format!("{yaml}{more}"))
    }

    /// Sends the message once, which must be let through; the same message is a hit afterwards.
    pub async fn lets_through(&self, elastauth: &Elastauth, message: &[u8]) {
        let reply = Checker::connect(&elastauth.grpc).await.check(message.to_vec()).await.expect("a reply");
        assert!(Answer::read(&reply).password().is_some(), "ann is let through");
    }
}
