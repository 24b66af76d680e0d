//! The broker over stores and an Elasticsearch in memory, in paused time.

mod admission;
mod bench;
mod clusters;
mod headers;
mod maintenance;
mod roles;
mod speed;
