use elastauth::credentials::broker;
use elastauth::credentials::record::LeaseHolder;
use elastauth::credentials::seal::OpenError;
use elastauth::credentials::{CacheKey, Day, Ours, Refused, RequestContext, UserSpec};
use elastauth::identity::Username;
use elastauth::roles::Version;
use serde_json::json;

use super::*;

fn owner(subject: &str) -> Owner {
    Owner { issuer: "https://i".into(), subject: subject.into() }
}

fn roles(names: &str) -> Roles {
    Roles::new(names.split(','))
}

fn held(which: Which, seen: Option<(Phase, u64, &str, &str)>) -> StoredRecord {
    let seen = seen.map(|(phase, age, subject, names)| ObservedUser {
        phase,
        age: Duration::from_secs(age),
        owner: owner(subject),
        roles: roles(names),
        as_of: 1_795_564_800_000,
        other_mapping: None,
    });
    let sealed_by = SealedBy { which, id: 0xa1b2_c3d4 };
    StoredRecord { sealed_by, remaining: Duration::from_millis(3_000_900), seen }
}

fn write(with_password: bool) -> PlannedWrite {
    let (username, context, seen) = (Username::parse("ann").unwrap(), RequestContext::default(), Day::of(0));
    let (owner, roles) = (owner("s"), roles("dev"));
    let (mapping, cluster_uuid, full_name, email) = (Version::default(), None, None, None);
    let user = UserSpec {
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
    PlannedWrite::Written { user: Box::new(user), with_password }
}

fn said(
    held: Option<StoredRecord>,
    user: Result<Existing, InspectError>,
    next: Result<PlannedWrite, broker::Error>,
    unseen: Option<&'static str>,
) -> String {
    let key = CacheKey::of(&Username::parse("ann").unwrap());
    let written =
        matches!(next, Ok(PlannedWrite::Written { .. })).then(|| ("/user/ann".to_owned(), json!({"roles": ["dev"]})));
    let previewed = UserPreview { preview: Preview { key, held, user, next }, unseen, written };
    lines(&previewed, &owner("s"), &roles("dev"))
}

#[test]
fn a_first_request_writes_the_user_with_a_password() {
    let expected = "cached     nothing under elastauth-YW5u\n\
                    user       does not exist\n\
                    next       PUT /user/ann {\"roles\":[\"dev\"]} with a password\n";
    assert_eq!(said(None, Ok(Existing::Absent), Ok(write(true)), None), expected);
    let alone = said(None, Ok(Existing::Absent), Ok(write(true)), Some("it is elsewhere"));
    assert!(alone.starts_with("cached     not read: it is elsewhere; the rest is as for a first request\n"), "{alone}");
}

#[test]
fn a_record_is_told_with_its_age_its_key_its_owner_and_its_roles() {
    let pending = Phase::Pending { holder: LeaseHolder(1), again: false, in_force: None, failed: false };
    for (record, user, next, expected) in [
        (
            held(Which::Current, Some((Phase::Confirmed, 61, "s", "dev"))),
            Ok(Existing::Ours(Ours::default())),
            Ok(PlannedWrite::Served),
            "confirmed for 1m 1s, kept for 50m more, sealed with secret_key (key id a1b2c3d4)\n           \
             for the same subject\n           with the same roles, as of 2026-11-25T00:00:00Z\n\
             user       exists, made by elastauth for the same subject, and enabled\n\
             next       the request gets the cached credential, and nothing is written\n",
        ),
        (
            held(Which::Previous, Some((Phase::Ready, u64::MAX, "s", "a,b"))),
            Err(InspectError::Unavailable("no route".into())),
            Ok(write(false)),
            "ready since unknown, kept for 50m more, sealed with one of previous_secret_keys (key id a1b2c3d4)\n           \
             for the same subject\n           with other roles, a,b, as of 2026-11-25T00:00:00Z\n\
             user       could not be read: no route\n\
             next       PUT /user/ann {\"roles\":[\"dev\"]} with no password: the user keeps the one there is\n",
        ),
        (
            held(Which::Current, Some((pending, 1, "t", "dev"))),
            Err(InspectError::Refused(Refused::OtherOwner)),
            Ok(PlannedWrite::Waits),
            "pending for 1s, kept for 50m more, sealed with secret_key (key id a1b2c3d4)\n           \
             for another subject, t of https://i\n           with the same roles, as of 2026-11-25T00:00:00Z\n\
             user       must not be changed: the Elasticsearch user belongs to another subject\n\
             next       another replica is writing the user: the request waits for it\n",
        ),
        (
            held(Which::Unknown, None),
            Ok(Existing::Ours(Ours::default())),
            Err(broker::Error::OtherOwner),
            "cannot be opened, kept for 50m more, sealed with none of the keys that are configured here (key id a1b2c3d4)\n\
             user       exists, made by elastauth for the same subject, and enabled\n",
        ),
        (
            held(Which::NewerFormat, None),
            Ok(Existing::Absent),
            Err(broker::Error::Unreadable(OpenError::NewerFormat)),
            "cannot be opened, kept for 50m more: the record is in the format of a later release of elastauth\n\
             user       does not exist\n",
        ),
        (
            held(Which::Current, None),
            Ok(Existing::Absent),
            Ok(write(true)),
            "broken, and will be replaced, kept for 50m more, sealed with secret_key (key id a1b2c3d4)\n\
             user       does not exist\nnext       PUT /user/ann {\"roles\":[\"dev\"]} with a password\n",
        ),
    ] {
        assert_eq!(said(Some(record), user, next, None), format!("cached     elastauth-YW5u: {expected}"));
    }
}
