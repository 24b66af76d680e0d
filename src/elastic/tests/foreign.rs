//! Foreign answers: nothing is concluded from any of them, whatever call they answer.

use axum::response::IntoResponse as _;

use super::*;
use crate::cluster_client::foreign_answers::{FOREIGN_ANSWERS, ForeignAnswer};
use crate::users::Directory as _;

/// A back end with one address, which gives the same foreign answer for all paths, perhaps except one.
struct Place {
    elastic: Elastic,
    now: Arc<Mutex<ForeignAnswer>>,
}

async fn place(own: Option<(&'static str, &'static str)>) -> Place {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let now = Arc::new(Mutex::new(FOREIGN_ANSWERS[0]));
    let answer = move |State(now): State<Arc<Mutex<ForeignAnswer>>>, uri: Uri| async move {
        if let Some((_, own)) = own.filter(|(path, _)| *path == uri.path()) {
            return ([("x-elastic-product", "Elasticsearch")], own).into_response();
        }
        let (status, kind, body) = *now.lock();
        (axum::http::StatusCode::from_u16(status).unwrap(), [("content-type", kind)], body).into_response()
    };
    let router = Router::new().fallback(answer).with_state(Arc::clone(&now));
    tokio::spawn(async move { axum::serve(listener, router).await });
    // long enough that a loaded machine is not taken for a server that does not answer
    let patient = Duration::from_secs(30);
    let settings = Settings { timeout: patient, write_timeout: patient, ..settings(vec![url]) };
    Place { elastic: Elastic::new(settings).unwrap(), now }
}

impl Place {
    /// Runs the check with each of the foreign answers.
    async fn each(&self, check: impl AsyncFn(&Elastic, ForeignAnswer)) {
        for foreign in FOREIGN_ANSWERS {
            *self.now.lock() = *foreign;
            check(&self.elastic, *foreign).await;
        }
    }
}

#[tokio::test]
async fn a_look_that_something_else_answers_finds_neither_a_user_nor_that_there_is_none() {
    let place = place(None).await;
    let check = async |elastic: &Elastic, foreign| {
        let found = elastic.inspect(&name("ann"), &owner(), &RequestContext::default()).await;
        assert!(
            matches!(&found, Err(InspectError::Unavailable(why)) if why.contains("in its place")),
            "{foreign:?}: {found:?}"
        );
        let found = elastic.other_writer(&name("ann")).await;
        assert!(matches!(found, Err(InspectError::Unavailable(_))), "{foreign:?}: {found:?}");
        assert!(elastic.find(&name("ann")).await.is_err(), "{foreign:?}");
    };
    place.each(check).await;
}

#[tokio::test]
async fn a_write_that_something_else_answers_is_neither_applied_nor_refused() {
    let (place, password) = (place(None).await, Password::generate().unwrap());
    let check = async |elastic: &Elastic, foreign| {
        for password in [Some(&password), None] {
            let written = elastic.write(&spec(), password).await;
            assert!(
                matches!(&written, Err(WriteError::Unknown(why)) if why.contains("in its place")),
                "{foreign:?}: {written:?}"
            );
        }
    };
    place.each(check).await;
}

#[tokio::test]
async fn a_login_that_something_else_answers_is_neither_accepted_nor_rejected() {
    let place = place(None).await;
    let check = async |elastic: &Elastic, foreign| {
        let found = elastic.log_in(&name("ann"), &Password::generate().unwrap()).await;
        assert!(matches!(found, Err(InspectError::Unavailable(_))), "{foreign:?}: {found:?}");
    };
    place.each(check).await;
}

