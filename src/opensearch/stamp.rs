//! The ownership stamp in a user's `attributes`, which is a map of strings: elastauth touches only users that carry it.

use serde_json::{Map, Value};

use crate::credentials::agreement::Standing;
use crate::credentials::{Day, Refused, UserSpec};
use crate::digest::Digest;
use crate::identity::Owner;
use crate::roles::{Roles, Version};
use crate::users::Stamp;

const MANAGER: &str = "elastauth";
const MANAGED_BY: &str = "elastauth.io/managed-by";
const CLUSTER: &str = "elastauth.io/cluster";
const ISSUER: &str = "elastauth.io/issuer";
const SUBJECT: &str = "elastauth.io/subject";
const CLUSTER_UUID: &str = "elastauth.io/cluster-uuid";
const AS_OF: &str = "elastauth.io/as-of";
const MAPPING: &str = "elastauth.io/mapping";
const MAPPING_SINCE: &str = "elastauth.io/mapping-since";
const STORE: &str = "elastauth.io/store";
const UNBOUND: &str = "elastauth.io/unbound";
const LAST_SEEN: &str = "elastauth.io/last-seen";
const FULL_NAME: &str = "elastauth.io/full-name";
const EMAIL: &str = "elastauth.io/email";

/// All of the user's attributes: a write replaces them. (A value that is no string gets 500.)
pub(super) fn of(cluster: &str, store: &str, user: &UserSpec) -> Map<String, Value> {
    let (as_of, seen) = (user.as_of.to_string(), user.seen.to_string());
    let (mapping, since) = (user.mapping.digest.to_string(), user.mapping.since.to_string());
    let always = [
        (MANAGED_BY, Some(MANAGER)),
        (CLUSTER, Some(cluster)),
        (ISSUER, Some(&*user.owner.issuer)),
        (SUBJECT, Some(&*user.owner.subject)),
        (UNBOUND, Some("false")),
        (CLUSTER_UUID, user.cluster_uuid.as_deref()),
        (AS_OF, Some(as_of.as_str())),
        (MAPPING, Some(mapping.as_str())),
        (MAPPING_SINCE, Some(since.as_str())),
        (STORE, Some(store)),
        (LAST_SEEN, Some(seen.as_str())),
        (FULL_NAME, user.full_name.as_deref()),
        (EMAIL, user.email.as_deref()),
    ];
    always.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into()))).collect()
}

/// Whether the user, as a GET shows it, may be written for this owner. One that was handed over without a subject is the
/// first one's of its issuer. There is no disabled user on OpenSearch.
pub(super) fn check(user: &Value, cluster: &str, owner: &Owner) -> Result<(), Refused> {
    if is_reserved(user) {
        return Err(Refused::Reserved);
    }
    let attributes = &user["attributes"];
    let is = |key: &str, value: &str| attributes[key].as_str() == Some(value);
    if !is(MANAGED_BY, MANAGER) {
        return Err(Refused::NotOurs);
    }
    let subject = is(UNBOUND, "true") || is(SUBJECT, &owner.subject);
    if is(CLUSTER, cluster) && is(ISSUER, &owner.issuer) && subject { Ok(()) } else { Err(Refused::OtherOwner) }
}

fn mapping(user: &Value) -> Version {
    let text = |key: &str| user["attributes"][key].as_str().unwrap_or_default();
    Digest::parse(text(MAPPING)).map_or_else(Version::default, |digest| Version {
        since: text(MAPPING_SINCE).parse().unwrap_or_default(),
        digest,
    })
}

/// The roles that a user of ours has in this field, and what its stamp says of them. None for one that was handed over, or that
/// was restored from a snapshot of another cluster than this `uuid`'s: when its roles were true says nothing here.
pub(super) fn standing(user: &Value, field: &str, uuid: Option<&str>) -> Option<Standing> {
    let text = |key: &str| user["attributes"][key].as_str().unwrap_or_default();
    let restored = !text(CLUSTER_UUID).is_empty() && uuid.is_some_and(|uuid| uuid != text(CLUSTER_UUID));
    let as_of = text(AS_OF).parse().ok().filter(|as_of| *as_of > 0 && text(UNBOUND) != "true" && !restored)?;
    let roles = Roles::new(user[field].as_array()?.iter().filter_map(Value::as_str));
    Some(Standing { mapping: mapping(user), as_of, roles })
}

/// Built in. An administrator's client certificate sees hidden users, and could write reserved ones.
pub(super) fn is_reserved(user: &Value) -> bool {
    ["reserved", "hidden", "static"].iter().any(|flag| user[*flag] == true)
}

/// The whole stamp, of whatever cluster.
pub(super) fn read(user: &Value) -> Option<Stamp> {
    let attributes = &user["attributes"];
    let text = |key: &str| attributes[key].as_str().unwrap_or_default();
    (text(MANAGED_BY) == MANAGER).then(|| Stamp {
        cluster: text(CLUSTER).into(),
        issuer: text(ISSUER).into(),
        subject: (text(UNBOUND) != "true").then(|| text(SUBJECT).into()),
        as_of: text(AS_OF).parse().unwrap_or_default(),
        mapping: mapping(user),
        last_seen: Day::parse(text(LAST_SEEN)),
        store: store(user),
    })
}

