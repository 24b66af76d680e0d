//! Several clusters behind one store.

use super::deployment::{Deployment, ask, try_ask};
use crate::credentials::Source;
use crate::credentials::broker::Error;

#[tokio::test(start_paused = true)]
async fn two_clusters_on_one_store_never_share_a_record() {
    let a = Deployment::new();
    a.elastic.become_cluster(Some("a"), 1);
    let b = Deployment { store: a.store.clone(), ..Deployment::new() };
    b.elastic.become_cluster(Some("b"), 2);
    let of_a = ask(&*a.replica().await).await;
    let refused = try_ask(&*b.replica().await).await;
    assert!(matches!(refused, Err(Error::OtherCluster)), "{refused:?}");
    assert_eq!(b.elastic.writes(), 0);
    let again = ask(&*a.replica().await).await;
    assert_eq!(of_a.credential.expose_header(), again.credential.expose_header(), "the record is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_was_rebuilt_at_its_addresses_has_its_users_written_anew() {
    let deployment = Deployment::new();
    deployment.elastic.become_cluster(Some("a"), 1);
    let before = ask(&*deployment.replica().await).await;
    deployment.elastic.become_cluster(Some("b"), 1);
    let after = ask(&*deployment.replica().await).await;
    assert_ne!(before.credential.expose_header(), after.credential.expose_header());
    assert_eq!((deployment.elastic.writes(), deployment.elastic.passwords()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_starts_while_elasticsearch_is_away_serves_what_is_its_own_by_the_addresses() {
    let deployment = Deployment::new();
    deployment.elastic.become_cluster(Some("a"), 1);
    ask(&*deployment.replica().await).await;
    deployment.elastic.become_cluster(None, 1);
    assert_eq!(ask(&*deployment.replica().await).await.source, Source::Store);
    deployment.elastic.become_cluster(None, 2);
    let refused = try_ask(&*deployment.replica().await).await;
    assert!(matches!(refused, Err(Error::OtherCluster)), "{refused:?}");
    // known again, and at other addresses: a cluster that has moved is the same one
    deployment.elastic.become_cluster(Some("a"), 2);
    assert_eq!(ask(&*deployment.replica().await).await.source, Source::Store);
    assert_eq!(deployment.elastic.writes(), 1);
}
