//! The record that replicas agree on for each user, and its format in the store.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

use super::agreement::Standing;
use super::{Cluster, Password};
use crate::digest::Digest;
use crate::identity::{Millis, Owner};
use crate::roles::{Roles, Version};

/// The replica that holds a record's lease: a random number, one for each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseHolder(pub u128);

/// The state of a record, from pending to confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// No write of the record is known to be acknowledged: Elasticsearch may not have it.
    Pending {
        /// The replica that may write the user for as long as the lease lasts.
        // the name of the field in the store, where records of other releases are
        #[serde(rename = "claim")]
        holder: LeaseHolder,
        /// The record changed after its holder read it: the holder writes once more.
        again: bool,
        /// Elasticsearch has this password already: the roles and the stamp alone are to be written.
        password_known: bool,
    },
    /// Elasticsearch acknowledged a write of the record.
    Ready,
    /// And Elasticsearch accepted the password later, when no earlier write could be applied any more.
    Confirmed,
}

impl Phase {
    /// Whether a write of the record was acknowledged.
    #[must_use]
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Confirmed)
    }
}

/// One user's agreed credential. The password of a record never changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Whether its write is pending, acknowledged or confirmed.
    pub phase: Phase,
    /// The password on which the replicas agreed.
    pub password: Password,
    /// The roles on which the replicas agreed.
    pub roles: Roles,
    /// When the roles were true.
    pub as_of: Millis,
    /// The configuration that mapped the user's groups to the roles.
    pub mapping: Version,
    /// The subject to which the username belongs.
    pub owner: Owner,
    /// When the password was generated, by the clock of the process that did.
    pub born: Millis,
}

impl Record {
    /// The same record in another phase.
    #[must_use]
    pub fn in_phase(&self, phase: Phase) -> Self {
        Self { phase, ..self.clone() }
    }

    /// The record's statement about the user's roles.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing { mapping: self.mapping, as_of: self.as_of, roles: self.roles.clone() }
    }

    /// The same record with other roles.
    #[must_use]
    pub fn with_standing(self, Standing { mapping, as_of, roles }: Standing) -> Self {
        Self { roles, as_of, mapping, ..self }
    }

    /// Whether this replica holds the lease, which may have expired.
    #[must_use]
    pub fn is_leased_by(&self, me: LeaseHolder) -> bool {
        matches!(self.phase, Phase::Pending { holder, .. } if holder == me)
    }
}

/// A record with the life that the store was given for it: the age of a lease is that life less what remains of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The record that was written.
    pub record: Record,
    /// The life that the store was given when it was written.
    pub life: Duration,
    /// The age of the phase at that time: zero, unless the record's life was extended.
    pub aged: Duration,
    /// The Elasticsearch cluster that has the user.
    pub cluster: Cluster,
}

/// The sealed content. Fields that a later release adds are ignored; those that an earlier one lacks have defaults. So replicas
/// of two releases can share a store.
#[derive(Serialize, Deserialize)]
struct Plain {
    phase: Phase,
    password: String,
    roles: Vec<String>,
    as_of: Millis,
    issuer: String,
    subject: String,
    born: Millis,
    life_ms: u64,
    aged_ms: u64,
    #[serde(default)]
    mapping: u64,
    #[serde(default)]
    mapping_since: Millis,
    #[serde(default)]
    cluster_uuid: Option<String>,
    #[serde(default)]
    hosts: Option<u64>,
}

impl Written {
    /// The bytes to seal.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        let record = &self.record;
        let plain = Plain {
            phase: record.phase,
            password: record.password.expose().to_owned(),
            roles: record.roles.iter().map(str::to_owned).collect(),
            as_of: record.as_of,
            issuer: record.owner.issuer.to_string(),
            subject: record.owner.subject.to_string(),
            born: record.born,
            life_ms: millis(self.life),
            aged_ms: millis(self.aged),
            mapping: record.mapping.digest.0,
            mapping_since: record.mapping.since,
            cluster_uuid: self.cluster.uuid.as_deref().map(str::to_owned),
            hosts: self.cluster.hosts.map(|hosts| hosts.0),
        };
        serde_json::to_vec(&plain).map(Zeroizing::new)
    }

    /// Reads the bytes that a seal protected.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let plain: Plain = serde_json::from_slice(bytes)?;
        let owner = Owner { issuer: Arc::from(plain.issuer), subject: Arc::from(plain.subject) };
        let record = Record {
            phase: plain.phase,
            password: Password::known(plain.password),
            roles: Roles::new(plain.roles),
            as_of: plain.as_of,
            mapping: Version { since: plain.mapping_since, digest: Digest(plain.mapping) },
            owner,
            born: plain.born,
        };
        let cluster = Cluster { uuid: plain.cluster_uuid.map(Arc::from), hosts: plain.hosts.map(Digest) };
        let (life, aged) = (Duration::from_millis(plain.life_ms), Duration::from_millis(plain.aged_ms));
        Ok(Self { record, life, aged, cluster })
    }

    /// How long the phase has lasted, by the store's clock alone. No record has more life left than it was given: one that has
    /// was restored, or the clock was set back, and it counts as old.
    #[must_use]
    pub fn age(&self, remaining: Duration) -> Duration {
        self.life.checked_sub(remaining).map_or(Duration::MAX, |age| age.saturating_add(self.aged))
    }
}

