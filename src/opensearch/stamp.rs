//! The form of the ownership stamp in a user's `attributes`, which OpenSearch keeps as texts.

use serde_json::{Map, Value};

use crate::credentials::{Refused, SealedCopy, UserSpec};
use crate::identity::Owner;
use crate::native_user::{Entries, MANAGER, RELEASED, SECRET, SECRET_SHOWN, StoredStamp, entries_of, entries_of_write};
use crate::users::Stamp;

const MANAGED_BY: &str = "elastauth.io/managed-by";
const FULL_NAME: &str = "elastauth.io/full-name";
const EMAIL: &str = "elastauth.io/email";

/// The attribute with an entry of the stamp: `cluster_uuid` is in `elastauth.io/cluster-uuid`.
fn attribute(entry: &str) -> String {
    format!("elastauth.io/{}", entry.replace('_', "-"))
}

/// The attributes with these entries. Values become texts, as OpenSearch answers others with 500; unknown ones are left out.
fn attributes(entries: Entries) -> impl Iterator<Item = (String, Value)> {
    entries.into_iter().filter_map(|(entry, value)| {
        let text = match value {
            Value::Null => return None,
            Value::String(text) => text,
            other => other.to_string(),
        };
        Some((attribute(entry), text.into()))
    })
}

/// All attributes of a written user: a write replaces them.
pub(super) fn of(cluster: &str, store: &str, user: &UserSpec) -> Map<String, Value> {
    let names = [(FULL_NAME, &user.full_name), (EMAIL, &user.email)];
    let names = names.into_iter().filter_map(|(key, name)| Some((key.to_owned(), name.as_deref()?.into())));
    let managed = (MANAGED_BY.to_owned(), MANAGER.into());
    std::iter::once(managed).chain(attributes(entries_of_write(cluster, store, user))).chain(names).collect()
}

/// Puts into a user's attributes what makes it elastauth's, or no longer elastauth's. Either way its sealed password goes.
pub(super) fn mark(user: &mut Map<String, Value>, stamp: Option<&Stamp>) {
    let manager = if stamp.is_some() { MANAGER } else { RELEASED };
    user.insert(MANAGED_BY.to_owned(), manager.into());
    user.remove(&attribute(SECRET));
    user.extend(attributes(stamp.map(entries_of).unwrap_or_default()));
}

/// Puts this sealed password into a user's attributes in the place of the former one, or none.
pub(super) fn put_copy(user: &mut Map<String, Value>, copy: Option<&SealedCopy>) {
    match copy {
        Some(copy) => user.insert(attribute(SECRET), copy.to_text().into()),
        None => user.remove(&attribute(SECRET)),
    };
}

/// Hides the sealed password in attributes that are shown to a person.
pub(super) fn hide_secret(attributes: &mut Value) {
    if let Some(secret) = attributes.get_mut(attribute(SECRET)) {
        *secret = SECRET_SHOWN.into();
    }
}

/// The stamp of a user, as a `GET` shows it.
pub(super) fn stored(user: &Value) -> StoredStamp<'_> {
    let attributes = &user["attributes"];
    let text = |entry: &str| attributes[attribute(entry)].as_str();
    StoredStamp {
        managed: attributes[MANAGED_BY] == MANAGER,
        unbound: text("unbound") == Some("true"),
        cluster: text("cluster"),
        cluster_uuid: text("cluster_uuid"),
        store: text("store"),
        issuer: text("issuer"),
        subject: text("subject"),
        as_of: text("as_of").and_then(|as_of| as_of.parse().ok()),
        mapping: text("mapping"),
        mapping_since: text("mapping_since").and_then(|since| since.parse().ok()),
        last_seen: text("last_seen"),
        secret: text(SECRET),
    }
}

/// Whether the user may be written for this owner. There are no disabled users on OpenSearch.
pub(super) fn check(user: &Value, cluster: &str, owner: &Owner) -> Result<(), Refused> {
    if is_reserved(user) { Err(Refused::Reserved) } else { stored(user).check(cluster, owner) }
}

/// Whether the user is built in. With a client certificate an administrator sees hidden users, too, and could write reserved
/// ones.
pub(super) fn is_reserved(user: &Value) -> bool {
    ["reserved", "hidden", "static"].iter().any(|flag| user[*flag] == true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::credentials::agreement::Standing;
    use crate::credentials::{Day, RequestContext};
    use crate::digest::Digest;
    use crate::identity::Username;
    use crate::roles::{Roles, Version};

    const ISSUER: &str = "elastauth.io/issuer";
    const CLUSTER_UUID: &str = "elastauth.io/cluster-uuid";
    const AS_OF: &str = "elastauth.io/as-of";
    const MAPPING: &str = "elastauth.io/mapping";
    const STORE: &str = "elastauth.io/store";
    const UNBOUND: &str = "elastauth.io/unbound";
    const LAST_SEEN: &str = "elastauth.io/last-seen";

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
            copy: None,
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

    /// Requirement 5: users of other owners are left alone.
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
            assert_eq!(stored(&user).standing(&user["backend_roles"], uuid), expected, "{user}");
        }
    }

    #[test]
    fn a_stamp_that_is_put_on_is_read_again_and_what_is_not_ours_stays() {
        for subject in [Some("s".to_owned()), None] {
            let (issuer, store) = ("https://i".to_owned(), Some("redis".to_owned()));
            let last_seen = Day::parse("2026-11-25");
            let mapping = Version { since: 3, digest: Digest(255) };
            let stamp = Stamp { cluster: "c".into(), issuer, subject, as_of: 7, mapping, last_seen, store };
            let secret = || ("elastauth.io/secret".to_owned(), json!("AQID"));
            let mut user = json!({ "attributes": { "team": "x" } });
            user["attributes"].as_object_mut().unwrap().extend([secret()]);
            assert!(stored(&user).secret.is_some());
            mark(user["attributes"].as_object_mut().unwrap(), Some(&stamp));
            assert_eq!(stored(&user).read(), Some(stamp.clone()));
            // the next owner must not get the password that the former one had
            assert_eq!(user["attributes"].get("elastauth.io/secret"), None);
            user["attributes"].as_object_mut().unwrap().extend([secret()]);
            assert_eq!(check(&user, "c", &spec("s").owner), Ok(()));
            assert_eq!(check(&user, "c", &spec("t").owner).is_ok(), stamp.subject.is_none());
            mark(user["attributes"].as_object_mut().unwrap(), None);
            assert_eq!((stored(&user).read(), &user["attributes"]["team"]), (None, &json!("x")));
            assert_eq!(check(&user, "c", &spec("s").owner), Err(Refused::NotOurs));
            assert_eq!(user["attributes"].get("elastauth.io/secret"), None);
        }
    }

    #[test]
    fn the_sealed_password_is_an_attribute_that_is_hidden_where_people_see_it() {
        for copy in [SealedCopy::new(vec![1; 100]), None] {
            let written = of("c", "s", &UserSpec { copy: copy.clone(), ..spec("s") });
            let mut user = json!({ "backend_roles": [], "attributes": written });
            assert_eq!(stored(&user).ours(&user["backend_roles"], None).copy, copy);
            hide_secret(&mut user["attributes"]);
            let shown = copy.map(|_| json!("(sealed)"));
            assert_eq!(user["attributes"].get("elastauth.io/secret"), shown.as_ref());
        }
    }
}
