//! Foreign answers: nothing is concluded from any of them, whatever call they answer.

use super::*;
use crate::cluster_client::foreign_answers::{FOREIGN_ANSWERS, ForeignAnswer};
use crate::users::Directory as _;

/// Runs the check with each of the foreign answers, given to every request or to writes alone.
async fn each(writes_alone: bool, check: impl AsyncFn(&OpenSearch, ForeignAnswer)) {
    let now = Arc::new(Mutex::new(FOREIGN_ANSWERS[0]));
    let script = Arc::clone(&now);
    let server = server(move |method, _, _| {
        let (status, _, body) = *script.lock();
        if writes_alone && *method == Method::GET { None } else { answer(status, body) }
    })
    .await;
    // long enough that a loaded machine is not taken for a server that does not answer
    let patient = Duration::from_secs(30);
    let settings = Settings { timeout: patient, write_timeout: patient, ..settings(server.url.clone()) };
    let opensearch = OpenSearch::new(settings).unwrap();
    for foreign in FOREIGN_ANSWERS {
        *now.lock() = *foreign;
        check(&opensearch, *foreign).await;
    }
}

#[tokio::test]
async fn a_look_and_a_login_that_something_else_answers_tell_nothing() {
    each(false, async |opensearch, foreign| {
        let found = opensearch.inspect(&name("ann"), &owner(), &RequestContext::default()).await;
        let explained = matches!(&found, Err(InspectError::Unavailable(why)) if why.contains("in its place"));
        assert!(explained, "{foreign:?}: {found:?}");
        let found = opensearch.log_in(&name("ann"), &Password::generate().unwrap()).await;
        assert!(matches!(found, Err(InspectError::Unavailable(_))), "{foreign:?}: {found:?}");
    })
    .await;
}

#[tokio::test]
async fn a_write_that_something_else_answers_is_neither_applied_nor_refused() {
    each(true, async |opensearch, foreign| {
        let password = Password::generate().unwrap();
        let written = opensearch.write(&spec("ann"), Some(&password)).await;
        assert!(matches!(written, Err(WriteError::Unknown(_))), "{foreign:?}: {written:?}");
    })
    .await;
}

#[tokio::test]
async fn no_command_about_users_ends_well_where_something_else_answers() {
    each(false, async |opensearch, foreign| {
        assert!(opensearch.list().await.is_err(), "{foreign:?}");
        assert!(opensearch.delete(&name("ann")).await.is_err(), "{foreign:?}");
        assert!(opensearch.mark(&name("ann"), None).await.is_err(), "{foreign:?}");
        assert!(opensearch.examine().await.is_err(), "{foreign:?}");
    })
    .await;
}
