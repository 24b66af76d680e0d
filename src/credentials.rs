//! Gives each Elasticsearch user one password, on which any number of replicas agree.
//!
//! The order is: agree in the store first, write to Elasticsearch after, and only then hand out. Nearly every request is
//! answered by the near cache before any of this.
//!
//! ```text
//! Caller ──▶ broker ─┬─▶ near_cache ◀── invalidation ◀── Store reports changes
//!                    ├─▶ timed_store ─▶ Store            record, sealed (seal)
//!                    └─▶ run ── agreement (step) ──────▶ Provisioner
//! ```
//!
//! | file | what it is for |
//! |---|---|
//! | [`broker`] | the way of a request: near cache, store, run of the protocol; background maintenance; `elastauth explain` |
//! | [`agreement`] | the protocol by which replicas agree, as a pure state machine |
//! | [`record`], `stored`, [`seal`] | what replicas agree on; as the store holds it; how it is encrypted |
//! | [`durable_copy`] | the sealed password that is kept with the user in Elasticsearch |
//! | [`near_cache`], `invalidation` | this process's cache of credentials; the store's reports of changes that keep it true |
//! | `schedule` | when a record in use is next extended, confirmed, sealed anew and touched |
//! | `single_flight`, `admission` | one run for each user at a time; a bound on how many users are written at once |
//! | `store`, `provisioner` | the seams: where replicas agree, and where users are made |
//! | `timed_store` | the store with a span and a longest time for each operation |
//! | `caller`, `request_context`, `settings` | what goes in: a caller with its roles; a request's id and trace; times and bounds |
//! | `credential`, [`password`] | what comes out: the credential that Envoy injects, and its generated password |
//! | `user`, `cluster`, `key`, `day` | a user as it is to be and as it is found; a record's cluster; its name; a date |
//! | [`purge`] | removing records that no key opens, for `elastauth cache purge` |

mod admission;
pub mod agreement;
pub mod broker;
mod caller;
mod cluster;
mod credential;
mod day;
pub mod durable_copy;
mod invalidation;
mod key;
pub mod near_cache;
pub mod password;
mod provisioner;
pub mod purge;
pub mod record;
mod request_context;
mod schedule;
pub mod seal;
mod settings;
mod single_flight;
mod store;
mod stored;
mod timed_store;
mod user;

pub use admission::{Busy, Throughput};
pub use caller::Caller;
pub use cluster::{Belongs, Cluster};
pub use credential::{Credential, Obtained, Source};
pub use day::Day;
pub use durable_copy::{DurableCopy, SealedCopy};
pub use invalidation::Invalidations;
pub(crate) use invalidation::ReadVersion;
pub use key::CacheKey;
pub use password::Password;
pub use provisioner::{BackendStatus, InspectError, Login, Provisioner, Refused, WriteError};
pub(crate) use provisioner::{OUTCOMES, outcome};
pub use request_context::RequestContext;
pub use settings::Settings;
pub(crate) use single_flight::SingleFlight;
pub use store::{Cursor, Entry, Keys, MAX_RECORD, Replaced, Store, StoreError};
pub(crate) use timed_store::TimedStore;
pub use user::{Existing, OtherWriter, Ours, StoreName, UserSpec};
