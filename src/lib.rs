//! elastauth: single sign-on for Elasticsearch and Kibana behind Envoy.
//!
//! ```text
//! Envoy ──CheckRequest──▶ envoy ──Request──▶ authz ─┬─▶ identity     token             ─▶ Identity
//!                           ▲                       ├─▶ roles        groups            ─▶ Roles
//!                           │                       └─▶ credentials  Identity + Roles  ─▶ Credential
//!                           └───────── Decision ◀────┘        │
//!                                                             ├─ near         (this process)
//!                                                             ├─ Store        (Redis | file | memory)
//!                                                             └─ Provisioner  (Elasticsearch | OpenSearch)
//! ```
//!
//! Data flows one way, and each type is built by one stage only. Who may import whom (held by
//! `tests/layers.rs`):
//!
//! - the middle ([`authz`], [`identity`], [`roles`], [`credentials`], [`users`]) knows no tonic, prost, reqwest, redis
//!   or axum;
//! - the edges ([`envoy`], [`http`], [`oidc`], [`redis`], [`memory`], [`mod@file`], [`elastic`], [`opensearch`]) never import one another;
//! - [`inbound`] binds the ports of the edges that listen and bounds their connections; [`outbound`] is the HTTP client that
//!   edges share, and [`cluster_client`] and `native_user` are what the back ends for Elasticsearch and OpenSearch share beyond that; [`metrics`] is what
//!   edges count in; they know none of the edges;
//! - [`mod@printable`] makes text from elsewhere safe to show, for logs and for commands;
//! - [`mod@digest`] tells configurations and addresses apart, for every part;
//! - `kept` and `sweep` bound what any part keeps in memory;
//! - spans are made wherever something takes time, by `spans`; what they are exported by is known to [`telemetry`] alone, and
//!   to the edge that reads Envoy's span off a call;
//! - [`app`] is the composition root: the only file that names concrete edge types;
//! - only `main` and [`app`] import [`config`]; every part owns its own `Settings`.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking"))]

pub mod app;
pub mod authz;
mod bounded_cache;
mod clock;
pub mod cluster_client;
pub mod config;
pub mod credentials;
pub mod digest;
pub mod elastic;
pub mod envoy;
pub mod file;
pub mod flavor;
pub mod http;
pub mod identity;
pub mod inbound;
pub mod memory;
pub mod metrics;
mod native_user;
pub mod oidc;
pub mod opensearch;
pub mod outbound;
pub mod printable;
pub mod redis;
pub mod roles;
pub mod shutdown;
mod spans;
mod sweep;
pub mod telemetry;
pub mod users;
