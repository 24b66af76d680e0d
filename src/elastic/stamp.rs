//! The ownership stamp in a user's `metadata`: elastauth touches only users that carry it.

use serde_json::{Map, Value, json};

use crate::credentials::agreement::Standing;
use crate::credentials::{Day, Refused, UserSpec};
use crate::digest::Digest;
use crate::identity::{Millis, Owner};
use crate::roles::{Roles, Version};
use crate::users::Stamp;

const MANAGER: &str = "elastauth";

/// Keys beginning with `_` are Elasticsearch's own. Every key is written every time: a write without a password merges
/// `metadata`, and what is left out stays.
pub(super) fn of(cluster: &str, store: &str, user: &UserSpec) -> Value {
    json!({
        "managed_by": MANAGER,
        "elastauth": {
            "cluster": cluster,
            "cluster_uuid": user.cluster_uuid.as_deref().unwrap_or_default(),
            "store": store,
            "issuer": &*user.owner.issuer,
            "subject": &*user.owner.subject,
            "unbound": false,
            "as_of": user.as_of,
            "mapping": user.mapping.digest.to_string(),
            "mapping_since": user.mapping.since,
            "last_seen": user.seen.to_string(),
        },
    })
}

/// Whether the user may be written for this owner. One that was handed over without a subject is the first one's of its
/// issuer.
pub(super) fn check(user: &Value, cluster: &str, owner: &Owner) -> Result<(), Refused> {
    let metadata = &user["metadata"];
    if metadata["_reserved"] == true {
        return Err(Refused::Reserved);
    }
    if metadata["managed_by"] != MANAGER {
        return Err(Refused::NotOurs);
    }
    let stamp = &metadata["elastauth"];
    let same = |key: &str, value: &str| stamp[key].as_str() == Some(value);
    let subject = stamp["unbound"] == true || same("subject", &owner.subject);
    if !same("cluster", cluster) || !same("issuer", &owner.issuer) || !subject {
        return Err(Refused::OtherOwner);
    }
    // absent means enabled nowhere: only a clear yes counts
    if user["enabled"] == true { Ok(()) } else { Err(Refused::Disabled) }
}

/// The day in a stamp; an older stamp has none, which is long ago.
pub(super) fn seen(user: &Value) -> Option<Day> {
    let metadata = &user["metadata"];
    let day = || metadata["elastauth"]["last_seen"].as_str().and_then(Day::parse).unwrap_or(Day::of(0));
    (metadata["managed_by"] == MANAGER).then(day)
}

/// When the roles that were last written were true; none in a stamp that another hand made.
pub(super) fn as_of(user: &Value) -> Option<Millis> {
    let metadata = &user["metadata"];
    let as_of = || metadata["elastauth"]["as_of"].as_u64();
    (metadata["managed_by"] == MANAGER).then(as_of).flatten()
}

/// By which configuration they were derived; the least for a stamp that does not say so.
pub(super) fn mapping(user: &Value) -> Version {
    let stamp = &user["metadata"]["elastauth"];
    let digest = stamp["mapping"].as_str().and_then(Digest::parse);
    digest.map_or_else(Version::default, |digest| Version {
        since: stamp["mapping_since"].as_u64().unwrap_or_default(),
        digest,
    })
}

/// The roles that a user of ours has and what its stamp says of them. None for one that was handed over, or that was restored
/// from a snapshot of another cluster than this `uuid`'s: when its roles were true says nothing here.
pub(super) fn standing(user: &Value, uuid: Option<&str>) -> Option<Standing> {
    let stamp = &user["metadata"]["elastauth"];
    let theirs = stamp["cluster_uuid"].as_str().filter(|theirs| !theirs.is_empty());
    let restored = theirs.zip(uuid).is_some_and(|(theirs, ours)| theirs != ours);
    let as_of = as_of(user).filter(|as_of| *as_of > 0 && stamp["unbound"] != true && !restored)?;
    let roles = Roles::new(user["roles"].as_array()?.iter().filter_map(Value::as_str));
    Some(Standing { mapping: mapping(user), as_of, roles })
}

