//! Users that elastauth leaves alone, and administrators' accounts that do not work.

use elastauth::cluster_client::account::Scheme;
use elastauth::credentials::{
    BackendStatus as _, Existing, InspectError, Login, Password, Provisioner as _, Refused, WriteError,
};
use elastauth::opensearch::OpenSearch;
use elastauth_support::elasticsearch::ADMIN;

use crate::{accepted, name, owner, server, spec};

fn refused(found: Result<Existing, InspectError>) -> Option<Refused> {
    match found {
        Err(InspectError::Refused(refused)) => Some(refused),
        _ => None,
    }
}

/// Requirement 5: a user without our stamp is never written.
#[tokio::test(flavor = "multi_thread")]
async fn users_of_others_are_refused_and_stay_exactly_as_they_are() {
    let Some(node) = server::node().await else { return };
    let (opensearch, password) = (node.provisioner(), Password::generate().unwrap());
    opensearch.write(&spec("taken", &["one"]), Some(&password)).await.unwrap();
    let before = node.user("taken").await;
    for (user, subject, expected) in [
        ("person", "person", Refused::NotOurs),
        ("taken", "another", Refused::OtherOwner),
        ("reserved-user", "reserved-user", Refused::Reserved),
        (ADMIN.0, ADMIN.0, Refused::Reserved),
    ] {
        let found = opensearch.inspect(&name(user), &owner(subject), &server::context()).await;
        assert_eq!(refused(found), Some(expected), "{user}");
    }
    assert_eq!(node.user("taken").await, before);
    assert!(node.accepts("person", ADMIN.1).await);
    let mut other = OpenSearch::new({
        let mut settings = node.settings();
        settings.cluster = "another".into();
        settings
    });
    let found = other.as_mut().unwrap().inspect(&name("taken"), &owner("taken"), &server::context()).await;
    assert_eq!(refused(found), Some(Refused::OtherOwner), "another deployment's user");
}

/// To an ordinary administrator a hidden user seems absent, and yet may not be written.
#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_or_reserved_user_is_refused_as_reserved_when_written_too() {
    let Some(node) = server::node().await else { return };
    let (opensearch, password) = (node.provisioner(), Password::generate().unwrap());
    let found = opensearch.inspect(&name("hidden-user"), &owner("hidden-user"), &server::context()).await;
    assert_eq!(found.unwrap(), Existing::Absent);
    for user in ["hidden-user", "reserved-user"] {
        let written = opensearch.write(&spec(user, &["one"]), Some(&password)).await;
        assert!(matches!(written, Err(WriteError::Refused { refused: Refused::Reserved, .. })), "{user}: {written:?}");
        assert!(node.accepts(user, ADMIN.1).await, "{user}");
    }
}

/// With the certificate of a super-administrator hidden users are seen, and reserved ones could be written. Over a connection
/// with it, OpenSearch takes every user for that administrator, whatever password is sent.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_super_administrators_certificate_nobody_more_is_touched_and_logins_are_the_users_own() {
    let Some(node) = server::node().await else { return };
    let (opensearch, password) = (OpenSearch::new(node.certified()).unwrap(), Password::generate().unwrap());
    for (user, expected) in
        [("hidden-user", Refused::Reserved), ("reserved-user", Refused::Reserved), ("person", Refused::NotOurs)]
    {
        let found = opensearch.inspect(&name(user), &owner(user), &server::context()).await;
        assert_eq!(refused(found), Some(expected), "{user}");
    }
    opensearch.write(&spec("certified", &["one"]), Some(&password)).await.unwrap();
    let login = opensearch.log_in(&name("certified"), &password).await.unwrap();
    assert!(accepted(&login, &["one"]), "{login:?}");
    let login = opensearch.log_in(&name("certified"), &Password::generate().unwrap()).await.unwrap();
    assert_eq!(login, Login::Rejected);
}

/// Requirement 28: an outage, never the user's fault.
#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_who_is_wrong_or_may_not_is_an_outage() {
    let Some(node) = server::node().await else { return };
    for (username, password) in [(ADMIN.0, "wrong"), ("nobody", "wrong"), ("powerless", ADMIN.1)] {
        let mut settings = node.settings();
        let account = settings.connection.account.as_mut().unwrap();
        account.scheme = Scheme::Basic { username: username.into() };
        account.secret = password.to_owned().into();
        let opensearch = OpenSearch::new(settings).unwrap();
        let found = opensearch.inspect(&name("unwritten"), &owner("unwritten"), &server::context()).await;
        assert!(matches!(found, Err(InspectError::Unavailable(_))), "{username}: {found:?}");
        let written = opensearch.write(&spec("unwritten", &["one"]), Some(&Password::generate().unwrap())).await;
        assert!(matches!(written, Err(WriteError::Unavailable(_))), "{username}: {written:?}");
    }
    assert!(node.user("unwritten").await.is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_is_examined_as_it_is() {
    let Some(node) = server::node().await else { return };
    assert_eq!(node.provisioner().examine().await, Ok(Vec::new()));
    assert_eq!(OpenSearch::new(node.certified()).unwrap().examine().await, Ok(Vec::new()));
    let mut settings = node.settings();
    settings.connection.account.as_mut().unwrap().scheme = Scheme::Basic { username: "powerless".into() };
    let found = OpenSearch::new(settings).unwrap().examine().await;
    assert!(found.as_ref().is_err_and(|why| why.contains("No permission")), "{found:?}");
}
