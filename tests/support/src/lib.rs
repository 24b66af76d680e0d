//! Servers, stand-ins and helpers for the tests and the demonstration. Never part of the shipped binary.
//!
//! Real servers are real processes ([`process`], [`servers`]). Stand-ins replace what is not available to every build: an
//! [`issuer`] and an [`elasticsearch`] that answers as the real one does and keeps a history of every write.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::missing_panics_doc, reason = "everything here panics when something is wrong")]

use std::time::Duration;

pub mod authelia;
pub mod browser;
pub mod certificates;
pub mod check;
pub mod chromium;
pub mod collector;
pub mod elasticsearch;
pub mod envoy;
pub mod faults;
pub mod files;
pub mod fixture;
pub mod fleets;
pub mod gateway;
pub mod issuer;
pub mod kibana;
pub mod load;
pub mod process;
pub mod providers;
pub mod proxy;
pub mod puts;
pub mod random;
pub mod reports;
pub mod resp;
pub mod scripted_provider;
pub mod secrets;
pub mod servers;
pub mod specification;
pub mod upstream;
pub mod users;
pub mod web;
pub mod webdriver;
pub mod yaml;

/// An HTTP client that uses no proxy, follows no redirect and gives up after 20 s.
#[must_use]
pub fn http() -> reqwest::Client {
    http_patient(Duration::from_secs(20))
}

/// The same with another patience.
#[must_use]
pub fn http_patient(patience: Duration) -> reqwest::Client {
    client(patience).build().unwrap()
}

/// The same as [`http`], but it trusts this authority alone, and `host` is this machine for it.
#[must_use]
pub fn https(authority: &certificates::Authority, host: &str) -> reqwest::Client {
    let trusted = reqwest::Certificate::from_pem(authority.pem.as_bytes()).unwrap();
    let this_machine = ([127, 0, 0, 1], 0).into();
    client(Duration::from_secs(20)).tls_certs_only([trusted]).resolve(host, this_machine).build().unwrap()
}

fn client(patience: Duration) -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(patience)
}
