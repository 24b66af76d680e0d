//! All issuers that are configured, and which of them judges a token.

use std::future::Future;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::issuer::{Issuer, Validation};
use super::token::{Check, Error};
use super::verification_limit::VerificationLimit;
use super::{Expected, KeyError, KeySource, LogoutNotice, SignInTokens, SignedIn, Verified, jws};

/// What came of a token, and how far it got.
#[derive(Debug)]
pub struct Explained {
    /// The issuer that judged it; none where no issuer takes such tokens.
    pub issuer: Option<String>,
    /// The checks that it certainly passed.
    pub passed: Vec<Check>,
    /// The identity, or why there is none.
    pub outcome: Result<Verified, Error>,
}

/// The issuers, each with keys, rules and answers of its own: what ails one does not touch the others' tokens.
pub struct Issuers<K> {
    all: Vec<Issuer<K>>,
    /// The place of the one at which people log in: its keys are needed, however callers' tokens are validated.
    login: Option<usize>,
}

impl<K: KeySource> Issuers<K> {
    /// At most one of them may take opaque tokens, which do not name their issuer, and must not be shown to any other provider.
    pub fn new(issuers: Vec<Issuer<K>>) -> Self {
        Self { all: issuers, login: None }
    }

    /// People log in at the issuer in this place of the list: its keys are kept fresh for [`Self::sign_in`] and
    /// [`Self::logout_token`].
    #[must_use]
    pub fn with_login_at(self, at: usize) -> Self {
        Self { login: Some(at), ..self }
    }

    /// Checks no more signatures than this at once, of all issuers together: `grpc.max_verifications`.
    #[must_use]
    pub fn verifying_at_once(self, most: usize) -> Self {
        let limit = VerificationLimit::new(most);
        Self { all: self.all.into_iter().map(|issuer| issuer.limited(limit.clone())).collect(), ..self }
    }

    /// The caller that a token stands for. `now` is the wall clock.
    pub async fn verify(&self, token: &str, now: SystemTime) -> Result<Verified, Error> {
        self.of(token)?.verify(token, now).await
    }

    /// The same, with what a person wants to know.
    pub async fn explain(&self, token: &str, now: SystemTime) -> Explained {
        let issuer = match self.of(token) {
            Ok(issuer) => issuer,
            Err(error) => return Explained { issuer: None, passed: Vec::new(), outcome: Err(error) },
        };
        let outcome = issuer.verify(token, now).await;
        let by_signature = match issuer.validation() {
            Validation::Jwks => true,
            Validation::Both => jws::is_signed(token),
            Validation::Userinfo | Validation::Introspection => false,
        };
        let ended = outcome.as_ref().map(|_| ());
        let mut passed = if by_signature { Check::passed_by_signed(ended) } else { Check::passed_by_asked(ended) };
        // an opaque token that userinfo is asked about says nothing of itself, and neither does the answer
        if !by_signature && issuer.validation() != Validation::Introspection && jws::unverified_claims(token).is_none()
        {
            passed.retain(|check| !check.needs_claims());
        }
        Explained { issuer: Some(issuer.name().to_owned()), passed, outcome }
    }

    /// The issuer to judge a token. What the token says of itself only selects: every check is that issuer's own.
    fn of(&self, token: &str) -> Result<&Issuer<K>, Error> {
        if let [only] = self.all.as_slice() {
            return Ok(only);
        }
        jws::bounded(token)?;
        if !jws::is_signed(token) {
            let opaque = self.all.iter().find(|issuer| issuer.validation().takes_opaque());
            return opaque.ok_or(Error::Malformed("it is not signed, and no issuer is asked about such tokens"));
        }
        let claims = jws::unverified_claims(token)
            .ok_or(Error::Malformed("its claims are not a JSON object without repeated names"))?;
        match claims.members().get("iss") {
            Some(Value::String(name)) => self.all.iter().find(|issuer| issuer.name() == name).ok_or(Error::Issuer),
            Some(_) => Err(Error::ClaimType("iss".into())),
            None => Err(Error::ClaimMissing("iss".into())),
        }
    }

    /// The issuer in this place of the list, by `iss`; none where the list is shorter.
    pub fn name_at(&self, at: usize) -> Option<&str> {
        self.all.get(at).map(Issuer::name)
    }

    /// The person that has logged in at the issuer in this place of the list. Its ID token is verified as every other token is,
    /// but for this client alone. `now` is the wall clock.
    pub async fn sign_in(
        &self,
        at: usize,
        tokens: SignInTokens<'_>,
        expected: Expected<'_>,
        now: SystemTime,
    ) -> Result<SignedIn, Error> {
        self.all.get(at).ok_or(Error::Issuer)?.sign_in(tokens, expected, now).await
    }

    /// Which sessions have ended at the issuer in this place of the list, by a logout token for this client. Every error but an
    /// outage is [`Error::LogoutToken`]. `now` is the wall clock.
    pub async fn logout_token(
        &self,
        at: usize,
        client_id: &str,
        token: &str,
        now: SystemTime,
    ) -> Result<LogoutNotice, Error> {
        self.all.get(at).ok_or(Error::Issuer)?.logout_token(client_id, token, now).await
    }

    /// Whether tokens of at least one issuer can be verified: the others' bearers are refused one by one, and taking the whole
    /// service away would not help them.
    pub async fn ready(&self) -> Result<(), KeyError> {
        let mut outcome = Ok(());
        for ready in futures_util::future::join_all(self.all.iter().map(Issuer::ready)).await {
            match ready {
                Ok(()) => return Ok(()),
                failure => outcome = failure,
            }
        }
        outcome
    }

    /// How old each issuer's key set is, as far as there is one.
    pub fn key_ages(&self) -> Vec<(String, Duration)> {
        let age = |issuer: &Issuer<K>| Some((issuer.name().to_owned(), issuer.keyring().age()?));
        self.all.iter().filter_map(age).collect()
    }

    /// Drops the providers' answers that count no more.
    pub(crate) fn sweep(&self) {
        self.all.iter().for_each(Issuer::sweep);
    }

    /// Keeps the keys of every issuer that needs them fresh, for as long as the process lives. To be run as a task.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + 'static + use<K> {
        let watches: Vec<_> = self
            .all
            .iter()
            .enumerate()
            .filter(|(at, issuer)| issuer.validation().needs_keys() || self.login == Some(*at))
            .map(|(_, issuer)| issuer.keyring().watch())
            .collect();
        async move {
            futures_util::future::join_all(watches).await;
        }
    }
}

#[cfg(test)]
mod tests;
