//! The ownership stamp in a user's `metadata`: elastauth touches only users that carry it.

use serde_json::{Value, json};

use crate::credentials::{Day, Existing, Refused, UserSpec};
use crate::identity::Owner;

const MANAGER: &str = "elastauth";

/// Keys beginning with `_` are Elasticsearch's own. Every key is written every time: a write without a password merges
/// `metadata`, and what is left out stays.
pub(super) fn of(cluster: &str, store: &str, user: &UserSpec) -> Value {
    json!({
        "managed_by": MANAGER,
        "elastauth": {
            "cluster": cluster,
            "store": store,
            "issuer": &*user.owner.issuer,
            "subject": &*user.owner.subject,
            "unbound": false,
            "as_of": user.as_of,
            "last_seen": user.seen.to_string(),
        },
    })
}

/// Whether the user may be written for this owner. One that was handed over without a subject is the first one's of its
/// issuer.
pub(super) fn check(user: &Value, cluster: &str, owner: &Owner) -> Result<Existing, Refused> {
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
    if user["enabled"] == true { Ok(Existing::Ours) } else { Err(Refused::Disabled) }
}

/// The day in a stamp; an older stamp has none, which is long ago.
pub(super) fn seen(user: &Value) -> Option<Day> {
    let metadata = &user["metadata"];
    let day = || metadata["elastauth"]["last_seen"].as_str().and_then(Day::parse).unwrap_or(Day::of(0));
    (metadata["managed_by"] == MANAGER).then(day)
}

/// The store of the elastauth that last wrote the user.
pub(super) fn store(user: &Value) -> Option<String> {
    user["metadata"]["elastauth"]["store"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Origin;
    use crate::identity::Username;
    use crate::roles::Roles;

    #[test]
    fn only_our_own_enabled_user_of_the_same_owner_may_be_written() {
        let owner = |subject: &str| Owner { issuer: "https://i".into(), subject: subject.into() };
        let user = |metadata: Value, enabled: bool| json!({ "metadata": metadata, "enabled": enabled });
        let of = |cluster: &str, owner: Owner| {
            let (username, roles) = (Username::parse("ann").unwrap(), Roles::default());
            let (seen, origin) = (Day::of(0), Origin::default());
            of(cluster, "s", &UserSpec { username, owner, roles, as_of: 7, full_name: None, email: None, seen, origin })
        };
        let ours = of("c", owner("s"));
        let mut unbound = ours.clone();
        unbound["elastauth"]["unbound"] = true.into();
        let mut elsewhere = unbound.clone();
        elsewhere["elastauth"]["issuer"] = "https://other".into();
        for (user, expected) in [
            (user(ours.clone(), true), Ok(Existing::Ours)),
            (user(ours.clone(), false), Err(Refused::Disabled)),
            (json!({ "metadata": ours }), Err(Refused::Disabled)),
            (user(unbound.clone(), true), Ok(Existing::Ours)),
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
}
