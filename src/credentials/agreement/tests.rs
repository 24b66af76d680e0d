//! Tests of the state machine, without a store and Elasticsearch.

mod order;
mod stamps;
