//! Addresses that are not there, or are none.

use serde_json::Value;

use super::*;

#[tokio::test]
async fn an_endpoint_that_the_document_does_not_have_is_named() {
    let origin = serve(|origin| Router::new().route(WELL_KNOWN, discovery(origin, &format!("{origin}/keys")))).await;
    let provider = OidcProvider::new(settings(&origin)).unwrap();
    for (question, name) in
        [(Question::Userinfo, "no userinfo_endpoint"), (Question::Introspection, "no introspection_endpoint")]
    {
        let error = provider.ask(question, "t").await.unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn introspection_never_sends_the_secret_in_plain_to_another_machine() {
    let endpoints = endpoints::Endpoints::new(&settings("https://id")).unwrap();
    let document = json!({"issuer": "https://id", "introspection_endpoint": "http://id/introspect"}).to_string();
    endpoints.discovered(document.as_bytes()).unwrap();
    let found = endpoints.find(Endpoint::Introspection).unwrap();
    assert!(found.unwrap_err().to_string().contains("neither https"));
    let plain = Settings { introspection_endpoint: Some("http://id/x".parse().unwrap()), ..settings("https://id") };
    assert!(matches!(OidcProvider::new(plain), Err(Error::Insecure { key: "oidc.introspection_endpoint", .. })));
}

/// A provider with a document that has this besides its issuer and its keys, and how often the document was asked for.
async fn with_document(more: Value) -> (OidcProvider, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&asked);
    let origin = serve(move |origin| {
        let mut document = json!({ "issuer": origin, "jwks_uri": format!("{origin}/keys") });
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = move || {
            count.fetch_add(1, Ordering::SeqCst);
            async move { Json(document) }
        };
        Router::new().route(WELL_KNOWN, get(answer)).route("/keys", get(|| async { KEYS }))
    })
    .await;
    (OidcProvider::new(Settings { client: Some(client("elastauth", "secret")), ..settings(&origin) }).unwrap(), asked)
}

#[tokio::test]
async fn an_address_that_is_never_asked_for_may_be_anything() {
    for address in [
        json!(""),
        json!("TBD"),
        json!("/userinfo"),
        json!("//id/userinfo"),
        json!("http://id.example.com/userinfo"),
        json!("urn:none"),
        json!(null),
        json!(false),
        json!({}),
    ] {
        // the issuer is on this machine, so plain http passes there
        let wrong = json!({ "userinfo_endpoint": address, "introspection_endpoint": address });
        let (provider, _) = with_document(wrong).await;
        assert_eq!(provider.fetch().await.unwrap(), KEYS.as_bytes(), "{address}");
    }
    let (provider, _) = with_document(json!({ "jwks_uri": "TBD" })).await;
    let error = provider.fetch().await.unwrap_err().to_string();
    assert!(error.contains("the jwks_uri is not a whole URL"), "an error where it is needed: {error}");
}

#[tokio::test]
async fn an_address_that_is_needed_and_wrong_is_named_and_looked_for_again() {
    for (address, why) in [
        (json!(""), "has no userinfo_endpoint"),
        (json!("TBD"), "the userinfo_endpoint is not a whole URL"),
        (json!("/userinfo"), "the userinfo_endpoint is not a whole URL"),
        (json!("ftp://id/userinfo"), "the userinfo_endpoint is neither https nor on this machine"),
        (json!(7), "the userinfo_endpoint is not a text"),
    ] {
        let (provider, asked) = with_document(json!({ "userinfo_endpoint": address })).await;
        for times in 1..=2 {
            let error = provider.ask(Question::Userinfo, "t").await.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert_eq!(asked.load(Ordering::SeqCst), times, "the provider may have mended it");
        }
    }
}