/// A scheduled job that disables users must not end well without having done it.
#[tokio::test]
async fn no_command_about_users_ends_well_where_something_else_answers() {
    let account = ("/_security/_authenticate", r#"{"username":"provisioner","roles":["superuser"]}"#);
    let privileges = ("/_security/user/_has_privileges", r#"{"has_all_requested":true,"cluster":{}}"#);
    let check = async |elastic: &Elastic, foreign| {
        assert!(elastic.list().await.is_err(), "{foreign:?}");
        assert!(elastic.disable(&name("ann")).await.is_err(), "{foreign:?}");
        assert!(elastic.delete(&name("ann")).await.is_err(), "{foreign:?}");
        assert!(elastic.mark(&name("ann"), None).await.is_err(), "{foreign:?}");
        assert!(elastic.examine().await.is_err(), "{foreign:?}");
    };
    place(Some(account)).await.each(check).await;
    let examined = async |elastic: &Elastic, foreign| assert!(elastic.examine().await.is_err(), "{foreign:?}");
    place(Some(privileges)).await.each(examined).await;
}

/// Also where the account has all privileges, and only the list comes from a proxy.
#[tokio::test]
async fn a_list_is_elasticsearchs_own_or_an_error() {
    let list = async |status: u16, body: Value| {
        let server = scripted(move |path, body_sent| match path {
            "/_security/_authenticate" => (200, json!({ "username": "provisioner", "roles": [] })),
            "/_security/user/_has_privileges" => {
                let asked = body_sent["cluster"].as_array().unwrap().iter().filter_map(Value::as_str);
                let may: serde_json::Map<_, _> = asked.map(|name| (name.to_owned(), true.into())).collect();
                (200, json!({ "has_all_requested": true, "cluster": may }))
            }
            _ => (status, body.clone()),
        })
        .await;
        elastic(vec![server.url]).list().await.map(|accounts| accounts.len()).map_err(|error| error.to_string())
    };
    let user = json!({ "ann": { "username": "ann", "roles": [], "metadata": {}, "enabled": true } });
    assert_eq!(list(200, user).await, Ok(1));
    assert_eq!((list(200, json!({})).await, list(404, json!({})).await), (Ok(0), Ok(0)), "where there are none");
    for (status, body) in [
        (404, json!({ "message": "no Route matched with those values" })),
        (404, json!({ "status": 404, "error": "Not Found" })),
        (200, json!({ "users": [] })),
        (200, json!([])),
        (200, json!({ "ann": {} })),
    ] {
        let error = list(status, body.clone()).await.unwrap_err();
        assert!(error.contains("in its place"), "{body}: {error}");
    }
}

#[tokio::test]
async fn once_the_product_was_named_an_answer_without_the_name_is_not_elasticsearchs() {
    let account = ("/_security/_authenticate", r#"{"username":"ann","roles":["r"]}"#);
    for own in [Some(account), None] {
        let place = place(own).await;
        *place.now.lock() = (404, "application/json", "{}");
        let _ = place.elastic.log_in(&name("ann"), &Password::generate().unwrap()).await;
        let found = place.elastic.inspect(&name("ann"), &owner(), &RequestContext::default()).await;
        if own.is_some() {
            let explained = matches!(&found, Err(InspectError::Unavailable(why)) if why.contains("x-elastic-product"));
            assert!(explained, "{found:?}");
        } else {
            assert_eq!(found.unwrap(), Existing::Absent, "before 7.14, and where a proxy removes it");
        }
    }
    // errors do not always have the name: elasticsearch#73434
    let rejected = r#"{"error":{"type":"security_exception","reason":"r"},"status":401}"#;
    let own = ("/_security/user/bob", r#"{"bob":{"username":"bob","roles":[],"metadata":{},"enabled":true}}"#);
    let place = place(Some(own)).await;
    *place.now.lock() = (401, "application/json", rejected);
    let found = place.elastic.inspect(&name("bob"), &owner(), &RequestContext::default()).await;
    assert!(matches!(found, Err(InspectError::Refused(Refused::NotOurs))), "{found:?}");
    let rejected = place.elastic.log_in(&name("ann"), &Password::generate().unwrap()).await;
    assert_eq!(rejected.unwrap(), Login::Rejected);
}