/// The store of the elastauth that last wrote the user.
pub(super) fn store(user: &Value) -> Option<String> {
    user["metadata"]["elastauth"]["store"].as_str().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// The stamp as it stands there.
pub(super) fn read(user: &Value) -> Option<Stamp> {
    let metadata = &user["metadata"];
    if metadata["managed_by"] != MANAGER {
        return None;
    }
    let stamp = &metadata["elastauth"];
    let text = |key: &str| stamp[key].as_str().unwrap_or_default().to_owned();
    Some(Stamp {
        cluster: text("cluster"),
        issuer: text("issuer"),
        subject: if stamp["unbound"] == true { None } else { Some(text("subject")) },
        as_of: stamp["as_of"].as_u64().unwrap_or_default(),
        mapping: mapping(user),
        last_seen: stamp["last_seen"].as_str().and_then(Day::parse),
        store: store(user),
    })
}

/// What makes a user ours, or ours no more. The rest of a stamp that is taken off stays, to tell whose it was.
pub(super) fn marks(stamp: Option<&Stamp>) -> Map<String, Value> {
    let Some(stamp) = stamp else { return Map::from_iter([("managed_by".to_owned(), "released".into())]) };
    let section = json!({
        "cluster": stamp.cluster,
        "store": stamp.store.clone().unwrap_or_default(),
        "issuer": stamp.issuer,
        "subject": stamp.subject.clone().unwrap_or_default(),
        "unbound": stamp.subject.is_none(),
        "as_of": stamp.as_of,
        "mapping": stamp.mapping.digest.to_string(),
        "mapping_since": stamp.mapping.since,
        "last_seen": stamp.last_seen.unwrap_or(Day::of(stamp.as_of)).to_string(),
    });
    Map::from_iter([("managed_by".to_owned(), MANAGER.into()), ("elastauth".to_owned(), section)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::RequestContext;
    use crate::identity::Username;

    #[test]
    fn only_our_own_enabled_user_of_the_same_owner_may_be_written() {
        let owner = |subject: &str| Owner { issuer: "https://i".into(), subject: subject.into() };
        let user = |metadata: Value, enabled: bool| json!({ "metadata": metadata, "enabled": enabled });
        let of = |cluster: &str, owner: Owner| {
            let (username, roles) = (Username::parse("ann").unwrap(), Roles::default());
            let (seen, context, mapping) = (Day::of(0), RequestContext::default(), Version::default());
            let (full_name, email, cluster_uuid) = (None, None, Some("u".into()));
            let spec =
                UserSpec { username, owner, roles, as_of: 7, mapping, full_name, email, cluster_uuid, seen, context };
            of(cluster, "s", &spec)
        };
        let ours = of("c", owner("s"));
        let mut unbound = ours.clone();
        unbound["elastauth"]["unbound"] = true.into();
        let mut elsewhere = unbound.clone();
        elsewhere["elastauth"]["issuer"] = "https://other".into();
        for (user, expected) in [
            (user(ours.clone(), true), Ok(())),
            (user(ours.clone(), false), Err(Refused::Disabled)),
            (json!({ "metadata": ours }), Err(Refused::Disabled)),
            (user(unbound.clone(), true), Ok(())),
            (user(unbound, false), Err(Refused::Disabled)),
            (user(elsewhere, true), Err(Refused::OtherOwner)),
            (user(of("c", owner("other")), true), Err(Refused::OtherOwner)),
            (user(of("d", owner("s")), true), Err(Refused::OtherOwner)),
            (user(json!({ "managed_by": "elastauth" }), true), Err(Refused::OtherOwner)),
            (user(json!({}), true), Err(Refused::NotOurs)),
            (user(json!({ "_reserved": true }), true), Err(Refused::Reserved)),
            (json!({}), Err(Refused::NotOurs)),
            (json!("nonsense"), Err(Refused::NotOurs)),
        ] {
            assert_eq!(check(&user, "c", &owner("s")), expected, "{user}");
        }
    }

    #[test]
    fn a_stamp_says_when_roles_were_true_unless_it_was_handed_over_or_restored() {
        let user = |change: fn(&mut Value)| {
            let mut user = json!({ "roles": ["b", "a"], "metadata": { "managed_by": "elastauth", "elastauth": {
                "as_of": 7, "cluster_uuid": "u", "mapping": "00000000000000ff", "mapping_since": 3,
            } } });
            change(&mut user["metadata"]["elastauth"]);
            user
        };
        let standing = |mapping| Some(Standing { mapping, as_of: 7, roles: Roles::new(["a", "b"]) });
        let mapping = Version { since: 3, digest: Digest(255) };
        for (user, uuid, expected) in [
            (user(|_| {}), Some("u"), standing(mapping)),
            (user(|_| {}), None, standing(mapping)),
            (user(|_| {}), Some("another"), None),
            (user(|stamp| stamp["cluster_uuid"] = "".into()), Some("u"), standing(mapping)),
            (user(|stamp| stamp["mapping"] = "x".into()), Some("u"), standing(Version::default())),
            (user(|stamp| stamp["as_of"] = 0.into()), Some("u"), None),
            (user(|stamp| stamp["unbound"] = true.into()), Some("u"), None),
        ] {
            assert_eq!(super::standing(&user, uuid), expected, "{user}");
        }
    }

    #[test]
    fn a_stamp_is_read_as_it_was_put_on_and_off_again() {
        let bound = |subject: Option<&str>| Stamp {
            cluster: "c".into(),
            issuer: "https://i".into(),
            subject: subject.map(str::to_owned),
            as_of: 7,
            mapping: Version { since: 3, digest: Digest(u64::MAX) },
            last_seen: Day::parse("2026-11-25"),
            store: Some("redis r".into()),
        };
        let owner = |subject: &str| Owner { issuer: "https://i".into(), subject: subject.into() };
        for (stamp, ours, others) in [(bound(Some("s")), true, false), (bound(None), true, true)] {
            let mut user = json!({ "enabled": true, "metadata": { "team": "x" } });
            user["metadata"].as_object_mut().unwrap().extend(marks(Some(&stamp)));
            assert_eq!(read(&user), Some(stamp));
            assert_eq!(check(&user, "c", &owner("s")).is_ok(), ours);
            assert_eq!(check(&user, "c", &owner("t")).is_ok(), others);
            user["metadata"].as_object_mut().unwrap().extend(marks(None));
            assert_eq!(read(&user), None);
            assert_eq!(check(&user, "c", &owner("s")), Err(Refused::NotOurs));
            assert_eq!(user["metadata"]["team"], "x");
        }
    }
}
