use std::sync::Arc;

use super::*;
use crate::credentials::{Belongs, Cluster, Invalidations, Store as _, purge, seal};
use crate::digest::Digest;
use crate::file::{self, FileStore};
use crate::identity::{AsOf, Identity};
use crate::login::{
    LoggedOut, LogoutNotice, NewSession, Renew, RenewError, Renewed, SessionDigest, Sessions, sessions,
};

struct Nobody;

impl Renew for Nobody {
    async fn renew(&self, _: &secrecy::SecretString, _: &Owner) -> Result<Renewed, RenewError> {
        Err(RenewError::NotSent("no provider".into()))
    }
}

fn seal() -> Seal {
    let key = seal::Key::Given(Box::new([1; 32]).into());
    Seal::new(&seal::Settings { key, previous: Vec::new(), cluster: "c".into() }).unwrap()
}

fn sessions(store: &Arc<FileStore>) -> Sessions<Arc<FileStore>, Nobody, ()> {
    let hour = Duration::from_secs(3600);
    let settings = sessions::Settings {
        lifetime: 12 * hour,
        idle_timeout: hour,
        max_stale: hour,
        renewal_timeout: Duration::from_secs(3),
        store_timeout: Duration::from_secs(10),
        near_max_entries: 100,
        store_max_stale: hour,
    };
    Sessions::new(Arc::clone(store), seal(), Arc::new(Invalidations::default()), Nobody, settings, |_: &Identity| ())
}

async fn log_in(sessions: &Sessions<Arc<FileStore>, Nobody, ()>, name: &str, issuer: &str) -> SessionDigest {
    let identity = Identity {
        username: Username::parse(name).unwrap(),
        owner: Owner { issuer: issuer.into(), subject: format!("subject of {name}").into() },
        email: None,
        full_name: None,
        groups: Vec::new(),
        claims: Vec::new(),
        as_of: AsOf::Now,
        expires: SystemTime::UNIX_EPOCH,
    };
    let new = NewSession {
        host: String::new(),
        identity,
        sid: None,
        signed_in: 1,
        id_token: "t".to_owned().into(),
        refresh_token: None,
        lifetime: Duration::from_secs(3600),
    };
    sessions.begin(new).await.unwrap().digest()
}

fn names(listed: &[Listed]) -> Vec<&str> {
    listed.iter().map(|session| session.username.as_str()).collect()
}

#[tokio::test]
async fn sessions_are_listed_and_ended_by_user_by_issuer_or_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FileStore::open(&file::Settings { path: folder.path().into() }).unwrap());
    let (sessions, seal) = (sessions(&store), seal());
    let mut digests = Vec::new();
    for (name, issuer) in [("bob", "https://a"), ("ann", "https://a"), ("ann", "https://b"), ("cid", "https://b")] {
        digests.push(log_in(&sessions, name, issuer).await);
    }
    // what is no session, and a session of another key
    let user = CacheKey::of(&Username::parse("ann").unwrap());
    store.put_if_absent(&user, &seal.seal(&user, b"x").unwrap(), Duration::from_secs(60)).await.unwrap();
    let foreign = CacheKey::of_digest("session", &[7; 32]);
    store.put_if_absent(&foreign, b"left by another key", Duration::from_secs(60)).await.unwrap();
    let notice = LogoutNotice { issuer: "https://a".into(), of: LoggedOut::Session("x".into()), issued: 1 };
    sessions.logged_out(&notice).await.unwrap();

    let all = list(&*store, &seal, &Selection::All).await.unwrap();
    assert_eq!(names(&all), ["ann", "ann", "bob", "cid"]);
    let hour = Duration::from_secs(3600);
    assert!(all.iter().all(|session| session.remaining > hour && session.remaining < hour + hour / 10));
    assert!(all.iter().all(|session| session.began.elapsed().unwrap() < hour));
    for (selection, expected) in [
        (Selection::User("ann".into()), &["ann", "ann"][..]),
        (Selection::User("an".into()), &[]),
        (Selection::Issuer("https://b".into()), &["ann", "cid"]),
        (Selection::Issuer("https://b/".into()), &[]),
    ] {
        assert_eq!(names(&list(&*store, &seal, &selection).await.unwrap()), expected, "{selection:?}");
    }
    let anns = list(&*store, &seal, &Selection::User("ann".into())).await.unwrap();
    assert_eq!(end(&*store, &anns).await.unwrap(), 2);
    assert_eq!(end(&*store, &anns).await.unwrap(), 0, "once");
    assert_eq!(names(&list(&*store, &seal, &Selection::All).await.unwrap()), ["bob", "cid"]);
    assert!(sessions.find(&digests[1], SystemTime::now()).await.unwrap().is_none());
    assert!(sessions.find(&digests[0], SystemTime::now()).await.unwrap().is_some());
    assert!(store.get(&user).await.unwrap().is_some(), "and nothing else");
}

/// They open with the seal, and have no cluster.
#[tokio::test]
async fn a_purge_leaves_sessions_and_markers_of_logouts_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FileStore::open(&file::Settings { path: folder.path().into() }).unwrap());
    let sessions = sessions(&store);
    log_in(&sessions, "ann", "https://a").await;
    let notice = LogoutNotice { issuer: "https://a".into(), of: LoggedOut::Session("x".into()), issued: 1 };
    sessions.logged_out(&notice).await.unwrap();
    let elsewhere = Cluster { uuid: Some("another".into()), hosts: Some(Digest(9)) };
    assert_eq!(elsewhere.relation(&Cluster { uuid: Some("u".into()), hosts: Some(Digest(1)) }), Belongs::Elsewhere);
    for only in [None, Some(&elsewhere)] {
        let found = purge::find(&*store, &seal(), only).await.unwrap();
        assert_eq!((found.sound, found.unreadable.len()), (2, 0));
    }
}
