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

/// Two may write, and what is told beyond is as fast as they do.
fn deployment() -> Deployment {
    let deployment = Deployment::new();
    deployment.elastic.take(Duration::ZERO, TAKES);
    deployment.elastic.admit(Throughput { writers: 2, most: 2, each: TAKES / 2 });
    deployment
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_come_back_leaves_nothing_behind_and_who_is_known_does_not_notice() {
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
            let told = ask_as(&replica, name, roles).await;
            assert!(matches!(&told, Err(Error::Busy(busy)) if !busy.again.is_zero()), "{name}: {told:?}");
        }
        assert_eq!(deployment.store.changes(), changes + 2, "only those who write have agreed on anything");
        assert_eq!(deployment.elastic.inspections(), looks + 2, "and only about them Elasticsearch was asked");
        assert_eq!(ask_as(&replica, "ann", "a").await.unwrap().source, Source::Near);
    };
    let (written, ()) = tokio::join!(writing, others);
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    for (name, roles) in [("eve", "a"), ("bob", "b")] {
        assert_eq!(ask_as(&replica, name, roles).await.unwrap().source, Source::Provisioned, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_come_back_when_they_were_told_are_served_as_fast_as_writes_go() {
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
    assert!(asked < 3 * 200, "told {asked} times to come back");
}
