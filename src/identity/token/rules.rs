//! What claims must say for a token to count here and now.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::Error;
use crate::identity::Millis;
use crate::identity::claims::Claims;

/// What one issuer's tokens must say.
#[derive(Clone, Debug)]
pub(in crate::identity) struct Rules {
    pub(in crate::identity) issuer: Arc<str>,
    pub(in crate::identity) audiences: Vec<String>,
    pub(in crate::identity) authorized_parties: Vec<String>,
    pub(in crate::identity) leeway: Duration,
}

/// When a token was made and when it ends.
#[derive(Clone, Copy, Debug)]
pub(in crate::identity) struct Times {
    pub(in crate::identity) issued: Millis,
    pub(in crate::identity) expires: SystemTime,
}

impl Rules {
    /// Everything about a signed token.
    pub(in crate::identity) fn check(&self, claims: &Claims, now: SystemTime) -> Result<Times, Error> {
        self.required_issuer(claims)?;
        kind(claims)?;
        self.audience(claims)?;
        self.times(claims, now)
    }

    /// Everything about the ID token of a login at this client (`OpenID` Connect Core §3.1.3.7) but `nonce` and `at_hash`. The
    /// configured audiences are those of tokens that callers bring; an ID token is for the client that people log in at, and for
    /// no other.
    pub(in crate::identity) fn check_id_token(
        &self,
        claims: &Claims,
        client_id: &str,
        now: SystemTime,
    ) -> Result<Times, Error> {
        self.required_issuer(claims)?;
        kind(claims)?;
        let others = Self::other_audiences(claims, client_id)?;
        match claims.get("azp") {
            None if !others => {}
            Some(Value::String(party)) if party == client_id => {}
            // with several audiences it must be there; and another one's is of a login at another client
            _ => return Err(Error::AuthorizedParty),
        }
        self.times(claims, now)
    }

    /// What a logout token has in common with an ID token (`OpenID` Connect Back-Channel Logout 1.0 §2.6): issuer, audience and
    /// times. Returns its `iat`.
    pub(in crate::identity) fn check_logout_token(
        &self,
        claims: &Claims,
        client_id: &str,
        now: SystemTime,
    ) -> Result<(SystemTime, Millis), Error> {
        self.required_issuer(claims)?;
        Self::other_audiences(claims, client_id)?;
        // providers that follow an early draft send no `exp`
        self.optional_times(claims, now)?;
        self.issued(claims, now)
    }

    /// Whether the audiences hold others than the client, which must be among them.
    fn other_audiences(claims: &Claims, client_id: &str) -> Result<bool, Error> {
        let audiences = claims.strings("aud")?.ok_or_else(|| Error::ClaimMissing("aud".into()))?;
        if !audiences.contains(&client_id) {
            return Err(Error::Audience);
        }
        Ok(audiences.iter().any(|audience| *audience != client_id))
    }

    /// A token that the provider accepted, and that can be read: what it says of itself must not be against it.
    pub(in crate::identity) fn check_readable(&self, claims: &Claims, now: SystemTime) -> Result<(), Error> {
        self.optional_issuer(claims)?;
        kind(claims)?;
        if claims.get("aud").is_some() {
            self.audience(claims)?;
        }
        self.optional_times(claims, now)
    }

    /// An answer of RFC 7662 §2.2 about an active token. `aud` is optional there; without it, the token must have been made for
    /// our own client.
    pub(in crate::identity) fn check_introspected(&self, claims: &Claims, now: SystemTime) -> Result<(), Error> {
        self.optional_issuer(claims)?;
        kind(claims)?;
        if claims.get("aud").is_some() {
            self.audience(claims)?;
        } else if !self
            .audiences
            .iter()
            .chain(&self.authorized_parties)
            .any(|ours| claims.string("client_id") == Ok(ours))
        {
            return Err(Error::Audience);
        }
        self.optional_times(claims, now)
    }

    fn required_issuer(&self, claims: &Claims) -> Result<(), Error> {
        if claims.string("iss")? == &*self.issuer { Ok(()) } else { Err(Error::Issuer) }
    }

    fn optional_issuer(&self, claims: &Claims) -> Result<(), Error> {
        if claims.get("iss").is_some() && claims.string("iss")? != &*self.issuer { Err(Error::Issuer) } else { Ok(()) }
    }

    fn optional_times(&self, claims: &Claims, now: SystemTime) -> Result<(), Error> {
        // a token is not accepted *on* or after its `exp`
        if claims.time("exp")?.is_some_and(|(expires, _)| now >= self.end(expires)) {
            return Err(Error::Expired);
        }
        if claims.time("nbf")?.is_some_and(|(begins, _)| self.ahead(begins, now)) {
            return Err(Error::NotYetValid);
        }
        Ok(())
    }

