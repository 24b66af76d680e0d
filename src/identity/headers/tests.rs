use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::*;
use crate::identity::{claims, testing};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn settings() -> Settings {
    Settings {
        issuer: "authelia".into(),
        names: Names {
            username: HeaderName::from_static("remote-user"),
            groups: HeaderName::from_static("remote-groups"),
            email: HeaderName::from_static("remote-email"),
            full_name: HeaderName::from_static("remote-name"),
        },
        separator: ',',
        anchors: anchor::Settings { secrets: vec![SECRET.into()], peers: Vec::new() },
        metadata: None,
    }
}

fn header(value: &'static [u8]) -> Header {
    Header::One(Bytes::from_static(value))
}

/// Username, groups, e-mail, name.
fn by(headers: [Header; 4]) -> Result<Identity, Error> {
    let attributes =
        RequestAttributes { headers: headers.to_vec(), extension: SECRET.into(), ..RequestAttributes::default() };
    Reader::new(settings()).unwrap().identify(&attributes, UNIX_EPOCH)
}

#[test]
fn the_headers_of_a_login_proxy_make_an_identity_that_is_true_now() {
    let identity = by([header(b"ann"), header(b"admins,dev"), header(b"a@x.org"), header("Ann Grün, Dr.".as_bytes())]);
    let identity = identity.unwrap();
    assert_eq!(identity.username.as_str(), "ann");
    assert_eq!(identity.groups, ["admins", "dev"]);
    assert_eq!((identity.email.as_deref(), identity.full_name.as_deref()), (Some("a@x.org"), Some("Ann Grün, Dr.")));
    assert_eq!(identity.owner, Owner { issuer: "authelia".into(), subject: "ann".into() });
    assert_eq!(identity.as_of, AsOf::Now);
    let alone = by([header(b"ann"), Header::Absent, Header::Absent, header(b"")]).unwrap();
    assert_eq!((alone.groups.len(), alone.email, alone.full_name), (0, None, None));
}

#[test]
fn headers_that_could_be_somebody_elses_deny_with_their_reason() {
    let none = || Header::Absent;
    let ann = || header(b"ann");
    for (headers, reason) in [
        ([none(), header(b"admins"), none(), none()], "identity_missing"),
        ([header(b""), none(), none(), none()], "identity_missing"),
        ([Header::Several, none(), none(), none()], "identity_repeated"),
        ([header(b"ann,bob"), none(), none(), none()], "identity_repeated"),
        ([header(b"ann, ann"), none(), none(), none()], "identity_repeated"),
        ([ann(), Header::Several, none(), none()], "identity_repeated"),
        ([ann(), none(), Header::Several, none()], "identity_repeated"),
        ([ann(), none(), header(b"a@x,b@x"), none()], "identity_repeated"),
        ([ann(), none(), none(), Header::Several], "identity_repeated"),
        ([header(b"j!rgen"), none(), none(), none()], "identity_encoding"),
        ([header("jürgen".as_bytes()), none(), none(), none()], "identity_encoding"),
        ([header(b"ann\xff"), none(), none(), none()], "identity_encoding"),
        ([header(b"ann\0"), none(), none(), none()], "identity_encoding"),
        ([ann(), header(b"admins\xff"), none(), none()], "identity_encoding"),
        ([ann(), header(b"adm!ns"), none(), none()], "identity_encoding"),
        ([ann(), header("größen".as_bytes()), none(), none()], "identity_encoding"),
        ([header(b"a b"), none(), none(), none()], "username_refused"),
        ([header(b"_all"), none(), none(), none()], "username_refused"),
        ([header(b"a:b"), none(), none(), none()], "username_refused"),
    ] {
        assert_eq!(by(headers.clone()).unwrap_err().reason(), reason, "{headers:?}");
    }
    let unread = by([ann(), none(), none(), header(b"\xff")]).unwrap();
    assert_eq!(unread.full_name, None, "what is only shown is left out");
}

#[test]
fn without_the_anchor_nothing_is_looked_at() {
    let reader = Reader::new(settings()).unwrap();
    assert_eq!(reader.wanted().headers, settings().names.all());
    assert_eq!(reader.wanted().extension, Some(anchor::EXTENSION));
    let attributes = RequestAttributes { headers: vec![header(b"ann"); 4], ..RequestAttributes::default() };
    assert_eq!(reader.identify(&attributes, UNIX_EPOCH), Err(Error::Secret));
}

