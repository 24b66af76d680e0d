//! All issuers that are configured, and which of them judges a token.

use std::future::Future;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::issuer::{Issuer, Validation};
use super::token::{Check, Error};
use super::verification_limit::VerificationLimit;
use super::{KeyError, KeySource, Verified, jws};

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
pub struct Issuers<K>(Vec<Issuer<K>>);

impl<K: KeySource> Issuers<K> {
    /// At most one of them may take opaque tokens, which do not name their issuer, and must not be shown to any other provider.
    pub fn new(issuers: Vec<Issuer<K>>) -> Self {
        Self(issuers)
    }

    /// Checks no more signatures than this at once, of all issuers together: `grpc.max_verifications`.
    #[must_use]
    pub fn verifying_at_once(self, most: usize) -> Self {
        let limit = VerificationLimit::new(most);
        Self(self.0.into_iter().map(|issuer| issuer.limited(limit.clone())).collect())
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
        if let [only] = self.0.as_slice() {
            return Ok(only);
        }
        jws::bounded(token)?;
        if !jws::is_signed(token) {
            let opaque = self.0.iter().find(|issuer| issuer.validation().takes_opaque());
            return opaque.ok_or(Error::Malformed("it is not signed, and no issuer is asked about such tokens"));
        }
        let claims = jws::unverified_claims(token)
            .ok_or(Error::Malformed("its claims are not a JSON object without repeated names"))?;
        match claims.members().get("iss") {
            Some(Value::String(name)) => self.0.iter().find(|issuer| issuer.name() == name).ok_or(Error::Issuer),
            Some(_) => Err(Error::ClaimType("iss".into())),
            None => Err(Error::ClaimMissing("iss".into())),
        }
    }

    /// Whether tokens of at least one issuer can be verified: the others' bearers are refused one by one, and taking the whole
    /// service away would not help them.
    pub async fn ready(&self) -> Result<(), KeyError> {
        let mut outcome = Ok(());
        for ready in futures_util::future::join_all(self.0.iter().map(Issuer::ready)).await {
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
        self.0.iter().filter_map(age).collect()
    }

    /// Drops the providers' answers that count no more.
    pub(crate) fn sweep(&self) {
        self.0.iter().for_each(Issuer::sweep);
    }

    /// Keeps every issuer's keys fresh, for as long as the process lives. To be run as a task.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + 'static + use<K> {
        let watches: Vec<_> = self
            .0
            .iter()
            .filter(|issuer| issuer.validation().needs_keys())
            .map(|issuer| issuer.keyring().watch())
            .collect();
        async move {
            futures_util::future::join_all(watches).await;
        }
    }
}

#[cfg(test)]
mod tests;