    /// `aud` holds one of ours. Where it holds others as well, any of them could have passed the token on, so the party that
    /// asked for it must be one of ours too (`OpenID` Connect Core §3.1.3.7).
    pub(in crate::identity) fn audience(&self, claims: &Claims) -> Result<(), Error> {
        let audiences = claims.strings("aud")?.ok_or_else(|| Error::ClaimMissing("aud".into()))?;
        if !audiences.iter().any(|audience| self.audiences.iter().any(|ours| ours == audience)) {
            return Err(Error::Audience);
        }
        let parties = match self.authorized_parties.as_slice() {
            [] if audiences.iter().all(|audience| self.audiences.iter().any(|ours| ours == audience)) => return Ok(()),
            [] => &self.audiences,
            configured => configured,
        };
        // the name in access tokens of RFC 9068 §2.2 and in answers of RFC 7662 §2.2
        let party = if claims.get("azp").is_some() { "azp" } else { "client_id" };
        match claims.string(party) {
            Ok(party) if parties.iter().any(|ours| ours == party) => Ok(()),
            _ => Err(Error::AuthorizedParty),
        }
    }

    /// RFC 7519 §4.1.4 to §4.1.6. They are checked here and not by jsonwebtoken, which reads the clock itself.
    fn times(&self, claims: &Claims, now: SystemTime) -> Result<Times, Error> {
        let (expires, _) = required(claims, "exp")?;
        required(claims, "iat")?;
        self.optional_times(claims, now)?;
        let (_, issued) = self.issued(claims, now)?;
        Ok(Times { issued, expires })
    }

    fn issued(&self, claims: &Claims, now: SystemTime) -> Result<(SystemTime, Millis), Error> {
        let issued = required(claims, "iat")?;
        if self.ahead(issued.0, now) { Err(Error::IssuedInFuture) } else { Ok(issued) }
    }

    fn ahead(&self, moment: SystemTime, now: SystemTime) -> bool {
        moment.duration_since(now).is_ok_and(|ahead| ahead > self.leeway)
    }

    /// Until when something with this `exp` counts.
    pub(in crate::identity) fn end(&self, expires: SystemTime) -> SystemTime {
        expires.checked_add(self.leeway).unwrap_or(expires)
    }
}

fn required(claims: &Claims, name: &str) -> Result<(SystemTime, Millis), Error> {
    claims.time(name)?.ok_or_else(|| Error::ClaimMissing(name.into()))
}

/// The claims by which providers tell what kind of token it is: Keycloak (`typ`), Amazon Cognito and Ory Hydra (`token_use`),
/// `OpenIddict` (`token_usage`), `ForgeRock` (`tokenName`), and others in answers of RFC 7662 §2.2 (`token_type`).
const NAMES_OF_THE_KIND: [&str; 5] = ["typ", "token_use", "token_usage", "tokenName", "token_type"];

/// Whether this names a token that only its client may use, at the provider. The words for access and ID tokens are too many for
/// a list (`Bearer`, `access`, `ID`, `urn:…`); a refresh token is named by one of few: `Refresh`, `refresh_token`,
/// `urn:ietf:params:oauth:token-type:refresh_token` (RFC 8693 §3), `Offline`.
fn is_other_kind(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["refresh", "offline", "logout"].iter().any(|other| name.contains(other))
}

/// Whether a claim says that this is a token of another kind than a logout token, as Keycloak's `"typ": "ID"` does.
pub(in crate::identity) fn is_named_other_than_logout(claims: &Claims) -> bool {
    let names = NAMES_OF_THE_KIND.iter().filter_map(|name| claims.get(name)?.as_str());
    names.map(str::to_ascii_lowercase).any(|name| !name.contains("logout"))
}

/// An access or ID token that is good for its bearer. The header's `typ` has been looked at; older providers only tell by the
/// claims.
pub(in crate::identity) fn kind(claims: &Claims) -> Result<(), Error> {
    // security event and logout tokens: RFC 8417 §2.2, OpenID Connect Back-Channel Logout §2.4
    if claims.get("events").is_some() {
        return Err(Error::Kind);
    }
    if NAMES_OF_THE_KIND.iter().any(|name| claims.get(name).and_then(Value::as_str).is_some_and(is_other_kind)) {
        return Err(Error::Kind);
    }
    // made for the holder of a key (RFC 7800 §3.1, RFC 8705 §3, RFC 9449 §6): without a proof, it may be stolen
    if claims.get("cnf").is_some() {
        return Err(Error::Bound);
    }
    Ok(())
}
