use serde_json::{Value, json};

use super::*;
use crate::identity::testing::mapping;

fn settings(username: &str, groups: &str) -> Settings {
    Settings { username: username.into(), groups: groups.into(), full_name: "profile.name".into(), ..mapping() }
}

fn map(settings: &Settings, claims: Value) -> Result<Mapped, &'static str> {
    settings.apply(&Claims::unverified(&claims)).map_err(|error| error.reason())
}

fn groups(name: &str, claims: Value) -> Result<Vec<String>, &'static str> {
    let mut claims = claims;
    claims["u"] = json!("jane");
    map(&settings("u", name), claims).map(|mapped| mapped.groups)
}

#[test]
fn a_groups_value_is_kept_whole() {
    assert_eq!(groups("groups", json!({"groups": ["a,b", "ü ", "a"]})).unwrap(), ["a,b", "ü ", "a"]);
    assert_eq!(groups("groups", json!({"groups": "a,b c"})).unwrap(), ["a,b c"]);
}

#[test]
fn absent_groups_are_none() {
    for claims in [json!({}), json!({"groups": null}), json!({"groups": []})] {
        assert_eq!(groups("groups", claims).unwrap(), [""; 0]);
    }
}

#[test]
fn groups_that_are_elsewhere_are_not_none() {
    let claims = json!({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph"}}});
    assert_eq!(groups("groups", claims.clone()).unwrap_err(), "token_claim_missing");
    assert_eq!(groups("roles", claims).unwrap(), [""; 0], "another claim is");
    assert_eq!(groups("groups", json!({"_claim_names": {"groups": "src1"}, "groups": ["a"]})).unwrap(), ["a"]);
    assert_eq!(groups("groups", json!({"_claim_names": "groups"})).unwrap(), [""; 0]);
}

#[test]
fn groups_that_a_token_says_it_has_no_room_for_are_not_none() {
    for says in [json!(true), json!("true")] {
        assert_eq!(groups("groups", json!({"hasgroups": says})).unwrap_err(), "token_claim_missing", "{says}");
        assert_eq!(groups("groups", json!({"hasgroups": says, "groups": null})).unwrap_err(), "token_claim_missing");
        assert_eq!(groups("groups", json!({"hasgroups": says, "groups": []})).unwrap_err(), "token_claim_missing");
        assert_eq!(groups("groups", json!({"hasgroups": says, "groups": ["a"]})).unwrap(), ["a"]);
        assert_eq!(groups("roles", json!({"hasgroups": says})).unwrap(), [""; 0], "it speaks of one claim only");
    }
    for says in [json!(false), json!(null), json!("false")] {
        assert_eq!(groups("groups", json!({"hasgroups": says})).unwrap(), [""; 0], "{says}");
    }
}

#[test]
fn groups_within_a_claim_that_is_elsewhere_are_not_none() {
    let claims = json!({"_claim_names": {"realm_access": "src1"}});
    assert_eq!(groups("realm_access.roles", claims.clone()).unwrap_err(), "token_claim_missing");
    assert_eq!(groups("realm_access_roles", claims).unwrap(), [""; 0], "another claim is");
}

#[test]
fn groups_of_another_type_refuse_the_token() {
    for value in [json!(1), json!(true), json!({"a": 1}), json!(["a", 1]), json!([["a"]]), json!(["a", null])] {
        assert_eq!(groups("groups", json!({"groups": value})).unwrap_err(), "token_claim_type", "{value}");
    }
}

#[test]
fn a_literal_name_wins_over_a_path() {
    assert_eq!(groups("https://example.com/roles", json!({"https://example.com/roles": ["a"]})).unwrap(), ["a"]);
    assert_eq!(groups("a.b", json!({"a.b": ["literal"], "a": {"b": ["path"]}})).unwrap(), ["literal"]);
    assert_eq!(groups("a.b", json!({"a.b": null, "a": {"b": ["path"]}})).unwrap(), ["path"]);
}

#[test]
fn a_path_leads_through_objects() {
    assert_eq!(groups("realm_access.roles", json!({"realm_access": {"roles": ["a"]}})).unwrap(), ["a"]);
    let nested = json!({"resource_access": {"my.client": {"roles": ["a"]}}});
    assert_eq!(groups("resource_access.my.client.roles", nested).unwrap(), ["a"]);
    assert_eq!(groups("a.b.c", json!({"a": {"b": "x"}})).unwrap(), [""; 0]);
    assert_eq!(groups("a.0", json!({"a": ["x"]})).unwrap(), [""; 0]);
}

#[test]
fn with_a_prefix_only_groups_that_have_it_count_and_they_lose_it_once() {
    let prefixed = Settings { groups_prefix: "/".into(), ..settings("u", "groups") };
    let claims = json!({"u": "jane", "groups": ["/admins", "admins2", "//x", "a/b", ""]});
    assert_eq!(map(&prefixed, claims).unwrap().groups, ["admins", "/x"]);
}

#[test]
fn a_username_must_be_a_string_that_elasticsearch_accepts() {
    for (value, reason) in [
        (json!(null), "token_claim_missing"),
        (json!(5), "token_claim_type"),
        (json!(["jane"]), "token_claim_type"),
        (json!(""), "username_refused"),
        (json!("jürgen"), "username_refused"),
        (json!("a:b"), "username_refused"),
    ] {
        assert_eq!(map(&settings("u", "g"), json!({"u": value})).unwrap_err(), reason, "{value}");
    }
}

#[test]
fn a_username_keeps_its_case_unless_the_policy_says_otherwise_and_is_judged_with_its_prefix() {
    let name = |case, prefix: &str, name: &str| {
        let settings = Settings { username_case: case, username_prefix: prefix.into(), ..settings("u", "g") };
        map(&settings, json!({"u": name})).map(|mapped| mapped.username.to_string())
    };
    assert_eq!(name(Case::Keep, "", "Bob.Doe").unwrap(), "Bob.Doe");
    assert_eq!(name(Case::Lower, "", "Bob.Doe").unwrap(), "bob.doe");
    assert_eq!(name(Case::Lower, "Ext-", "Bob").unwrap(), "Ext-bob");
    assert_eq!(name(Case::Keep, "ext-", "_bob").unwrap(), "ext-_bob");
    // no folding beyond ASCII: K (Kelvin sign) must not become k
    assert_eq!(name(Case::Lower, "", "\u{212a}im"), Err("username_refused"));
    assert_eq!(name(Case::Keep, "ext-", &"x".repeat(252)), Err("username_refused"));
}

#[test]
fn an_email_address_is_a_username_only_when_the_provider_verified_it() {
    let outcome = |username: &str, allow, claims: Value| {
        let settings = Settings { allow_unverified_email: allow, ..settings(username, "g") };
        map(&settings, claims).map(|mapped| mapped.username.to_string())
    };
    let with = |verified: Value| json!({"email": "a@b.c", "email_verified": verified});
    for verified in [json!(true), json!("true")] {
        assert_eq!(outcome("email", false, with(verified)).unwrap(), "a@b.c");
    }
    for verified in [json!(false), json!(null), json!("false"), json!(1), json!([true])] {
        assert_eq!(outcome("email", false, with(verified.clone())), Err("email_unverified"), "{verified}");
    }
    assert_eq!(outcome("email", false, json!({"email": "a@b.c"})), Err("email_unverified"));
    assert_eq!(outcome("email", true, json!({"email": "a@b.c"})).unwrap(), "a@b.c");
    let nested = |verified| json!({"user": {"email": "a@b.c", "email_verified": verified}, "email_verified": true});
    assert_eq!(outcome("user.email", false, nested(false)), Err("email_unverified"), "its own sibling counts");
    assert_eq!(outcome("user.email", false, nested(true)).unwrap(), "a@b.c");

    let mail = Settings { email: "mail".into(), ..settings("mail", "g") };
    assert_eq!(map(&mail, json!({"mail": "a@b.c"})).unwrap_err(), "email_unverified", "whatever it is called");
}

/// What providers put into tokens, and what becomes of the username.
#[test]
fn a_username_that_is_an_address_is_judged_as_one_whatever_its_claim_is_called() {
    let outcome = |claim: &str, claims: &Value| {
        map(&settings(claim, "g"), claims.clone()).map(|mapped| mapped.username.to_string())
    };
    let refused = Err("email_unverified");
    for (provider, claim, claims, expected) in [
        (
            "Keycloak, the address as username",
            "preferred_username",
            json!({"preferred_username": "boss@example.com", "email": "boss@example.com", "email_verified": false}),
            refused,
        ),
        (
            "the same, verified",
            "preferred_username",
            json!({"preferred_username": "boss@example.com", "email": "boss@example.com", "email_verified": true}),
            Ok("boss@example.com"),
        ),
        (
            "the same, as text",
            "preferred_username",
            json!({"preferred_username": "boss@example.com", "email": "Boss@example.com", "email_verified": "false"}),
            refused,
        ),
        (
            "an address, and no claim with it",
            "preferred_username",
            json!({"preferred_username": "boss@example.com", "email_verified": false}),
            refused,
        ),
        (
            "a user who chose an address that is not the one in the profile",
            "preferred_username",
            json!({"preferred_username": "boss@example.com", "email": "me@evil.example", "email_verified": false}),
            refused,
        ),
        (
            "Keycloak, a plain username",
            "preferred_username",
            json!({"preferred_username": "jane", "email": "jane@example.com", "email_verified": false}),
            Ok("jane"),
        ),
        (
            "Entra ID, which says nothing about addresses",
            "preferred_username",
            json!({"preferred_username": "jane@example.com", "oid": "1", "tid": "2"}),
            Ok("jane@example.com"),
        ),
        (
            "Entra ID, with the optional claim email",
            "upn",
            json!({"upn": "jane@example.com", "email": "jane@example.com"}),
            Ok("jane@example.com"),
        ),
        (
            "a domain that the provider verified",
            "upn",
            json!({"upn": "jane@example.com", "email": "j@example.com", "email_verified": true}),
            Ok("jane@example.com"),
        ),
        (
            "a name with an @ that is no address",
            "nickname",
            json!({"nickname": "jane@", "email_verified": false}),
            Ok("jane@"),
        ),
        (
            "an e-mail claim that holds no address",
            "nickname",
            json!({"nickname": "jane", "email": "jane", "email_verified": false}),
            refused,
        ),
        ("a word that is neither yes nor no", "sub", json!({"sub": "jane@example.com", "email_verified": 0}), refused),
    ] {
        assert_eq!(outcome(claim, &claims).as_deref().map_err(|error| *error), expected, "{provider}");
    }
    let allowed = Settings { allow_unverified_email: true, ..settings("preferred_username", "g") };
    let claims = json!({"preferred_username": "boss@example.com", "email_verified": false});
    assert!(map(&allowed, claims).is_ok(), "the administrators set all addresses");
    let nested = Settings { email: "user.email".into(), ..settings("login", "g") };
    let claims = json!({"login": "boss@example.com", "user": {"email": "boss@example.com", "email_verified": false}});
    assert_eq!(map(&nested, claims).unwrap_err(), "email_unverified", "the word beside the e-mail claim counts");
}

#[test]
fn required_claims_must_be_there_with_an_accepted_value() {
    let outcome = |name: &str, accepted: &[&str], mut claims: Value| {
        claims["u"] = json!("jane");
        let required = vec![(name.to_owned(), accepted.iter().map(|value| (*value).to_owned()).collect())];
        map(&Settings { required, ..settings("u", "g") }, claims).err()
    };
    assert_eq!(outcome("tid", &["x", "y"], json!({"tid": "y"})), None);
    assert_eq!(outcome("tid", &["x"], json!({"tid": ["a", "x"]})), None);
    assert_eq!(outcome("a.ok", &["true"], json!({"a": {"ok": true}})), None);
    assert_eq!(outcome("level", &["2"], json!({"level": 2})), None);
    assert_eq!(outcome("tid", &[], json!({"tid": {"any": 1}})), None);
    assert_eq!(outcome("tid", &["x"], json!({"tid": "X"})), Some("token_claim_value"));
    assert_eq!(outcome("tid", &["x"], json!({"tid": []})), Some("token_claim_value"));
    assert_eq!(outcome("tid", &["x"], json!({"tid": {"x": "x"}})), Some("token_claim_value"));
    assert_eq!(outcome("tid", &["null"], json!({"tid": null})), Some("token_claim_missing"));
    assert_eq!(outcome("tid", &[], json!({})), Some("token_claim_missing"));
}

#[test]
fn what_is_only_shown_never_refuses() {
    let claims = json!({"u": "jane", "email": 5, "profile": {"name": "Jürgen"}});
    let mapped = map(&settings("u", "g"), claims).unwrap();
    assert_eq!((mapped.email, mapped.full_name.as_deref()), (None, Some("Jürgen")));
}
