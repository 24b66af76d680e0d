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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// No write of the record is known to be acknowledged: Elasticsearch may not have it.
    Pending {
        /// The replica that may write the user for as long as the lease lasts.
        holder: LeaseHolder,
        /// The record changed after its holder read it: the holder writes once more.
        again: bool,
        /// Where Elasticsearch has this password already: all roles that earlier records may have given the user there. The
        /// roles and the stamp alone are to be written. None where the password is to be written too.
        in_force: Option<Roles>,
        /// The last attempt to write the record failed, and its holder has given up the lease. Of the record's roles none was
        /// written that is not in `in_force`.
        failed: bool,
    },
    /// Elasticsearch acknowledged a write of the record.
    Ready,
    /// And Elasticsearch accepted the password later, when no earlier write could be applied any more.
    Confirmed,
}

impl Phase {
    /// Whether a write of the record was acknowledged.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready | Self::Confirmed)
    }

    /// Whether Elasticsearch has the record's password: a write of a pending record has the roles and the stamp alone.
    #[must_use]
    pub fn has_password(&self) -> bool {
        !matches!(self, Self::Pending { in_force: None, .. })
    }
}

/// A phase as the store has it. Its names are those of earlier releases, which ignore the fields that they lack.
#[derive(Serialize, Deserialize)]
enum StoredPhase {
    Pending {
        #[serde(rename = "claim")]
        holder: LeaseHolder,
        again: bool,
        password_known: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        in_force: Option<Vec<String>>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        failed: bool,
    },
    Ready,
    Confirmed,
}

impl From<&Phase> for StoredPhase {
    fn from(phase: &Phase) -> Self {
        match phase {
            Phase::Pending { holder, again, in_force, failed } => Self::Pending {
                holder: *holder,
                again: *again,
                password_known: in_force.is_some(),
                in_force: in_force.as_ref().map(|roles| roles.iter().map(str::to_owned).collect()),
                failed: *failed,
            },
            Phase::Ready => Self::Ready,
            Phase::Confirmed => Self::Confirmed,
        }
    }
}

impl From<StoredPhase> for Phase {
    fn from(stored: StoredPhase) -> Self {
        match stored {
            // an earlier release that knows the password does not say which roles are in force: the password is written again
            StoredPhase::Pending { holder, again, password_known, in_force, failed } => {
                Self::Pending { holder, again, in_force: in_force.filter(|_| password_known).map(Roles::new), failed }
            }
            StoredPhase::Ready => Self::Ready,
            StoredPhase::Confirmed => Self::Confirmed,
        }
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

    /// Where Elasticsearch has the record's password: all roles that the user may have there at present. None where the password
    /// may be another one.
    #[must_use]
    pub fn roles_in_force(&self) -> Option<Roles> {
        match &self.phase {
            Phase::Ready | Phase::Confirmed => Some(self.roles.clone()),
            Phase::Pending { in_force, failed: true, .. } => in_force.clone(),
            // the lease holder may be writing at this moment
            Phase::Pending { in_force, failed: false, .. } => in_force.as_ref().map(|roles| roles.union(&self.roles)),
        }
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
    /// The fields that a later release added. They are kept where the record is written again.
    pub unknown: Unknown,
}

/// Fields of a record that this release does not know.
pub type Unknown = serde_json::Map<String, serde_json::Value>;

/// The sealed content. Fields that a later release adds are kept; those that an earlier one lacks have defaults. So replicas of
/// two releases can share a store. A format that this release must not read has another version in its seal.
#[derive(Serialize, Deserialize)]
struct Plain {
    phase: StoredPhase,
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
    #[serde(flatten)]
    unknown: Unknown,
}

impl Written {
    /// The bytes to seal.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        let record = &self.record;
        let plain = Plain {
            phase: (&record.phase).into(),
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
            unknown: self.unknown.clone(),
        };
        serde_json::to_vec(&plain).map(Zeroizing::new)
    }

    /// Reads the bytes that a seal protected.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let plain: Plain = serde_json::from_slice(bytes)?;
        let owner = Owner { issuer: Arc::from(plain.issuer), subject: Arc::from(plain.subject) };
        let record = Record {
            phase: plain.phase.into(),
            password: Password::known(plain.password),
            roles: Roles::new(plain.roles),
            as_of: plain.as_of,
            mapping: Version { since: plain.mapping_since, digest: Digest(plain.mapping) },
            owner,
            born: plain.born,
        };
        let cluster = Cluster { uuid: plain.cluster_uuid.map(Arc::from), hosts: plain.hosts.map(Digest) };
        let (life, aged) = (Duration::from_millis(plain.life_ms), Duration::from_millis(plain.aged_ms));
        Ok(Self { record, life, aged, cluster, unknown: plain.unknown })
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
        let written = Written {
            record: record(Phase::Ready),
            life: second(100),
            aged: second(5),
            cluster: cluster(),
            unknown: Unknown::new(),
        };
        assert_eq!(written.age(second(100)), second(5));
        assert_eq!(written.age(second(70)), second(35));
        assert_eq!(written.age(second(101)), Duration::MAX);
    }

