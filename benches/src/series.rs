//! What is measured: each series is a server and a message, and a run of it gives CPU and time for each check.

use std::path::{Path, PathBuf};
use std::process::Command;

use elastauth_support::check::{Answer, Checker};
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::issuer::Issuer;
use elastauth_support::process::Process;
use elastauth_support::servers::{Elastauth, config};

use crate::load::{self, Run};
use crate::messages;

/// One line of the report.
pub struct Series {
    /// What is asked of whom.
    pub name: String,
    /// The series that it is divided by.
    pub base: &'static str,
    /// The most that the quotient may be, if anything was promised.
    pub target: Option<f64>,
    address: String,
    pid: u32,
    message: Vec<u8>,
    count: u32,
}

impl Series {
    /// Divided by this series instead of the floor.
    pub fn over(self, base: &'static str) -> Self {
        Self { base, ..self }
    }

    /// Sends the messages.
    pub fn run(&self, folder: &Path) -> Run {
        load::checks(&self.address, &self.message, self.count, self.pid, folder)
    }
}

/// The floor server, or its lean twin.
pub struct Constant {
    process: Process,
    address: String,
}

impl Constant {
    /// Starts `floor` or `lean`.
    pub fn start(bins: &Path, name: &str) -> Self {
        let process = Process::start(name, &mut Command::new(bins.join(name)));
        let line = process.wait_for_line(0, &["serves on"]);
        let address = line.rsplit(' ').next().expect("an address").to_owned();
        Self { process, address }
    }

    /// Its series.
    pub fn series(&self, name: &str, message: Vec<u8>, count: u32) -> Series {
        let (name, address) = (name.to_owned(), self.address.clone());
        Series { name, base: "floor", target: None, address, pid: self.process.id(), message, count }
    }
}

/// What elastauth needs around it.
pub struct World {
    /// Signs tokens.
    pub issuer: Issuer,
    /// Holds the users.
    pub elasticsearch: Elasticsearch,
    bins: PathBuf,
}

impl World {
    /// Starts the stand-ins.
    pub async fn start(bins: &Path) -> Self {
        Self { issuer: Issuer::start().await, elasticsearch: Elasticsearch::start().await, bins: bins.to_owned() }
    }

    /// An elastauth with this `cache` section and more lines.
    pub fn elastauth(&self, cache: &str, more: &str) -> Elastauth {
        let yaml =
            config(&self.issuer.url, &self.elasticsearch.url, cache).replace("log_level: debug", "log_level: info");
        Elastauth::start(&self.bins.join("elastauth"), &format!("{yaml}{more}"))
    }

    /// The message of ann's token; she must be let through.
    pub async fn ann(&self, elastauth: &Elastauth, headers: usize) -> Vec<u8> {
        let message = messages::check(&self.issuer.token("ann", &["admins"]), headers);
        let reply = Checker::connect(&elastauth.grpc).await.check(message.clone()).await.expect("a reply");
        assert!(Answer::read(&reply).password().is_some(), "ann is let through");
        message
    }
}

/// A series of elastauth's.
pub fn of(elastauth: &Elastauth, name: &str, message: Vec<u8>, count: u32, target: Option<f64>) -> Series {
    let (address, pid) = (elastauth.grpc.clone(), elastauth.process.id());
    Series { name: name.to_owned(), base: "floor", target, address, pid, message, count }
}