fn by_metadata(payload: Option<&str>, metadata: serde_json::Value) -> Result<Identity, Error> {
    let claims =
        claims::Settings { kept: vec!["department".into(), "level".into(), "absent".into()], ..testing::mapping() };
    let metadata_settings = metadata::Settings {
        namespace: "envoy.filters.http.jwt_authn".into(),
        payload: payload.map(str::to_owned),
        claims,
    };
    let reader = Reader::new(Settings { metadata: Some(metadata_settings), ..settings() }).unwrap();
    assert!(reader.wanted().headers.is_empty(), "headers do not count beside metadata");
    let attributes = RequestAttributes {
        // whatever a client sends
        headers: vec![header(b"mallory")],
        extension: SECRET.into(),
        metadata: serde_json::from_value(metadata).unwrap(),
        ..RequestAttributes::default()
    };
    reader.identify(&attributes, UNIX_EPOCH + Duration::from_secs(1000))
}

#[test]
fn envoys_own_token_filter_names_the_owner_and_the_time() {
    let token = json!({"jwt": {"iss": "https://i", "sub": "7", "iat": 900.0, "exp": 1100.0, "preferred_username": "ann",
                               "groups": ["a,b", "c"], "email": "a@x.org",
                               "department": ["it", "hr", {}], "level": 3}});
    let identity = by_metadata(Some("jwt"), token.clone()).unwrap();
    assert_eq!((identity.username.as_str(), identity.groups.as_slice()), ("ann", &["a,b".to_owned(), "c".into()][..]));
    assert_eq!(identity.owner, Owner { issuer: "https://i".into(), subject: "7".into() });
    assert_eq!(identity.as_of, AsOf::At(900_000));
    assert_eq!(identity.expires, UNIX_EPOCH + Duration::from_secs(1100));
    let kept: Vec<(&str, Vec<&str>)> =
        identity.claims.iter().map(|(name, values)| (&**name, values.iter().map(|v| &**v).collect())).collect();
    assert_eq!(kept, [("department", vec!["it", "hr"]), ("level", vec!["3"]), ("absent", vec![])]);
    let mut ahead = token;
    ahead["jwt"]["iat"] = json!(1e9);
    assert_eq!(by_metadata(Some("jwt"), ahead).unwrap().as_of, AsOf::At(1_000_000), "not before its time");
}

#[test]
fn fields_of_another_filter_belong_to_the_configured_issuer() {
    let identity =
        by_metadata(None, json!({"preferred_username": "ann", "groups": "dev", "iss": "https://i"})).unwrap();
    assert_eq!(identity.owner, Owner { issuer: "authelia".into(), subject: "ann".into() });
    assert_eq!((identity.as_of, identity.groups.as_slice()), (AsOf::Now, &["dev".to_owned()][..]));
}

#[test]
fn metadata_that_names_nobody_denies() {
    for (payload, metadata, reason, anonymous) in [
        (None, json!({}), "token_claim_missing", true),
        (Some("jwt"), json!({}), "identity_missing", true),
        (Some("jwt"), json!({"jwt": "ann"}), "identity_missing", true),
        (Some("jwt"), json!({"preferred_username": "ann"}), "identity_missing", true),
        (None, json!({"preferred_username": 5}), "token_claim_type", true),
        (None, json!({"preferred_username": "ann", "groups": [1]}), "token_claim_type", true),
        (None, json!({"preferred_username": "a:b"}), "username_refused", false),
        (None, json!({"preferred_username": "ann", "typ": "Refresh"}), "token_kind", true),
        (Some("jwt"), json!({"jwt": {"preferred_username": "ann", "events": {}}}), "token_kind", true),
        (Some("jwt"), json!({"jwt": {"preferred_username": "ann", "cnf": {"jkt": "x"}}}), "token_bound", true),
    ] {
        let error = by_metadata(payload, metadata.clone()).unwrap_err();
        assert_eq!((error.reason(), error.is_anonymous()), (reason, anonymous), "{metadata}");
    }
}
