//! How each answer is read. What is sent is tested with the whole process against the stand-in for Elasticsearch (`tests/`).

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, Uri};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use url::Url;

use serde_json::json;

use super::*;
use crate::cluster_client::account::Scheme;
use crate::credentials::{Day, Ours, SealedCopy};
use crate::digest::Digest;
use crate::outbound::Tls;
use crate::roles::Version;

type Requests = Arc<Mutex<Vec<(Method, String, String)>>>;

struct Server {
    url: Url,
    requests: Requests,
}

async fn server(status: u16, body: &str) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let requests = Requests::default();
    let status = axum::http::StatusCode::from_u16(status).unwrap();
    let body = body.to_owned();
    let answer = move |State(requests): State<Requests>, method: Method, uri: Uri, sent: Bytes| async move {
        let sent = String::from_utf8_lossy(&sent).into_owned();
        requests.lock().push((method, uri.to_string(), sent));
        (status, body)
    };
    let router = Router::new().fallback(answer).with_state(Arc::clone(&requests));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Server { url, requests }
}

fn elastic(hosts: Vec<Url>) -> Elastic {
    Elastic::new(settings(hosts)).unwrap()
}

fn settings(hosts: Vec<Url>) -> Settings {
    let scheme = Scheme::Basic { username: "provisioner".into() };
    let account = cluster_client::Account { scheme, secret: "admin-secret".to_owned().into(), file: None };
    let connection = cluster_client::Settings {
        hosts,
        account: Some(account),
        tls: Tls::default(),
        media_type: "application/json".into(),
    };
    let patience = Duration::from_secs(2);
    Settings {
        connection,
        timeout: Duration::from_secs(2),
        write_timeout: Duration::from_secs(2),
        writes: WriteLimits { concurrent: 4, patience, per_second: None },
        refresh: Refresh::False,
        hashing: Hashing::There,
        mapped_roles: Vec::new(),
        dry_run: false,
        cluster: "c".into(),
        store: "redis here".into(),
    }
}

fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

fn owner() -> Owner {
    Owner { issuer: "i".into(), subject: "s".into() }
}

fn spec() -> UserSpec {
    let roles = Roles::new(["r"]);
    let (username, context) = (name("ann"), RequestContext::default());
    UserSpec {
        username,
        owner: owner(),
        roles,
        as_of: 7,
        mapping: Version { since: 3, digest: Digest(255) },
        cluster_uuid: Some("u".into()),
        full_name: None,
        email: Some("e".into()),
        seen: Day::of(0),
        copy: None,
        context,
    }
}

/// An error in the form in which Elasticsearch reports it.
fn error(status: u16, kind: &str, reason: &str) -> String {
    let error = json!({ "root_cause": [{ "type": kind, "reason": reason }], "type": kind, "reason": reason });
    json!({ "error": error, "status": status }).to_string()
}

const CREATED: &str = r#"{"created":true}"#;

fn kind_of(written: &Result<(), WriteError>) -> &'static str {
    match written {
        Ok(()) => "ok",
        Err(WriteError::Missing) => "missing",
        Err(WriteError::Outranked) => "outranked",
        Err(WriteError::Refused { .. }) => "refused",
        Err(WriteError::Unavailable(_)) => "unavailable",
        Err(WriteError::Unknown(_)) => "unknown",
    }
}

