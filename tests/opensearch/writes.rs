//! Users are made and changed one at a time.

use elastauth::credentials::agreement::Standing;
use elastauth::credentials::{
    Existing, Login, Ours, Password, Provisioner as _, SealedCopy, StoreName, UserSpec, WriteError,
};
use elastauth::opensearch::{Hashing, OpenSearch, RoleField};
use elastauth::roles::{Roles, Version};
use serde_json::json;

use crate::{accepted, accepted_with, name, owner, server, spec};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_made_with_its_stamp_and_logs_in_with_its_roles() {
    let Some(node) = server::node().await else { return };
    let (opensearch, password) = (node.provisioner(), Password::generate().unwrap());
    let user = "made@example.com+1";
    assert_eq!(opensearch.inspect(&name(user), &owner(user), &server::context()).await.unwrap(), Existing::Absent);
    opensearch.write(&spec(user, &["developers", "viewers"]), Some(&password)).await.unwrap();
    let stands = Standing { mapping: Version::default(), as_of: 7, roles: Roles::new(["developers", "viewers"]) };
    let found = opensearch.inspect(&name(user), &owner(user), &server::context()).await.unwrap();
    assert_eq!(found, Existing::Ours(Ours { standing: Some(stands), copy: None }));
    let accepted = opensearch.log_in(&name(user), &password).await.unwrap();
    assert_eq!(accepted, accepted_with(&["developers", "viewers"]));
    let other = opensearch.log_in(&name(user), &Password::generate().unwrap()).await.unwrap();
    assert_eq!(other, Login::Rejected);
    let shown = node.user("made%40example.com%2B1").await;
    assert!(shown.is_null(), "the name is not what its encoding is");
    let stamp = json!({ "elastauth.io/managed-by": "elastauth", "elastauth.io/cluster": "tests",
        "elastauth.io/issuer": "https://issuer", "elastauth.io/subject": user, "elastauth.io/as-of": "7",
        "elastauth.io/unbound": "false", "elastauth.io/store": StoreName::from("memory of a test").mark,
        "elastauth.io/mapping": "0000000000000000", "elastauth.io/mapping-since": "0", "elastauth.io/last-seen": "1970-01-01",
        "elastauth.io/full-name": "Full Name" });
    assert_eq!(node.user(user).await["attributes"], stamp);
}

/// Requirement 21: a change of roles goes without a password.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_roles_keeps_the_password_and_one_of_nobody_says_so() {
    let Some(node) = server::node().await else { return };
    let (opensearch, password) = (node.provisioner(), Password::generate().unwrap());
    let copy = |byte| SealedCopy::new(vec![byte; 120]);
    let found =
        async || match opensearch.inspect(&name("changed"), &owner("changed"), &server::context()).await.unwrap() {
            Existing::Ours(ours) => ours.copy,
            Existing::Absent => panic!("absent"),
        };
    opensearch.write(&UserSpec { copy: copy(1), ..spec("changed", &["one"]) }, Some(&password)).await.unwrap();
    assert_eq!(found().await, copy(1));
    opensearch.write(&UserSpec { copy: copy(2), ..spec("changed", &["two"]) }, None).await.unwrap();
    assert_eq!(found().await, copy(2), "the sealed password is written with the roles, too");
    opensearch.write(&spec("changed", &["two"]), None).await.unwrap();
    assert_eq!(found().await, None);
    let accepted = opensearch.log_in(&name("changed"), &password).await.unwrap();
    assert_eq!(accepted, accepted_with(&["two"]), "the old password, and the new roles");
    assert_eq!(node.user("changed").await["attributes"]["elastauth.io/subject"], "changed", "the stamp is sent again");
    let missing = opensearch.write(&spec("missing", &["one"]), None).await;
    assert!(matches!(missing, Err(WriteError::Missing)), "{missing:?}");
    assert!(node.user("missing").await.is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_may_hash_instead_and_roles_may_be_its_own() {
    let Some(node) = server::node().await else { return };
    let mut settings = node.settings();
    settings.hashing = Hashing::There;
    settings.roles = RoleField::Security;
    let (opensearch, password) = (OpenSearch::new(settings).unwrap(), Password::generate().unwrap());
    opensearch.write(&spec("hashed-there", &["reading"]), Some(&password)).await.unwrap();
    let login = opensearch.log_in(&name("hashed-there"), &password).await.unwrap();
    assert!(accepted(&login, &["reading"]), "{login:?}");
    let shown = node.user("hashed-there").await;
    assert_eq!((&shown["backend_roles"], &shown["opendistro_security_roles"]), (&json!([]), &json!(["reading"])));
}
