//! Lists and ends sessions, for the commands `elastauth sessions` and `elastauth users disable`.

use std::time::{Duration, SystemTime};

use super::session::Session;
use super::session_id::is_session;
use crate::credentials::seal::Seal;
use crate::credentials::{CacheKey, Entry, Keys, StoreError};
use crate::identity::{Owner, Username};

/// How often the end of a session is tried against replicas that write it at the same time.
const TRIES: usize = 8;

/// Which sessions are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of them.
    All,
    /// Those of the Elasticsearch user with this name.
    User(String),
    /// Those of people who logged in at this issuer.
    Issuer(String),
}

/// A session in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name of the Elasticsearch user.
    pub username: Username,
    /// The person.
    pub owner: Owner,
    /// When the person logged in.
    pub began: SystemTime,
    /// How much longer the store keeps the session, if nobody uses it.
    pub remaining: Duration,
    key: CacheKey,
}

impl Selection {
    fn includes(&self, session: &Session) -> bool {
        let identity = &session.identity;
        match self {
            Self::All => true,
            Self::User(name) => identity.username.as_str() == name,
            Self::Issuer(issuer) => *identity.owner.issuer == **issuer,
        }
    }
}

/// The sessions that are selected, by name and time. Those that no configured key opens are left out: they let nobody in. A session
/// that begins meanwhile may be missed.
pub async fn list<S: Keys>(store: &S, seal: &Seal, selection: &Selection) -> Result<Vec<Listed>, StoreError> {
    let mut listed = Vec::new();
    for key in store.all_keys().await?.into_iter().filter(is_session) {
        // ended meanwhile
        let Some(Entry { bytes, remaining }) = store.get(&key).await? else { continue };
        if let Some(session) = open(seal, &key, &bytes).filter(|session| selection.includes(session)) {
            let began = session.began();
            let (username, owner) = (session.identity.username, session.identity.owner);
            listed.push(Listed { username, owner, began, remaining, key });
        }
    }
    listed.sort_by(|a, b| {
        let order = |listed: &Listed| (listed.username.clone(), listed.began, listed.key.as_str().to_owned());
        order(a).cmp(&order(b))
    });
    Ok(listed)
}

/// Ends sessions that were listed, whatever refresh is on its way; answers how many there were to end.
pub async fn end<S: Keys>(store: &S, listed: &[Listed]) -> Result<usize, StoreError> {
    let mut ended = 0;
    for session in listed {
        ended += usize::from(end_one(store, &session.key).await?);
    }
    Ok(ended)
}

async fn end_one<S: Keys>(store: &S, key: &CacheKey) -> Result<bool, StoreError> {
    for _ in 0..TRIES {
        let Some(entry) = store.get(key).await? else { return Ok(false) };
        if store.remove(key, &entry.bytes).await? {
            return Ok(true);
        }
    }
    Err(StoreError::Unavailable("the session changes all the time".into()))
}

fn open(seal: &Seal, key: &CacheKey, bytes: &[u8]) -> Option<Session> {
    Session::decode(&seal.open(key, bytes).ok()?).ok()
}

#[cfg(test)]
mod tests;
