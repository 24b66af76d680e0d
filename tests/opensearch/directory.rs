//! What `elastauth users` does to users of OpenSearch.

use elastauth::credentials::{Day, Existing, Ours, Password, Provisioner as _, SealedCopy, UserSpec};
use elastauth::opensearch::{Hashing, OpenSearch};
use elastauth::users::{Directory as _, Stamp};
use reqwest::Method;
use serde_json::json;

use crate::{name, owner, server, spec};

#[tokio::test(flavor = "multi_thread")]
async fn users_are_listed_with_their_stamps_deleted_once_and_never_disabled() {
    let Some(node) = server::node().await else { return };
    let (opensearch, password) = (node.provisioner(), Password::generate().unwrap());
    opensearch.write(&spec("listed", &["one"]), Some(&password)).await.unwrap();
    let accounts = opensearch.list().await.unwrap();
    let account = |wanted: &str| accounts.iter().find(|account| account.name == wanted);
    let stamp = account("listed").unwrap().stamp.as_ref().unwrap();
    assert_eq!((stamp.subject.as_deref(), stamp.last_seen), (Some("listed"), Some(Day::of(0))));
    for (user, reserved) in [("listed", false), ("person", false), ("admin", true), ("provisioner", true)] {
        assert_eq!(account(user).unwrap().reserved, reserved, "{user}");
    }
    assert!(account("person").unwrap().stamp.is_none() && account("hidden-user").is_none());
    let refused = opensearch.disable(&name("listed")).await.unwrap_err();
    assert!(refused.to_string().contains("users delete"), "{refused}");
    opensearch.delete(&name("listed")).await.unwrap();
    assert!(node.user("listed").await.is_null());
    opensearch.delete(&name("listed")).await.unwrap();
    assert!(opensearch.find(&name("listed")).await.unwrap().is_none());
    opensearch.delete(&name("reserved-user")).await.unwrap_err();
    assert!(!node.user("reserved-user").await.is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_handed_over_and_given_up_with_its_password_and_attributes() {
    let Some(node) = server::node().await else { return };
    let body =
        json!({ "password": "made-by-Hand-1234567", "backend_roles": ["by-hand"], "attributes": { "team": "x" } });
    assert_eq!(node.by_hand(Method::PUT, "adopted", Some(body)).await.0, 201);
    let opensearch = node.provisioner();
    let inspect = async |subject| opensearch.inspect(&name("adopted"), &owner(subject), &server::context()).await;
    inspect("adopted").await.unwrap_err();
    let (cluster, issuer, store) = ("tests".into(), "https://issuer".into(), None);
    let (subject, mapping) = (Some("adopted".into()), elastauth::roles::Version::default());
    let stamp = Stamp { cluster, issuer, subject, as_of: 7, mapping, last_seen: None, store };
    opensearch.mark(&name("adopted"), Some(&stamp)).await.unwrap();
    assert!(matches!(inspect("adopted").await.unwrap(), Existing::Ours(Ours { standing: Some(_), .. })));
    inspect("another").await.unwrap_err();
    let secret = || async { node.user("adopted").await["attributes"].get("elastauth.io/secret").cloned() };
    let sealed = json!([{ "op": "add", "path": "/attributes/elastauth.io~1secret", "value": "c2VhbGVk" }]);
    assert_eq!(node.by_hand(Method::PATCH, "adopted", Some(sealed.clone())).await.0, 200);
    assert_eq!(secret().await, Some("c2VhbGVk".into()));
    opensearch.mark(&name("adopted"), Some(&Stamp { subject: Some("next".into()), ..stamp })).await.unwrap();
    assert_eq!(secret().await, None, "the next owner does not get the password that the former one had");
    assert_eq!(node.by_hand(Method::PATCH, "adopted", Some(sealed)).await.0, 200);
    opensearch.mark(&name("adopted"), None).await.unwrap();
    assert_eq!(secret().await, None);
    inspect("adopted").await.unwrap_err();
    let user = node.user("adopted").await;
    assert_eq!((&user["attributes"]["team"], &user["backend_roles"]), (&json!("x"), &json!(["by-hand"])));
    assert!(node.accepts("adopted", "made-by-Hand-1234567").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_user_has_the_new_password_and_its_copy_and_nothing_else_changes() {
    let Some(node) = server::node().await else { return };
    let (opensearch, former) = (node.provisioner(), Password::generate().unwrap());
    let copy = |byte| SealedCopy::new(vec![byte; 120]);
    opensearch.write(&UserSpec { copy: copy(1), ..spec("renewed", &["one"]) }, Some(&former)).await.unwrap();
    let before = node.user("renewed").await;
    let mut settings = node.settings();
    settings.hashing = Hashing::There;
    let hashed_there = OpenSearch::new(settings).unwrap();
    for (opensearch, copy) in [(&opensearch, copy(2)), (&hashed_there, None)] {
        let password = Password::generate().unwrap();
        opensearch.renew(&name("renewed"), &password, copy.as_ref()).await.unwrap();
        assert!(node.accepts("renewed", password.expose()).await);
        assert!(!node.accepts("renewed", former.expose()).await, "the former password is dead");
        let mut after = node.user("renewed").await;
        let secret = after["attributes"].as_object_mut().unwrap().remove("elastauth.io/secret");
        assert_eq!(secret, copy.map(|copy| copy.to_text().into()));
        let mut before = before.clone();
        before["attributes"].as_object_mut().unwrap().remove("elastauth.io/secret");
        assert_eq!(after, before);
    }
    opensearch.renew(&name("renewed-nobody"), &former, None).await.unwrap_err();
    assert!(node.user("renewed-nobody").await.is_null());
}