/// What makes a user ours, or ours no more. The rest of a stamp that is taken off stays, to tell whose it was.
pub(super) fn marks(stamp: Option<&Stamp>) -> Map<String, Value> {
    let Some(stamp) = stamp else { return Map::from_iter([(MANAGED_BY.to_owned(), "released".into())]) };
    let entries = [
        (MANAGED_BY, MANAGER.to_owned()),
        (CLUSTER, stamp.cluster.clone()),
        (ISSUER, stamp.issuer.clone()),
        (SUBJECT, stamp.subject.clone().unwrap_or_default()),
        (UNBOUND, stamp.subject.is_none().to_string()),
        (AS_OF, stamp.as_of.to_string()),
        (MAPPING, stamp.mapping.digest.to_string()),
        (MAPPING_SINCE, stamp.mapping.since.to_string()),
        (STORE, stamp.store.clone().unwrap_or_default()),
        (LAST_SEEN, stamp.day().to_string()),
    ];
    entries.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
}

/// The store of the elastauth that last wrote the user.
pub(super) fn store(user: &Value) -> Option<String> {
    user["attributes"][STORE].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::credentials::RequestContext;
    use crate::identity::Username;

    fn spec(subject: &str) -> UserSpec {
        UserSpec {
            username: Username::parse("ann").unwrap(),
            owner: Owner { issuer: "https://i".into(), subject: subject.into() },
            roles: Roles::new(["r"]),
            as_of: 7,
            mapping: Version { since: 3, digest: Digest(255) },
            cluster_uuid: Some("u".into()),
            full_name: None,
            email: Some("e".into()),
            seen: Day::of(0),
            context: RequestContext::default(),
        }
    }

    #[test]
    fn every_attribute_is_a_string_and_what_is_unknown_is_left_out() {
        let attributes = of("c", "s", &spec("s"));
        assert!(attributes.values().all(Value::is_string), "{attributes:?}");
        assert_eq!((&attributes[AS_OF], &attributes[LAST_SEEN]), (&json!("7"), &json!("1970-01-01")));
        assert_eq!((&attributes[STORE], &attributes[EMAIL]), (&json!("s"), &json!("e")));
        assert!(!attributes.contains_key(FULL_NAME));
    }

    /// Requirement 5.
    #[test]
    fn only_our_own_user_of_the_same_owner_may_be_written() {
        let user = |attributes: Map<String, Value>| json!({ "attributes": attributes });
        let mut unbound = of("c", "s", &spec(""));
        unbound.insert(UNBOUND.into(), "true".into());
        let mut elsewhere = unbound.clone();
        elsewhere.insert(ISSUER.into(), "https://other".into());
        let flagged = |flag: &str| json!({ "attributes": of("c", "s", &spec("s")), flag: true });
        for (user, expected) in [
            (user(of("c", "s", &spec("s"))), Ok(())),
            (user(of("c", "s", &spec("other"))), Err(Refused::OtherOwner)),
            (user(of("d", "s", &spec("s"))), Err(Refused::OtherOwner)),
            (user(unbound), Ok(())),
            (user(elsewhere), Err(Refused::OtherOwner)),
            (json!({ "attributes": { MANAGED_BY: MANAGER } }), Err(Refused::OtherOwner)),
            (json!({ "attributes": { "managed_by": MANAGER } }), Err(Refused::NotOurs)),
            (json!({ "attributes": {} }), Err(Refused::NotOurs)),
            (flagged("reserved"), Err(Refused::Reserved)),
            (flagged("hidden"), Err(Refused::Reserved)),
            (flagged("static"), Err(Refused::Reserved)),
            (json!({}), Err(Refused::NotOurs)),
            (json!("nonsense"), Err(Refused::NotOurs)),
        ] {
            assert_eq!(check(&user, "c", &spec("s").owner), expected, "{user}");
        }
    }

    #[test]
    fn a_stamp_says_when_roles_were_true_unless_it_was_handed_over_or_restored() {
        let user = |change: &[(&str, &str)]| {
            let mut attributes = of("c", "s", &spec("s"));
            attributes.extend(change.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())));
            json!({ "backend_roles": ["b", "a"], "attributes": attributes })
        };
        let standing = |mapping| Some(Standing { mapping, as_of: 7, roles: Roles::new(["a", "b"]) });
        let mapping = Version { since: 3, digest: Digest(255) };
        for (user, uuid, expected) in [
            (user(&[]), Some("u"), standing(mapping)),
            (user(&[]), None, standing(mapping)),
            (user(&[]), Some("another"), None),
            (user(&[(CLUSTER_UUID, "")]), Some("u"), standing(mapping)),
            (user(&[(MAPPING, "x")]), Some("u"), standing(Version::default())),
            (user(&[(AS_OF, "0")]), Some("u"), None),
            (user(&[(AS_OF, "x")]), Some("u"), None),
            (user(&[(UNBOUND, "true")]), Some("u"), None),
        ] {
            assert_eq!(super::standing(&user, "backend_roles", uuid), expected, "{user}");
        }
    }

    #[test]
    fn a_stamp_that_is_put_on_is_read_again_and_what_is_not_ours_stays() {
        for subject in [Some("s".to_owned()), None] {
            let (issuer, store) = ("https://i".to_owned(), Some("redis".to_owned()));
            let last_seen = Day::parse("2026-11-25");
            let mapping = Version { since: 3, digest: Digest(255) };
            let stamp = Stamp { cluster: "c".into(), issuer, subject, as_of: 7, mapping, last_seen, store };
            let mut user = json!({ "attributes": { "team": "x" } });
            user["attributes"].as_object_mut().unwrap().extend(marks(Some(&stamp)));
            assert_eq!(read(&user), Some(stamp.clone()));
            assert_eq!(check(&user, "c", &spec("s").owner), Ok(()));
            assert_eq!(check(&user, "c", &spec("t").owner).is_ok(), stamp.subject.is_none());
            user["attributes"].as_object_mut().unwrap().extend(marks(None));
            assert_eq!((read(&user), &user["attributes"]["team"]), (None, &json!("x")));
            assert_eq!(check(&user, "c", &spec("s").owner), Err(Refused::NotOurs));
        }
    }
}
