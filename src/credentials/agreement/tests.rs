//! The loop, without store and Elasticsearch.

mod order;
mod stamps;