/// Rounded up: a store may keep a life more exactly, and a record with more life left than it was given counts as restored.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(phase: Phase) -> Record {
        Record {
            phase,
            password: Password::generate().unwrap(),
            roles: Roles::new(["b", "a"]),
            as_of: 7,
            mapping: Version { since: 3, digest: Digest(u64::MAX) },
            owner: Owner { issuer: "https://i".into(), subject: "s".into() },
            born: 9,
        }
    }

    fn cluster() -> Cluster {
        Cluster { uuid: Some("u".into()), hosts: Some(Digest(u64::MAX)) }
    }

    #[test]
    fn the_age_is_the_part_of_the_life_that_has_passed_and_unknown_means_old() {
        let second = Duration::from_secs;
        let written = Written { record: record(Phase::Ready), life: second(100), aged: second(5), cluster: cluster() };
        assert_eq!(written.age(second(100)), second(5));
        assert_eq!(written.age(second(70)), second(35));
        assert_eq!(written.age(second(101)), Duration::MAX);
    }

    #[test]
    fn a_record_read_straight_after_its_write_is_not_taken_for_a_restored_one() {
        let life = Duration::from_micros(3_599_000_700);
        let record = record(Phase::Ready);
        let written = Written { record, life, aged: Duration::ZERO, cluster: cluster() };
        let read = Written::decode(&written.encode().unwrap()).unwrap();
        assert!(read.age(life.saturating_sub(Duration::from_nanos(1))) < Duration::from_millis(1));
    }

    #[test]
    fn a_record_survives_the_round_trip() {
        for phase in [
            Phase::Ready,
            Phase::Confirmed,
            Phase::Pending { holder: LeaseHolder(u128::MAX), again: true, password_known: false },
        ] {
            let (record, life, aged) = (record(phase), Duration::from_millis(1234), Duration::from_millis(5));
            let written = Written { record, life, aged, cluster: cluster() };
            assert_eq!(Written::decode(&written.encode().unwrap()).unwrap(), written);
        }
    }

    #[test]
    fn the_names_of_the_stored_phase_never_change() {
        for (phase, stored) in [
            (Phase::Ready, r#""Ready""#),
            (Phase::Confirmed, r#""Confirmed""#),
            (
                Phase::Pending { holder: LeaseHolder(5), again: true, password_known: false },
                r#"{"Pending":{"claim":5,"again":true,"password_known":false}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&phase).unwrap(), stored);
            assert_eq!(serde_json::from_str::<Phase>(stored).unwrap(), phase);
        }
    }

    #[test]
    fn a_record_of_another_release_is_read_as_far_as_it_is_known() {
        let (record, life, aged) = (record(Phase::Ready), Duration::from_millis(1234), Duration::from_millis(5));
        let written = Written { record, life, aged, cluster: cluster() };
        let mut plain: serde_json::Value = serde_json::from_slice(&written.encode().unwrap()).unwrap();
        plain["of_a_later_release"] = serde_json::json!({ "x": [1] });
        let read = |plain: &serde_json::Value| Written::decode(plain.to_string().as_bytes()).unwrap();
        assert_eq!(read(&plain), written, "what a later release adds is ignored");
        for added in ["of_a_later_release", "mapping", "mapping_since", "cluster_uuid", "hosts"] {
            plain.as_object_mut().unwrap().remove(added);
        }
        let of_old = read(&plain);
        assert_eq!((of_old.record.mapping, of_old.cluster), (Version::default(), Cluster::default()));
        assert_eq!(of_old.record.password, written.record.password);
    }
}
