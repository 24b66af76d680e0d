//! The broker over stores and an Elasticsearch in memory, in paused time.

mod admission;
mod bench;
mod headers;
mod speed;
mod upkeep;
