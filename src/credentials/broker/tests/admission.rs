//! More users at once than can be written in time.

use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::deployment::{Deployment, Replica, named};
use crate::credentials::broker::Error;
use crate::credentials::{Caller, Obtained, RequestContext, Source, Throughput};
use crate::identity::AsOf;
use crate::roles::Roles;

const TAKES: Duration = Duration::from_millis(100);

async fn ask_as(replica: &Replica, name: &str, roles: &str) -> Result<Obtained, Error> {
    let as_of = AsOf::At(if roles == "a" { 1000 } else { 2000 });
    replica.obtain(&Caller::new(named(name, as_of), Roles::new([roles])), RequestContext::default).await
}

/// Two users may be written at once; further ones are given times that follow from how long a write takes.
fn deployment() -> Deployment {
    let deployment = Deployment::new();
    deployment.elastic.take(Duration::ZERO, TAKES);
    deployment.elastic.limit(Throughput { writers: 2, most: 2, each: TAKES / 2 });
    deployment
}

#[tokio::test(start_paused = true)]
async fn a_user_that_is_to_come_back_leaves_nothing_behind_and_a_known_user_is_served() {
    let deployment = deployment();
    let replica = deployment.replica().await;
    for name in ["ann", "bob"] {
        ask_as(&replica, name, "a").await.unwrap();
        ask_as(&replica, name, "a").await.unwrap();
    }
    let (changes, looks) = (deployment.store.changes(), deployment.elastic.inspections());
    let writing = join_all([ask_as(&replica, "cem", "a"), ask_as(&replica, "dan", "a")]);
    let others = async {
        tokio::time::sleep(TAKES / 2).await;
        for (name, roles) in [("eve", "a"), ("bob", "b")] {
            let answer = ask_as(&replica, name, roles).await;
            assert!(matches!(&answer, Err(Error::Busy(busy)) if !busy.again.is_zero()), "{name}: {answer:?}");
        }
        assert_eq!(deployment.store.changes(), changes + 2, "only the users that are written have records");
        assert_eq!(deployment.elastic.inspections(), looks + 2, "and Elasticsearch was asked about no others");
        assert_eq!(ask_as(&replica, "ann", "a").await.unwrap().source, Source::Near);
    };
    let (written, ()) = tokio::join!(writing, others);
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    for (name, roles) in [("eve", "a"), ("bob", "b")] {
        assert_eq!(ask_as(&replica, name, roles).await.unwrap().source, Source::Provisioned, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn users_that_come_back_at_their_time_are_served_as_fast_as_writes_go() {
    let deployment = deployment();
    let replica = deployment.replica().await;
    let began = Instant::now();
    let asked = Mutex::new(0);
    let patient = |n: usize| {
        let (replica, asked) = (&replica, &asked);
        async move {
            let name = format!("user-{n}");
            while let Err(error) = ask_as(replica, &name, "a").await {
                *asked.lock() += 1;
                let Error::Busy(busy) = error else { panic!("{error}") };
                tokio::time::sleep(busy.again).await;
            }
        }
    };
    join_all((0..200).map(patient)).await;
    let bound = TAKES * 200 / 2;
    assert!(began.elapsed() <= bound.mul_f64(1.2), "{:?}, and writes alone take {bound:?}", began.elapsed());
    let asked = *asked.lock();
    assert!(asked < 3 * 200, "{asked} times an answer was to come back");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_everything_makes_nobody_come_back_whose_password_elasticsearch_keeps() {
    let deployment = deployment();
    deployment.elastic.take(Duration::from_millis(20), TAKES);
    let replica = deployment.replica().await;
    let all = || (0..300).map(|n| format!("user-{n}"));
    for name in all() {
        ask_as(&replica, &name, "a").await.unwrap();
    }
    let writes = deployment.elastic.writes();
    deployment.store.flush();
    // the first of them, new users among them, show the others what has happened
    let names: Vec<_> = ["new-0".to_owned()].into_iter().chain(all()).collect();
    let answers = join_all(names.iter().map(|name| ask_as(&replica, name, "a"))).await;
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
    assert_eq!(deployment.elastic.writes(), writes + 1);
    // new users are refused as ever, and leave nothing behind
    let (changes, writing) = (deployment.store.changes(), ["new-1", "new-2", "new-3"]);
    let answers = join_all(writing.iter().map(|name| ask_as(&replica, name, "a"))).await;
    assert!(matches!(answers[2], Err(Error::Busy(_))), "{:?}", answers[2]);
    assert!(deployment.store.changes() <= changes + 2 * 2 + 2);
}
