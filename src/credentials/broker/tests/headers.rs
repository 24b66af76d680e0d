//! Callers that bring roles without a time of their own, as those of a login proxy do.

use std::time::Duration;

use tokio::time::advance;

use super::deployment::{Deployment, Replica, ann};
use crate::credentials::{Caller, Obtained, RequestContext};
use crate::identity::AsOf;
use crate::roles::Roles;

async fn ask(replica: &Replica, role: &str) -> Obtained {
    replica.obtain(&Caller::new(ann(AsOf::Now), Roles::new([role])), RequestContext::default).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn changed_groups_hold_from_the_next_request_on() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    ask(&replica, "a").await;
    advance(Duration::from_secs(2)).await;
    ask(&replica, "b").await;
    assert_eq!((deployment.elastic.writes(), deployment.elastic.user().roles), (2, Roles::new(["b"])));
}

#[tokio::test(start_paused = true)]
async fn instances_of_a_login_proxy_that_disagree_cause_one_write_a_second() {
    let deployment = Deployment::new();
    let replicas = [deployment.replica().await, deployment.replica().await];
    let first = ask(&replicas[0], "a").await.credential;
    for n in 0..1000 {
        advance(Duration::from_millis(10)).await;
        let got = ask(&replicas[n % 2], ["a", "b"][n % 2]).await.credential;
        assert_eq!(got.expose_header(), first.expose_header(), "the password stays");
    }
    // ten seconds, and the write that made the user
    let writes = deployment.elastic.writes();
    assert!((10..=11).contains(&writes), "{writes} writes");
}