#[tokio::test]
async fn a_write_is_read_by_its_status_first() {
    let (validation, illegal) = ("action_request_validation_exception", "illegal_argument_exception");
    let absent = "Validation Failed: 1: password must be specified unless you are updating an existing user;";
    for (status, body, expected) in [
        (200, CREATED.to_owned(), "ok"),
        (400, error(400, validation, absent), "missing"),
        (400, error(400, illegal, "roles are missing"), "refused"),
        (400, r#"{"error":"no handler found for uri [/x] and method [PUT]"}"#.into(), "unavailable"),
        (401, error(401, "security_exception", "r"), "unavailable"),
        (403, error(403, "security_exception", "r"), "unavailable"),
        (406, r#"{"error":"Content-Type header [x] is not supported","status":406}"#.into(), "unavailable"),
        (410, error(410, "security_exception", "r"), "unavailable"),
        (429, error(429, "cluster_block_exception", "r"), "unavailable"),
        (500, error(500, "exception", "clearing the cache for [ann] failed"), "unknown"),
        (503, error(503, "unavailable_shards_exception", "r"), "unknown"),
        (503, String::new(), "unknown"),
    ] {
        let server = server(status, &body).await;
        let password = Password::generate().unwrap();
        let found = elastic(vec![server.url]).write(&spec(), Some(&password)).await;
        let text = format!("{found:?}");
        assert!(!text.contains(password.expose()) && !text.contains("admin-secret"));
        assert_eq!(kind_of(&found), expected, "{status} {body}");
    }
}

#[tokio::test]
async fn a_write_sends_roles_stamp_and_enabled_and_the_password_only_when_told_to() {
    let server = server(200, CREATED).await;
    let elastic = elastic(vec![server.url]);
    let password = Password::generate().unwrap();
    elastic.write(&spec(), Some(&password)).await.unwrap();
    elastic.write(&spec(), None).await.unwrap();
    let requests = server.requests.lock().clone();
    let (method, uri, body) = &requests[0];
    assert_eq!((method.as_str(), uri.as_str()), ("PUT", "/_security/user/ann?refresh=false"));
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["password"], password.expose());
    assert_eq!((&body["roles"], &body["enabled"], &body["email"]), (&json!(["r"]), &json!(true), &json!("e")));
    assert_eq!(body["metadata"]["managed_by"], "elastauth");
    let mark = Digest::of(["redis here"]).to_string();
    let stamp = json!({ "cluster": "c", "cluster_uuid": "u", "store": mark, "issuer": "i", "subject": "s",
                        "unbound": false, "as_of": 7, "mapping": "00000000000000ff", "mapping_since": 3,
                        "last_seen": "1970-01-01", "secret": "" });
    assert_eq!(body["metadata"]["elastauth"], stamp);
    assert!(!body.to_string().contains("redis here"), "every user may read its own metadata");
    assert!(!requests[1].2.contains("password"));
}

/// A write without a password merges `metadata`, so that a sealed password that is left out would stay.
#[tokio::test]
async fn the_sealed_password_is_written_with_and_without_the_password_and_found_again() {
    let user = Arc::new(Mutex::new(Value::Null));
    let kept = Arc::clone(&user);
    let server = scripted(move |_, body| match body {
        Value::Object(_) => {
            *kept.lock() = body.clone();
            (200, json!({ "created": true }))
        }
        _ => (200, json!({ "ann": *kept.lock() })),
    })
    .await;
    let (elastic, password) = (elastic(vec![server.url.clone()]), Password::generate().unwrap());
    let copy = |byte| SealedCopy::new(vec![byte; 100]);
    for (copy, password) in [(copy(1), Some(&password)), (copy(2), None), (None, None), (copy(3), None)] {
        let text = copy.as_ref().map_or(String::new(), SealedCopy::to_text);
        elastic.write(&UserSpec { copy: copy.clone(), ..spec() }, password).await.unwrap();
        assert_eq!(user.lock()["metadata"]["elastauth"]["secret"], text);
        let found = elastic.inspect(&name("ann"), &owner(), &RequestContext::default()).await.unwrap();
        let Existing::Ours(found) = found else { panic!("{found:?}") };
        assert_eq!(found.copy, copy);
        assert_eq!(found.standing.map(|standing| standing.as_of), Some(7));
    }
    user.lock()["metadata"]["elastauth"]["secret"] = "edited by hand".into();
    let found = elastic.inspect(&name("ann"), &owner(), &RequestContext::default()).await.unwrap();
    assert!(matches!(found, Existing::Ours(Ours { copy: None, standing: Some(_) })), "{found:?}");
}

#[tokio::test]
async fn a_write_that_is_shown_to_a_person_has_the_sealed_password_hidden() {
    let elastic = elastic(vec![server(200, CREATED).await.url]);
    let shown = |copy| elastic.preview(&UserSpec { copy, ..spec() }).1["metadata"]["elastauth"]["secret"].clone();
    assert_eq!((shown(SealedCopy::new(vec![1; 100])), shown(None)), ("(sealed)".into(), "".into()));
}

#[tokio::test]
async fn reserved_names_and_the_administrator_are_refused_without_a_request() {
    let server = server(200, "{}").await;
    let elastic = elastic(vec![server.url]);
    for reserved in ["elastic", "kibana_system", "provisioner"] {
        let found = elastic.inspect(&name(reserved), &owner(), &RequestContext::default()).await;
        assert!(matches!(found, Err(InspectError::Refused(Refused::Reserved))), "{reserved}");
    }
    assert!(server.requests.lock().is_empty());
}

#[tokio::test]
async fn a_look_that_finds_no_user_is_no_error_and_trouble_is_an_outage() {
    let missing = server(404, "{}").await;
    assert_eq!(
        elastic(vec![missing.url]).inspect(&name("ann"), &owner(), &RequestContext::default()).await.unwrap(),
        Existing::Absent
    );
    for (status, body) in [
        (200, "{}".to_owned()),
        (200, r#"{"bob":{"roles":[],"metadata":{},"enabled":true}}"#.into()),
        (401, error(401, "security_exception", "r")),
        (403, error(403, "security_exception", "r")),
        (404, error(404, "index_not_found_exception", "r")),
        (429, error(429, "t", "r")),
        (500, error(500, "t", "r")),
        (503, String::new()),
    ] {
        let server = server(status, &body).await;
        let found = elastic(vec![server.url]).inspect(&name("ann"), &owner(), &RequestContext::default()).await;
        assert!(matches!(found, Err(InspectError::Unavailable(_))), "{status} {body}");
    }
}

#[tokio::test]
async fn the_next_node_is_asked_when_one_cannot_be_reached_and_the_dead_one_rests() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = Url::parse(&format!("http://{}", closed.local_addr().unwrap())).unwrap();
    drop(closed);
    let live = server(200, CREATED).await;
    let elastic = elastic(vec![dead.clone(), live.url]);
    for _ in 0..4 {
        elastic.write(&spec(), None).await.unwrap();
    }
    assert_eq!(live.requests.lock().len(), 4);
    let alone = super::tests::elastic(vec![dead]);
    let found = alone.write(&spec(), None).await;
    assert!(matches!(found, Err(WriteError::Unavailable(_))), "certainly not applied: {found:?}");
}

#[tokio::test]
async fn an_oversize_answer_is_not_read_to_its_end() {
    let server = server(200, &"x".repeat(2 * 1024 * 1024)).await;
    let found = elastic(vec![server.url]).inspect(&name("ann"), &owner(), &RequestContext::default()).await;
    assert!(matches!(found, Err(InspectError::Unavailable(why)) if why.contains("1048576 bytes")));
}

#[tokio::test]
async fn a_login_is_accepted_with_its_roles_rejected_or_an_outage() {
    let log_in = async |status, body: &str| {
        let server = server(status, body).await;
        elastic(vec![server.url]).log_in(&name("ann"), &Password::generate().unwrap()).await
    };
    let accepted = log_in(200, r#"{"username":"ann","roles":["b","a"]}"#).await.unwrap();
    assert_eq!(accepted, Login::Accepted { roles: Roles::new(["a", "b"]), seen: None, as_of: None, mapping: None });
    assert_eq!(log_in(401, &error(401, "security_exception", "r")).await.unwrap(), Login::Rejected);
    let stamped = r#"{"username":"ann","roles":[],"metadata":{"managed_by":"elastauth","elastauth":{"last_seen":"2026-11-25","as_of":7}}}"#;
    assert_eq!(
        log_in(200, stamped).await.unwrap(),
        Login::Accepted {
            roles: Roles::default(),
            seen: Day::parse("2026-11-25"),
            as_of: Some(7),
            mapping: Some(Version::default())
        }
    );
    let old = r#"{"username":"ann","roles":[],"metadata":{"managed_by":"elastauth","elastauth":{}}}"#;
    let of_old = Login::Accepted { roles: Roles::default(), seen: Some(Day::of(0)), as_of: None, mapping: None };
    assert_eq!(log_in(200, old).await.unwrap(), of_old);
    for (status, body) in [
        (200, r#"{"username":"a-proxys-own","roles":["r"]}"#.to_owned()),
        (200, r#"{"username":"ann"}"#.into()),
        (401, error(401, "authentication_processing_error", "r")),
        (403, error(403, "security_exception", "r")),
        (404, "{}".into()),
        (429, error(429, "t", "r")),
        (500, error(500, "t", "r")),
        (503, "{}".into()),
    ] {
        assert!(matches!(log_in(status, &body).await, Err(InspectError::Unavailable(_))), "{status} {body}");
    }
}

/// A server that answers by path and body, and keeps the requests.
async fn scripted(answer: impl Fn(&str, &Value) -> (u16, Value) + Clone + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let requests = Requests::default();
    let handle = move |State(requests): State<Requests>, method: Method, uri: Uri, sent: Bytes| async move {
        let sent = String::from_utf8_lossy(&sent).into_owned();
        let body = serde_json::from_str(&sent).unwrap_or_default();
        let (status, answer) = answer(uri.path(), &body);
        requests.lock().push((method, uri.to_string(), sent));
        (axum::http::StatusCode::from_u16(status).unwrap(), axum::Json(answer))
    };
    let router = Router::new().fallback(handle).with_state(Arc::clone(&requests));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Server { url, requests }
}

fn hashing_here(server: &Server) -> Elastic {
    let hashing = Hashing::Here { cost: 4, cores: 2 };
    Elastic::new(Settings { hashing, ..settings(vec![server.url.clone()]) }).unwrap()
}

fn bodies(server: &Server) -> Vec<Value> {
    server.requests.lock().iter().map(|(_, _, body)| serde_json::from_str(body).unwrap()).collect()
}

/// Requirement 37: passwords can be hashed in this process.
#[tokio::test]
async fn a_hash_goes_instead_of_the_password_where_that_is_chosen() {
    let server = scripted(|_, _| (200, json!({ "created": true }))).await;
    let (elastic, password) = (hashing_here(&server), Password::generate().unwrap());
    elastic.write(&spec(), Some(&password)).await.unwrap();
    elastic.write(&spec(), None).await.unwrap();
    let [first, second] = bodies(&server).try_into().unwrap();
    let hash = first["password_hash"].as_str().unwrap();
    assert!(hash.starts_with("$2a$04$") && bcrypt::verify(password.expose(), hash).unwrap());
    assert!(first.get("password").is_none(), "both would be refused");
    assert!(second.get("password").is_none() && second.get("password_hash").is_none());
}

/// Requirement 37: another algorithm is never guessed.
#[tokio::test]
async fn a_cluster_that_wants_another_hash_gets_the_password_from_then_on_and_no_other_hash() {
    let reason = "Provided password hash uses [BCRYPT4] but the configured hashing algorithm is [BCRYPT]";
    let server = scripted(move |_, body| match body.get("password_hash") {
        Some(_) => (400, json!({ "error": { "type": "illegal_argument_exception", "reason": reason }, "status": 400 })),
        None => (200, json!({ "created": true })),
    })
    .await;
    let (elastic, password) = (hashing_here(&server), Password::generate().unwrap());
    for _ in 0..2 {
        elastic.write(&spec(), Some(&password)).await.unwrap();
    }
    let sent: Vec<_> = bodies(&server).iter().map(|body| body.get("password_hash").is_some()).collect();
    assert_eq!(sent, [true, false, false]);
    assert_eq!(bodies(&server)[2]["password"], password.expose());
}

/// Requirement 15: `refresh` is configurable.
#[tokio::test]
async fn refresh_is_what_the_setting_says() {
    for (refresh, query) in
        [(Refresh::False, "refresh=false"), (Refresh::True, "refresh=true"), (Refresh::WaitFor, "refresh=wait_for")]
    {
        let server = server(200, CREATED).await;
        let elastic = Elastic::new(Settings { refresh, ..settings(vec![server.url]) }).unwrap();
        elastic.write(&spec(), None).await.unwrap();
        assert!(server.requests.lock()[0].1.ends_with(query), "{query}");
    }
}

/// Requirement 38: Elasticsearch is asked for the privileges of the account.
#[tokio::test]
async fn the_account_is_examined_and_its_own_name_learned() {
    let put = "cluster:admin/xpack/security/user/put";
    let root = || (200, json!({ "cluster_uuid": "u" }));
    let denied = || (403, serde_json::from_str::<Value>(&error(403, "security_exception", "r")).unwrap());
    for (may_put, root, roles, expected) in [
        (true, root(), (200, json!({ "dev": {} })), Ok(vec![])),
        (true, root(), (200, json!({})), Ok(vec!["dev"])),
        (true, root(), denied(), Ok(vec!["could not be checked"])),
        (true, denied(), (200, json!({ "dev": {} })), Ok(vec!["cluster:monitor/main"])),
        (false, root(), (200, json!({ "dev": {} })), Err(put)),
    ] {
        let server = scripted(move |path, body| match path {
            "/" => root.clone(),
            "/_security/_authenticate" => (200, json!({ "username": "owner-of-the-key", "roles": [] })),
            "/_security/user/_has_privileges" => {
                let asked = body["cluster"].as_array().unwrap().iter().filter_map(Value::as_str);
                (
                    200,
                    json!({ "has_all_requested": may_put, "cluster": asked.map(|name| (name.to_owned(), name != put || may_put)).collect::<Vec<_>>()
                    .into_iter().collect::<std::collections::HashMap<_, _>>() }),
                )
            }
            _ => roles.clone(),
        })
        .await;
        let settings = Settings { mapped_roles: vec!["dev".into()], ..settings(vec![server.url.clone()]) };
        let elastic = Elastic::new(settings).unwrap();
        match (elastic.examine().await, expected) {
            (Ok(notes), Ok(parts)) => {
                assert_eq!(notes.len(), parts.len(), "{notes:?}");
                assert!(notes.iter().zip(parts).all(|(note, part)| note.contains(part)), "{notes:?}");
            }
            (Err(why), Err(part)) => assert!(why.contains(part) && why.contains("owner-of-the-key"), "{why}"),
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
        // requirement 4, where the credential itself has no username
        let found = elastic.inspect(&name("owner-of-the-key"), &owner(), &RequestContext::default()).await;
        assert!(matches!(found, Err(InspectError::Refused(Refused::Reserved))));
    }
}

/// Requirement 28: an outage, never a refusal of the user.
#[tokio::test]
async fn what_the_administrator_may_not_do_is_no_refusal_of_the_user() {
    for status in [401, 403, 410] {
        let server = server(status, &error(status, "security_exception", "r")).await;
        let found = elastic(vec![server.url]).write(&spec(), None).await;
        assert!(matches!(found, Err(WriteError::Unavailable(_))), "{status}: {found:?}");
    }
}

/// Requirement 36: a product without a name is used with one warning.
#[tokio::test]
async fn what_does_not_say_that_it_is_elasticsearch_is_warned_about_once() {
    let unnamed = server(200, r#"{"created":true}"#).await;
    let elastic = elastic(vec![unnamed.url]);
    for _ in 0..2 {
        elastic.write(&spec(), None).await.unwrap();
        assert!(elastic.warned_of_other_product.load(Ordering::Relaxed), "remembered, so that it is said once");
    }
    let refused = server(401, &error(401, "security_exception", "r")).await;
    let elastic = super::tests::elastic(vec![refused.url]);
    let _ = elastic.write(&spec(), None).await;
    assert!(
        !elastic.warned_of_other_product.load(Ordering::Relaxed),
        "errors do not always have the header: elasticsearch#73434"
    );
}

mod foreign;
