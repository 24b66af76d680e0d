//! Checks the agreement of replicas with the model checker `stateright`: the production code of the state machine
//! (`elastauth::credentials::agreement`), every interleaving of two or three replicas, and every fault at any moment.
//!
//! - [`record`] and [`machine`] represent the production code in small numbers: each step of it is executed once and remembered,
//!   so that millions of states fit into half a minute.
//! - [`world`] is the store, Elasticsearch, the replicas and the time; [`transitions`] lists what may happen next, and
//!   [`effects`] computes the state after it.
//! - [`rules`] has the properties that must hold, and [`cycles`] the search for schedules without an end.
//!
//! [`refresh`] does the same for the refresh of sessions' tokens.
//!
//! The model leaves out the limits on confirmations, the near cache, and the memory of refusals, which have tests of their own.
//! Time is coarse: a lease expires when its holder is gone, or as a fault ([`Faults::pauses`]); the settling time passes when no
//! PUT is on its way.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod cycles;
pub mod effects;
pub mod machine;
pub mod record;
pub mod refresh;
pub mod rules;
pub mod transitions;
pub mod world;

pub use world::{Faults, Request, Setup};
