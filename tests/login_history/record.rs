//! What happened.

use std::time::Instant;

/// A login that was finished.
#[derive(Clone, Debug)]
pub struct Session {
    /// The person's number.
    pub person: usize,
    /// The provider's name of the login.
    pub sid: String,
    /// When the callback was sent.
    pub began: Instant,
    /// When its cookie arrived.
    pub known: Instant,
    /// Every attempt to end it.
    pub ends: Vec<End>,
}

/// An attempt to end a session.
#[derive(Clone, Debug)]
pub struct End {
    /// When it was sent.
    pub began: Instant,
    /// When it was known to have succeeded.
    pub done: Option<Instant>,
    pub how: &'static str,
}

/// A request with the cookie of a session.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The session's place.
    pub session: usize,
    pub replica: usize,
    pub began: Instant,
    pub ended: Instant,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Let in as this user.
    In(String),
    /// The session has ended, by a 401 or by a redirect to the provider.
    Out,
    /// 503.
    Unavailable,
    /// The replica was killed or hung.
    Lost,
    /// Anything else.
    Odd(String),
}

/// What the nemesis did.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub what: What,
    pub from: Instant,
    pub until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Killed,
    Frozen,
    Flushed,
    /// Connections to Redis were closed.
    RedisClosed,
    /// The provider does not answer, or with errors.
    ProviderDown,
    /// Some answers of the provider are lost or late.
    ProviderLossy,
    /// The machine was busy.
    Busy,
}
