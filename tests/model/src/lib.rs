//! The agreement of replicas under the model checker `stateright`: the production code of the loop
//! (`elastauth::credentials::agreement`), every interleaving of two or three replicas, and everything that may go wrong at
//! any moment.
//!
//! - [`record`] and [`loops`] turn the production code into small numbers: each step of it is run once and remembered, so
//!   that millions of states fit into half a minute.
//! - [`world`] is the store, Elasticsearch, the replicas and the time; [`turns`] is what may happen next, and [`act`] what
//!   comes of it.
//! - [`rules`] is the table "What must hold" as properties, and [`cycles`] the search for schedules without an end.
//!
//! What the model leaves out: the confirmation's bounds, the near cache, and the memory of refusals, which have tests of their
//! own. Time is coarse: a claim's time passes when its holder is gone, or as a fault ([`Faults::pauses`]); the settling time
//! passes when no PUT is on its way.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod act;
pub mod cycles;
pub mod loops;
pub mod record;
pub mod rules;
pub mod turns;
pub mod world;

pub use world::{Faults, Request, Setup};
