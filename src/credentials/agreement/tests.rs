//! The loop, without store and Elasticsearch.

mod model;
mod order;
