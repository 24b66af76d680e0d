//! How often the store and Elasticsearch are asked, and which requests wait for others.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::advance;

use super::deployment::{Deployment, Replica, ann, ask, try_ask};
use crate::credentials::broker::Error;
use crate::credentials::near_cache::Lookup;
use crate::credentials::{Caller, RequestContext, Source};
use crate::identity::AsOf;
use crate::roles::Roles;

#[tokio::test(start_paused = true)]
async fn a_hundred_first_requests_of_one_user_are_one_write() {
    let deployment = Deployment::new();
    deployment.elastic.take(Duration::from_millis(5), Duration::from_millis(80));
    let replica = deployment.replica().await;
    let all = join_all((0..100).map(|_| ask(&replica))).await;
    assert!(all.iter().all(|got| got.credential.expose_header() == all[0].credential.expose_header()));
    assert_eq!((deployment.elastic.writes(), deployment.elastic.inspections()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_first_requests_at_each_of_three_replicas_are_one_write_and_with_faults_three() {
    for (lost, most) in [(0, 1), (1, 2), (2, 3)] {
        let deployment = Deployment::new();
        deployment.elastic.take(Duration::from_millis(5), Duration::from_millis(80));
        deployment.elastic.lose_answers(lost);
        let replicas = [deployment.replica().await, deployment.replica().await, deployment.replica().await];
        let patient = |replica: &Arc<Replica>| {
            let replica = Arc::clone(replica);
            async move {
                loop {
                    match try_ask(&replica).await {
                        Ok(got) => return got,
                        Err(Error::Elasticsearch(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        };
        let all = join_all(replicas.iter().flat_map(|replica| (0..100).map(|_| patient(replica)))).await;
        assert!(all.iter().all(|got| got.credential.expose_header() == all[0].credential.expose_header()));
        assert_eq!(deployment.elastic.writes(), most, "{lost} answers lost");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_miss_is_three_round_trips_a_look_and_a_write_and_what_follows_is_one_and_none() {
    let deployment = Deployment::new();
    let (maker, reader) = (deployment.replica().await, deployment.replica().await);
    for (case, replica, source, trips) in [
        ("a full miss", &maker, Source::Provisioned, 3),
        ("a warm miss", &reader, Source::Store, 1),
        ("a hit of the near cache", &reader, Source::Near, 0),
        ("the maker again: its own write was reported to it too", &maker, Source::Store, 1),
        ("and then from its near cache", &maker, Source::Near, 0),
    ] {
        let before = deployment.store.trips();
        assert_eq!(ask(replica).await.source, source, "{case}");
        assert_eq!(deployment.store.trips() - before, trips, "{case}");
    }
    assert_eq!((deployment.elastic.inspections(), deployment.elastic.writes()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn hits_go_on_while_a_miss_of_the_same_user_hangs() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    ask(&replica).await;
    ask(&replica).await;
    deployment.store.hang();
    let newer = Caller::new(ann(AsOf::At(2000)), Roles::new(["b"]));
    let miss = replica.obtain(&newer, RequestContext::default);
    tokio::pin!(miss);
    assert!(futures_util::poll!(miss.as_mut()).is_pending(), "it waits for the store");
    for _ in 0..1000 {
        let hit = ask(&replica);
        tokio::pin!(hit);
        // at once: not even the scheduler is asked
        let std::task::Poll::Ready(hit) = futures_util::poll!(hit.as_mut()) else { panic!("a hit waits") };
        assert_eq!(hit.source, Source::Near);
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_token_changes_roles_alone_from_its_first_request_on_and_an_older_one_nothing() {
    let deployment = Deployment::new();
    let replicas = [deployment.replica().await, deployment.replica().await];
    let first = ask(&replicas[0]).await.credential;
    let newer = Caller::new(ann(AsOf::At(2000)), Roles::new(["b"]));
    let got = replicas[1].obtain(&newer, RequestContext::default).await.unwrap().credential;
    assert_eq!(got.expose_header(), first.expose_header(), "no new password");
    assert_eq!((deployment.elastic.user().roles, deployment.elastic.passwords()), (Roles::new(["b"]), 1));
    advance(Duration::from_secs(5)).await;
    assert_eq!(
        ask(&replicas[0]).await.credential.expose_header(),
        first.expose_header(),
        "its bearer gets the newest roles"
    );
    assert_eq!((deployment.elastic.user().roles, deployment.elastic.writes()), (Roles::new(["b"]), 2));
}

#[tokio::test(start_paused = true)]
async fn after_the_push_the_very_next_request_goes_by_what_others_did() {
    let deployment = Deployment::new();
    let (a, b) = (deployment.replica().await, deployment.replica().await);
    ask(&a).await;
    ask(&a).await;
    let first = ask(&a).await;
    assert_eq!(first.source, Source::Near);
    // an operator's DEL, and another replica, where Elasticsearch keeps no password
    deployment.elastic.change(|user| user.copy = None);
    deployment.store.delete().await;
    let anew = ask(&b).await.credential;
    assert_ne!(anew.expose_header(), first.credential.expose_header());
    assert_eq!(ask(&a).await.credential.expose_header(), anew.expose_header());
    // an operator's DEL alone
    deployment.store.delete().await;
    assert_eq!(ask(&a).await.source, Source::Provisioned);
}

#[tokio::test(start_paused = true)]
async fn a_second_subject_cannot_take_the_name() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    ask(&replica).await;
    let mut other = ann(AsOf::At(9000));
    other.owner.subject = "another".into();
    let refused = replica.obtain(&Caller::new(other, Roles::new(["a"])), RequestContext::default).await;
    assert!(matches!(refused, Err(Error::OtherOwner)), "{refused:?}");
    assert_eq!(deployment.elastic.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cached_record_shares_what_it_has_in_common_with_its_caller() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    ask(&replica).await;
    let caller = Caller::new(ann(AsOf::At(1000)), Roles::new(["a"]));
    replica.obtain(&caller, RequestContext::default).await.unwrap();
    let Lookup::Fresh(cached) = replica.shared.near_cache.look_up(&caller.key) else { panic!("it is not cached") };
    let (cached, own) = (&cached.current.written.record, caller.identity());
    assert!(
        Arc::ptr_eq(&cached.owner.subject, &own.owner.subject) && Arc::ptr_eq(&cached.owner.issuer, &own.owner.issuer)
    );
    assert!(std::ptr::eq(cached.roles.iter().next().unwrap(), caller.entitlement.roles.iter().next().unwrap()));
}
