//! Many users are written at once.

use std::sync::Arc;

use elastauth::credentials::{Password, Provisioner as _, Refused, WriteError};
use elastauth::opensearch::{OpenSearch, RoleField};
use futures_util::future::join_all;

use crate::{accepted, accepted_with, name, server, spec};

/// Requirement 41: three processes at once get in each other's way, as all users are one document.
#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_users_by_three_writers_at_once_none_is_lost() {
    let Some(node) = server::node().await else { return };
    let writers: Vec<_> = (0..3).map(|_| Arc::new(node.provisioner())).collect();
    let users: Vec<_> = (0..50).map(|i| (format!("crowd-{i}"), Password::generate().unwrap())).collect();
    let written = users.iter().enumerate().map(|(i, (user, password))| {
        let (writer, user, password) = (Arc::clone(&writers[i % 3]), spec(user, &["crowd"]), password.clone());
        tokio::spawn(async move { writer.write(&user, Some(&password)).await })
    });
    for written in join_all(written).await {
        written.unwrap().unwrap();
    }
    for (user, password) in &users {
        let login = writers[0].log_in(&name(user), password).await.unwrap();
        assert_eq!(login, accepted_with(&["crowd"]), "{user}");
    }
}

/// One request has changes of roles, new users, a role that does not exist, a hidden user, and a user that does not exist.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_in_a_batch_hurts_nobody_else_and_each_hears_of_its_own() {
    let Some(node) = server::node().await else { return };
    let mut settings = node.settings();
    settings.roles = RoleField::Security;
    // the first write is alone; the others gather behind it
    settings.write_interval = std::time::Duration::from_millis(500);
    let opensearch = Arc::new(OpenSearch::new(settings).unwrap());
    let password = Password::generate().unwrap();
    opensearch.write(&spec("mixed-old", &["reading"]), Some(&password)).await.unwrap();
    let mut cases = vec![
        ("mixed-old".to_owned(), "own_index", false),
        ("mixed-unknown-role".to_owned(), "no-such-role", true),
        ("mixed-reserved-role".to_owned(), "kept", true),
        ("hidden-user".to_owned(), "reading", true),
        ("mixed-missing".to_owned(), "reading", false),
    ];
    cases.extend((0..8).map(|i| (format!("mixed-{i}"), "reading", true)));
    let written = cases.iter().map(|(user, role, new)| {
        let (opensearch, user, password) = (Arc::clone(&opensearch), spec(user, &[role]), password.clone());
        let new = *new;
        tokio::spawn(async move { opensearch.write(&user, new.then_some(&password)).await })
    });
    for (written, (user, ..)) in join_all(written).await.into_iter().zip(&cases) {
        let written = written.unwrap();
        let as_expected = match user.as_str() {
            "mixed-unknown-role" | "mixed-reserved-role" => {
                matches!(&written, Err(WriteError::Refused { refused: Refused::Rejected, detail }) if detail.contains('\''))
            }
            "hidden-user" => matches!(written, Err(WriteError::Refused { refused: Refused::Reserved, .. })),
            "mixed-missing" => matches!(written, Err(WriteError::Missing)),
            _ => written.is_ok(),
        };
        assert!(as_expected, "{user}: {written:?}");
    }
    for (user, role, _) in cases.iter().filter(|(user, ..)| user.starts_with("mixed-")) {
        let there = !["mixed-unknown-role", "mixed-reserved-role", "mixed-missing"].contains(&user.as_str());
        let login = opensearch.log_in(&name(user), &password).await.unwrap();
        assert_eq!(accepted(&login, &[role]), there, "{user}: {login:?}");
    }
}
