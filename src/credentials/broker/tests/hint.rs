//! A reported 401 lets the next request try the password, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{advance, sleep};

use super::deployment::{Deployment, Replica, ann, ask};
use crate::credentials::broker::limits::BETWEEN_HINTS;
use crate::credentials::{CacheKey, Password, Source};
use crate::identity::AsOf;

const SECOND: Duration = Duration::from_secs(1);

fn hint(replica: &Replica) {
    replica.hint(&CacheKey::of(&ann(AsOf::Now).username));
}

/// Lets what was begun in the background end.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// Asks once, and once more when what that began has ended.
async fn use_it(replica: &Replica) {
    ask(replica).await;
    settle().await;
    ask(replica).await;
    settle().await;
}

/// Two replicas and a record that was confirmed a minute ago.
async fn confirmed() -> (Deployment, Arc<Replica>, Arc<Replica>) {
    let mut deployment = Deployment::new();
    deployment.settings.expiration = 10 * 3600 * SECOND;
    let (first, second) = (deployment.replica().await, deployment.replica().await);
    use_it(&first).await;
    advance(91 * SECOND).await;
    use_it(&first).await;
    use_it(&second).await;
    assert_eq!((deployment.elastic.logins(), deployment.elastic.writes()), (1, 1));
    advance(60 * SECOND).await;
    (deployment, first, second)
}

#[tokio::test(start_paused = true)]
async fn after_a_reported_401_a_changed_password_is_repaired_at_whichever_replica_the_next_request_reaches() {
    for hinted in [0, 1] {
        let (deployment, first, second) = confirmed().await;
        let agreed = deployment.elastic.user().password;
        deployment.elastic.change_password(Password::generate().unwrap());
        use_it(&second).await;
        assert_ne!(deployment.elastic.user().password, agreed, "nobody has noticed");
        hint([&first, &second][hinted]);
        settle().await;
        use_it(&second).await;
        assert_eq!(deployment.elastic.user().password, agreed);
        assert_eq!((deployment.elastic.logins(), deployment.elastic.writes()), (2, 2), "one login and one repair");
    }
}

#[tokio::test(start_paused = true)]
async fn any_number_of_401s_with_the_right_password_are_one_login_a_minute_and_no_write() {
    let (deployment, first, _) = confirmed().await;
    for minute in 1..=5 {
        for _ in 0..100 {
            hint(&first);
            settle().await;
            use_it(&first).await;
        }
        assert_eq!((deployment.elastic.logins(), deployment.elastic.writes()), (1 + minute, 1));
        advance(BETWEEN_HINTS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_only_just_written_is_left_to_the_end_of_its_settling_time() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    use_it(&replica).await;
    let changes = deployment.store.changes();
    hint(&replica);
    settle().await;
    use_it(&replica).await;
    assert_eq!((deployment.elastic.logins(), deployment.store.changes()), (0, changes));
}

#[tokio::test(start_paused = true)]
async fn a_401_keeps_the_life_of_the_record_and_one_of_an_unknown_user_or_without_the_store_does_nothing() {
    let (deployment, first, _) = confirmed().await;
    let remaining = deployment.store.remaining().await;
    hint(&first);
    settle().await;
    assert!(deployment.store.remaining().await <= remaining);
    assert!(deployment.store.remaining().await + SECOND > remaining);
    use_it(&first).await;

    advance(BETWEEN_HINTS).await;
    deployment.store.die();
    hint(&first);
    settle().await;
    assert_eq!(ask(&first).await.source, Source::Stale);
    deployment.store.revive();

    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    hint(&replica);
    settle().await;
    assert_eq!((deployment.store.changes(), deployment.elastic.logins()), (0, 0));
}
