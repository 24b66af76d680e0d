//! The form of the ownership stamp in a user's `metadata`, of which Elasticsearch keeps keys that begin with `_` for itself.

use serde_json::{Map, Value, json};

use crate::credentials::{Refused, SealedCopy, UserSpec};
use crate::identity::Owner;
use crate::native_user::{Entries, MANAGER, RELEASED, SECRET, SECRET_SHOWN, StoredStamp, entries_of, entries_of_write};
use crate::users::Stamp;

/// The metadata of a write. Every key is written every time: a write without a password merges `metadata`, and a key that is
/// left out keeps its former value.
pub(super) fn of(cluster: &str, store: &str, user: &UserSpec) -> Value {
    json!({ "managed_by": MANAGER, "elastauth": section(entries_of_write(cluster, store, user)) })
}

fn section(entries: Entries) -> Value {
    let known = |value: Value| if value.is_null() { "".into() } else { value };
    entries.into_iter().map(|(name, value)| (name, known(value))).collect()
}

/// Puts into a user's `metadata` what makes it elastauth's, or no longer elastauth's. Either way its sealed password goes.
pub(super) fn mark(metadata: &mut Map<String, Value>, stamp: Option<&Stamp>) {
    let manager = if stamp.is_some() { MANAGER } else { RELEASED };
    metadata.insert("managed_by".to_owned(), manager.into());
    if let Some(stamp) = stamp {
        metadata.insert("elastauth".to_owned(), section(entries_of(stamp)));
    } else if let Some(secret) = metadata.get_mut("elastauth").and_then(|section| section.get_mut(SECRET)) {
        // emptied and not left out: what a write without a password leaves out stays
        *secret = "".into();
    }
}

/// Puts this sealed password into a user's `metadata` in the place of the former one, or none.
pub(super) fn put_copy(metadata: &mut Map<String, Value>, copy: Option<&SealedCopy>) {
    if let Some(Value::Object(section)) = metadata.get_mut("elastauth") {
        section.insert(SECRET.to_owned(), copy.map_or_else(String::new, SealedCopy::to_text).into());
    }
}

/// Hides the sealed password in a body that is shown to a person.
pub(super) fn hide_secret(body: &mut Value) {
    let secret = body.pointer_mut("/metadata/elastauth/secret").filter(|secret| **secret != "");
    if let Some(secret) = secret {
        *secret = SECRET_SHOWN.into();
    }
}

/// The stamp of a user, as a `GET` of the user or a login shows it.
pub(super) fn stored(user: &Value) -> StoredStamp<'_> {
    let metadata = &user["metadata"];
    let stamp = &metadata["elastauth"];
    let text = |key: &str| stamp[key].as_str();
    StoredStamp {
        managed: metadata["managed_by"] == MANAGER,
        unbound: stamp["unbound"] == true,
        cluster: text("cluster"),
        cluster_uuid: text("cluster_uuid"),
        store: text("store").filter(|store| !store.is_empty()),
        issuer: text("issuer"),
        subject: text("subject"),
        as_of: stamp["as_of"].as_u64(),
        mapping: text("mapping"),
        mapping_since: stamp["mapping_since"].as_u64(),
        last_seen: text("last_seen"),
        secret: text(SECRET),
    }
}

/// Whether the user may be written for this owner.
pub(super) fn check(user: &Value, cluster: &str, owner: &Owner) -> Result<(), Refused> {
    if user["metadata"]["_reserved"] == true {
        return Err(Refused::Reserved);
    }
    stored(user).check(cluster, owner)?;
    // a user without the field is refused like a disabled one
    if user["enabled"] == true { Ok(()) } else { Err(Refused::Disabled) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::agreement::Standing;
    use crate::credentials::{Day, RequestContext};
    use crate::digest::Digest;
    use crate::identity::Username;
    use crate::roles::{Roles, Version};

    #[test]
    fn only_our_own_enabled_user_of_the_same_owner_may_be_written() {
        let owner = |subject: &str| Owner { issuer: "https://i".into(), subject: subject.into() };
        let user = |metadata: Value, enabled: bool| json!({ "metadata": metadata, "enabled": enabled });
        let of = |cluster: &str, owner: Owner| {
            let (username, roles) = (Username::parse("ann").unwrap(), Roles::default());
            let (seen, context, mapping) = (Day::of(0), RequestContext::default(), Version::default());
            let (full_name, email, cluster_uuid) = (None, None, Some("u".into()));
            let spec = UserSpec {
                username,
                owner,
                roles,
                as_of: 7,
                mapping,
                full_name,
                email,
                cluster_uuid,
                seen,
                copy: None,
                context,
            };
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
            assert_eq!(stored(&user).standing(&user["roles"], uuid), expected, "{user}");
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
            let mut user = json!({ "enabled": true, "metadata": { "team": "x", "elastauth": { "secret": "AQID" } } });
            assert!(stored(&user).secret.is_some());
            mark(user["metadata"].as_object_mut().unwrap(), Some(&stamp));
            assert_eq!(stored(&user).read(), Some(stamp));
            // the next owner must not get the password that the former one had, and an update merges
            assert_eq!(user["metadata"]["elastauth"]["secret"], "");
            user["metadata"]["elastauth"]["secret"] = "AQID".into();
            assert_eq!(check(&user, "c", &owner("s")).is_ok(), ours);
            assert_eq!(check(&user, "c", &owner("t")).is_ok(), others);
            mark(user["metadata"].as_object_mut().unwrap(), None);
            assert_eq!(stored(&user).read(), None);
            assert_eq!(user["metadata"]["elastauth"]["secret"], "");
            assert_eq!(check(&user, "c", &owner("s")), Err(Refused::NotOurs));
            assert_eq!(user["metadata"]["team"], "x");
        }
    }
}
