//! The broker over stores and an Elasticsearch in memory, in paused time.

mod admission;
mod availability;
mod clusters;
mod deployment;
mod headers;
mod hint;
mod maintenance;
mod roles;
mod speed;
