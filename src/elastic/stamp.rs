//! The ownership stamp in a user's `metadata`: elastauth touches only users that carry it.

use serde_json::{Value, json};

use crate::credentials::{Existing, Refused};
use crate::identity::{Millis, Owner};

const MANAGER: &str = "elastauth";

/// Keys beginning with `_` are Elasticsearch's own.
pub(super) fn of(cluster: &str, owner: &Owner, as_of: Millis) -> Value {
    json!({
        "managed_by": MANAGER,
        "elastauth": { "cluster": cluster, "issuer": &*owner.issuer, "subject": &*owner.subject, "as_of": as_of },
    })
}

/// Whether the user may be written for this owner.
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
    if !same("cluster", cluster) || !same("issuer", &owner.issuer) || !same("subject", &owner.subject) {
        return Err(Refused::OtherOwner);
    }
    // absent means enabled nowhere: only a clear yes counts
    if user["enabled"] == true { Ok(Existing::Ours) } else { Err(Refused::Disabled) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_enabled_user_of_the_same_owner_may_be_written() {
        let owner = |subject: &str| Owner { issuer: "https://i".into(), subject: subject.into() };
        let user = |metadata: Value, enabled: bool| json!({ "metadata": metadata, "enabled": enabled });
        let ours = of("c", &owner("s"), 7);
        for (user, expected) in [
            (user(ours.clone(), true), Ok(Existing::Ours)),
            (user(ours.clone(), false), Err(Refused::Disabled)),
            (json!({ "metadata": ours }), Err(Refused::Disabled)),
            (user(of("c", &owner("other"), 7), true), Err(Refused::OtherOwner)),
            (user(of("d", &owner("s"), 7), true), Err(Refused::OtherOwner)),
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
