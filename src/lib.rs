//! elastauth: single sign-on for Elasticsearch and Kibana behind Envoy.
//!
//! ```text
//! Envoy ──CheckRequest──▶ envoy ──Request──▶ authz ─┬─▶ identity     token, headers    ─▶ Identity
//!                           ▲                       ├─▶ login        session cookie    ─▶ Identity, or a page
//!                           │                       ├─▶ roles        groups            ─▶ Roles
//!                           │                       └─▶ credentials  Identity + Roles  ─▶ Credential
//!                           └───────── Decision ◀────┘        │
//!                                                             ├─ near cache   (this process)
//!                                                             ├─ Store        (Redis | file | memory)
//!                                                             └─ Provisioner  (Elasticsearch | OpenSearch)
//! ```
//!
//! Data flows one way, and each type is built by one stage only. `docs/architecture.md` follows a request through the files, says
//! where a change goes, and lists every file. Which module imports which is held by `tests/layers.rs`:
//!
//! - The middle ([`authz`], [`identity`], [`login`], [`roles`], [`credentials`], [`users`]) decides, and knows no tonic, prost, reqwest,
//!   redis or axum.
//! - The edges ([`envoy`], [`http`], [`oidc`], [`redis`], [`memory`], [`mod@file`], [`elastic`], [`opensearch`]) speak with other
//!   systems and never import one another.
//! - What edges share knows none of them: [`inbound`] binds ports and bounds their connections, [`outbound`] is the HTTP client,
//!   [`cluster_client`] sends requests to the nodes of a cluster, `native_user` is what both back ends write with a user, [`flavor`]
//!   tells the back ends apart, [`metrics`] counts.
//! - Small modules are for every part: [`mod@printable`] makes text from elsewhere safe to show, [`mod@digest`] tells configurations
//!   and addresses apart, [`mod@cookies`] reads cookies and takes them out, `random` gives random bytes, `bounded_cache` and `sweep`
//!   bound what is kept in memory, `clock` counts milliseconds, `spans` makes the spans that [`telemetry`] exports.
//! - [`app`] is the composition root: the only module that names concrete edge types. Only `main` and [`app`] import [`config`];
//!   every part owns its own `Settings`. [`shutdown`] ends the process.
//!
//! Files within a module import downwards only: no two files use each other.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking"))]

pub mod app;
pub mod authz;
mod bounded_cache;
mod clock;
pub mod cluster_client;
pub mod config;
pub mod cookies;
pub mod credentials;
pub mod digest;
pub mod elastic;
pub mod envoy;
pub mod file;
pub mod flavor;
pub mod http;
pub mod identity;
pub mod inbound;
pub mod login;
pub mod memory;
pub mod metrics;
mod native_user;
pub mod oidc;
pub mod opensearch;
pub mod outbound;
pub mod printable;
mod random;
pub mod redis;
pub mod roles;
pub mod shutdown;
mod spans;
mod sweep;
pub mod telemetry;
pub mod users;
