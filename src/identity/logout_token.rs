//! Logout tokens, by which the provider tells that a session with it has ended: `OpenID` Connect Back-Channel Logout 1.0.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::Millis;
use super::claims::Claims;
use super::error::Error;
use super::token::{Rules, is_named_other_than_logout};

/// The member of `events` that makes a token a logout token (§2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Beyond this age, and the leeway, a logout token is refused. Providers send one when a session ends, and its life should be two
/// minutes at most (§4). An older one was kept by somebody: without a limit, it could be shown again for ever, each time at the
/// cost of a write to the store.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Which sessions have ended at the provider. At least one of `sid` and `subject` is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutNotice {
    /// `iss`: the provider.
    pub issuer: Arc<str>,
    /// The session with the provider. Where it is there, only this session has ended.
    pub sid: Option<String>,
    /// The subject; without a `sid`, all of its sessions have ended.
    pub subject: Option<String>,
    /// The token's `iat`: sessions that are younger have not ended.
    pub issued: Millis,
}

/// What a token with the right signature says (§2.6). What is wrong with it is told by any kind of error.
pub(super) fn read(rules: &Rules, claims: &Claims, client_id: &str, now: SystemTime) -> Result<LogoutNotice, Error> {
    let (moment, issued) = rules.check_logout_token(claims, client_id, now)?;
    if now.duration_since(moment).is_ok_and(|age| age > MAX_AGE + rules.leeway) {
        return Err(invalid("it is older than five minutes"));
    }
    let event = claims.get("events").and_then(|events| events.get(EVENT));
    if !event.is_some_and(Value::is_object) {
        return Err(invalid("it has no event of a logout"));
    }
    // §2.4: so that it cannot pass for an ID token, nor an ID token for it
    if claims.get("nonce").is_some() {
        return Err(invalid("it has a nonce, as ID tokens have"));
    }
    if is_named_other_than_logout(claims) {
        return Err(invalid("it says that it is of another kind"));
    }
    let (sid, subject) = (ending(claims, "sid")?, ending(claims, "sub")?);
    if sid.is_none() && subject.is_none() {
        return Err(invalid("it names neither a session nor a subject"));
    }
    Ok(LogoutNotice { issuer: Arc::clone(&rules.issuer), sid, subject, issued })
}

/// A claim that says what has ended. One that cannot be read is never passed over: without its `sid`, a token would end all
/// sessions of the subject.
fn ending(claims: &Claims, name: &str) -> Result<Option<String>, Error> {
    match claims.get(name) {
        None => Ok(None),
        Some(_) => Ok(Some(claims.text(name).ok_or_else(|| Error::ClaimType(name.into()))?.to_owned())),
    }
}

fn invalid(why: &str) -> Error {
    Error::LogoutToken(why.into())
}

/// The same error as one of a logout token. An outage stays one: the provider may send the token again.
pub(super) fn of_a_logout_token(error: Error) -> Error {
    match error {
        Error::LogoutToken(_) => error,
        error if error.is_outage() => error,
        // its own text is about callers' tokens
        Error::Kind => invalid("its header says that it is of another kind"),
        error => Error::LogoutToken(error.to_string().into()),
    }
}

#[cfg(test)]
mod tests;