    #[test]
    fn a_record_read_straight_after_its_write_is_not_taken_for_a_restored_one() {
        let life = Duration::from_micros(3_599_000_700);
        let record = record(Phase::Ready);
        let written = Written { record, life, aged: Duration::ZERO, cluster: cluster(), unknown: Unknown::new() };
        let read = Written::decode(&written.encode().unwrap()).unwrap();
        assert!(read.age(life.saturating_sub(Duration::from_nanos(1))) < Duration::from_millis(1));
    }

    #[test]
    fn a_record_survives_the_round_trip() {
        for phase in [
            Phase::Ready,
            Phase::Confirmed,
            Phase::Pending { holder: LeaseHolder(u128::MAX), again: true, in_force: None, failed: false },
            Phase::Pending { holder: LeaseHolder(1), again: false, in_force: Some(Roles::new(["a"])), failed: true },
        ] {
            let (record, life, aged) = (record(phase), Duration::from_millis(1234), Duration::from_millis(5));
            let written = Written { record, life, aged, cluster: cluster(), unknown: Unknown::new() };
            assert_eq!(Written::decode(&written.encode().unwrap()).unwrap(), written);
        }
    }

    #[test]
    fn the_names_of_the_stored_phase_never_change() {
        for (phase, stored) in [
            (Phase::Ready, r#""Ready""#),
            (Phase::Confirmed, r#""Confirmed""#),
            (
                Phase::Pending { holder: LeaseHolder(5), again: true, in_force: None, failed: false },
                r#"{"Pending":{"claim":5,"again":true,"password_known":false}}"#,
            ),
            (
                Phase::Pending {
                    holder: LeaseHolder(5),
                    again: false,
                    in_force: Some(Roles::new(["a"])),
                    failed: true,
                },
                r#"{"Pending":{"claim":5,"again":false,"password_known":true,"in_force":["a"],"failed":true}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&StoredPhase::from(&phase)).unwrap(), stored);
            assert_eq!(Phase::from(serde_json::from_str::<StoredPhase>(stored).unwrap()), phase);
        }
        let earlier = r#"{"Pending":{"claim":5,"again":false,"password_known":true}}"#;
        let read = Phase::from(serde_json::from_str::<StoredPhase>(earlier).unwrap());
        assert_eq!(read, Phase::Pending { holder: LeaseHolder(5), again: false, in_force: None, failed: false });
    }

    #[test]
    fn a_record_of_another_release_is_read_as_far_as_it_is_known() {
        let (record, life, aged) = (record(Phase::Ready), Duration::from_millis(1234), Duration::from_millis(5));
        let written = Written { record, life, aged, cluster: cluster(), unknown: Unknown::new() };
        let mut plain: serde_json::Value = serde_json::from_slice(&written.encode().unwrap()).unwrap();
        plain["of_a_later_release"] = serde_json::json!({ "x": [1] });
        let read = |plain: &serde_json::Value| Written::decode(plain.to_string().as_bytes()).unwrap();
        let later = read(&plain);
        assert_eq!((&later.record, later.unknown.len()), (&written.record, 1));
        let again: serde_json::Value = serde_json::from_slice(&later.encode().unwrap()).unwrap();
        assert_eq!(again["of_a_later_release"], plain["of_a_later_release"], "what a later release adds is kept");
        for added in ["of_a_later_release", "mapping", "mapping_since", "cluster_uuid", "hosts"] {
            plain.as_object_mut().unwrap().remove(added);
        }
        let of_old = read(&plain);
        assert_eq!((of_old.record.mapping, of_old.cluster), (Version::default(), Cluster::default()));
        assert_eq!(of_old.record.password, written.record.password);
    }
}
