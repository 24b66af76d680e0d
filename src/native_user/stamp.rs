//! The ownership stamp: what elastauth notes with each of its users, and the rule that it touches only users that carry it.
//! Elasticsearch keeps it in a user's `metadata`, as JSON, and OpenSearch in `attributes`, as texts.

use serde_json::Value;

use crate::credentials::agreement::Standing;
use crate::credentials::{Day, OtherWriter, Ours, Refused, SealedCopy, StoreName, UserSpec};
use crate::digest::Digest;
use crate::identity::{Millis, Owner};
use crate::roles::{Roles, Version};
use crate::users::Stamp;

/// The value of "managed by" in the stamp of a user that elastauth manages.
pub(crate) const MANAGER: &str = "elastauth";
/// The same for a user that `elastauth users release` gave up. The rest of its stamp stays, and shows the former owner.
pub(crate) const RELEASED: &str = "released";

/// The entry with the user's sealed password, beside those of the stamp itself.
pub(crate) const SECRET: &str = "secret";
/// What stands for the sealed password where a write is shown to a person.
pub(crate) const SECRET_SHOWN: &str = "(sealed)";

/// The entries of a stamp by their names; `null` where nothing is known.
pub(crate) type Entries = Vec<(&'static str, Value)>;

/// The stamp that a write of this user leaves.
pub(crate) fn entries_of_write(cluster: &str, store: &str, user: &UserSpec) -> Entries {
    vec![
        ("cluster", cluster.into()),
        ("cluster_uuid", user.cluster_uuid.as_deref().map_or(Value::Null, Value::from)),
        ("store", store.into()),
        ("issuer", (&*user.owner.issuer).into()),
        ("subject", (&*user.owner.subject).into()),
        ("unbound", false.into()),
        ("as_of", user.as_of.into()),
        ("mapping", user.mapping.digest.to_string().into()),
        ("mapping_since", user.mapping.since.into()),
        ("last_seen", user.seen.to_string().into()),
        (SECRET, user.copy.as_ref().map_or(Value::Null, |copy| copy.to_text().into())),
    ]
}

/// A stamp that an administrator's command puts on a user. It takes the sealed password off: the former owner may have seen the
/// password, and the next one is to get another.
pub(crate) fn entries_of(stamp: &Stamp) -> Entries {
    vec![
        ("cluster", stamp.cluster.as_str().into()),
        ("store", stamp.store.as_deref().unwrap_or_default().into()),
        ("issuer", stamp.issuer.as_str().into()),
        ("subject", stamp.subject.as_deref().unwrap_or_default().into()),
        ("unbound", stamp.subject.is_none().into()),
        ("as_of", stamp.as_of.into()),
        ("mapping", stamp.mapping.digest.to_string().into()),
        ("mapping_since", stamp.mapping.since.into()),
        ("last_seen", stamp.day().to_string().into()),
        (SECRET, Value::Null),
    ]
}

/// A stamp as the back end has it. Any entry may be missing: older releases wrote fewer, and people edit users.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StoredStamp<'a> {
    /// "Managed by" is [`MANAGER`].
    pub(crate) managed: bool,
    /// Whether the user was handed over without a subject: then the first one of the issuer gets it.
    pub(crate) unbound: bool,
    pub(crate) cluster: Option<&'a str>,
    pub(crate) cluster_uuid: Option<&'a str>,
    pub(crate) store: Option<&'a str>,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) as_of: Option<Millis>,
    pub(crate) mapping: Option<&'a str>,
    pub(crate) mapping_since: Option<u64>,
    pub(crate) last_seen: Option<&'a str>,
    pub(crate) secret: Option<&'a str>,
}

impl StoredStamp<'_> {
    /// Whether the user may be written for this owner.
    pub(crate) fn check(&self, cluster: &str, owner: &Owner) -> Result<(), Refused> {
        if !self.managed {
            return Err(Refused::NotOurs);
        }
        let subject = self.unbound || self.subject == Some(&owner.subject);
        let ours = self.cluster == Some(cluster) && self.issuer == Some(&owner.issuer) && subject;
        if ours { Ok(()) } else { Err(Refused::OtherOwner) }
    }

    /// The configuration that derived the roles; the oldest there can be where the stamp names none.
    pub(crate) fn mapping(&self) -> Version {
        let digest = self.mapping.and_then(Digest::parse);
        let since = self.mapping_since.unwrap_or_default();
        digest.map_or_else(Version::default, |digest| Version { since, digest })
    }

    /// When the roles that were last written were true; none in a stamp that is not elastauth's.
    pub(crate) fn as_of(&self) -> Option<Millis> {
        self.as_of.filter(|_| self.managed)
    }

    /// The last day on which the user was seen: long ago in the stamp of an older release, which has no day.
    pub(crate) fn seen(&self) -> Option<Day> {
        self.managed.then(|| self.day().unwrap_or(Day::of(0)))
    }

    fn day(&self) -> Option<Day> {
        self.last_seen.and_then(Day::parse)
    }

    /// The roles that the user has, which is this list, with what the stamp says of them. None for a user that was handed over,
    /// and for one that was restored from a snapshot of another cluster than that of `uuid`: the time that such a stamp names
    /// says nothing about these roles.
    pub(crate) fn standing(&self, roles: &Value, uuid: Option<&str>) -> Option<Standing> {
        let theirs = self.cluster_uuid.filter(|theirs| !theirs.is_empty());
        let restored = theirs.zip(uuid).is_some_and(|(theirs, ours)| theirs != ours);
        let as_of = self.as_of().filter(|as_of| *as_of > 0 && !self.unbound && !restored)?;
        let roles = Roles::new(roles.as_array()?.iter().filter_map(Value::as_str));
        Some(Standing { mapping: self.mapping(), as_of, roles })
    }

    /// What a user with these roles has, which [`StoredStamp::check`] called this owner's.
    pub(crate) fn ours(&self, roles: &Value, uuid: Option<&str>) -> Ours {
        Ours { standing: self.standing(roles, uuid), copy: self.copy() }
    }

    /// The sealed password of a user that elastauth manages.
    pub(crate) fn copy(&self) -> Option<SealedCopy> {
        self.secret.filter(|_| self.managed).and_then(SealedCopy::parse)
    }

    /// The elastauth with another store than ours that last wrote the user, if one did.
    pub(crate) fn other_writer(&self, ours: &StoreName) -> Option<OtherWriter> {
        let theirs = self.store.filter(|theirs| !ours.is(theirs))?;
        Some(OtherWriter { theirs: theirs.to_owned(), ours: ours.name.clone() })
    }

    /// The stamp as commands show and change it, of whatever deployment; none where the user is not elastauth's.
    pub(crate) fn read(&self) -> Option<Stamp> {
        self.managed.then(|| Stamp {
            cluster: self.cluster.unwrap_or_default().to_owned(),
            issuer: self.issuer.unwrap_or_default().to_owned(),
            subject: (!self.unbound).then(|| self.subject.unwrap_or_default().to_owned()),
            as_of: self.as_of.unwrap_or_default(),
            mapping: self.mapping(),
            last_seen: self.day(),
            store: self.store.map(str::to_owned),
        })
    }
}
