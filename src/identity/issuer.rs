//! One issuer's tokens: by which way each is validated (`oidc.token_validation`).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::KeyError;
use super::answers::{Accepted, Answers, Priority};
use super::claims::Claims;
use super::keyring::{self, Keyring};
use super::logout_token::{self, LogoutNotice};
use super::sign_in::{self, Expected, SignInTokens, SignedIn};
use super::token::{self, Authentic, Error, Signed, Verifier};
use super::verification_limit::VerificationLimit;
use super::{AsOf, KeySource, Question, Verified, jws};

/// How tokens are validated: `oidc.token_validation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// By signature. Opaque tokens are refused.
    Jwks,
    /// By signature where the token is signed, and the userinfo endpoint adds claims that the token lacks; opaque tokens are
    /// asked about there. A signed token that does not verify is never asked about: for a provider, a token for another
    /// audience is as good as any.
    Both,
    /// Every token is asked about at the userinfo endpoint (`OpenID` Connect Core §5.3).
    Userinfo,
    /// Every token is asked about at the introspection endpoint (RFC 7662).
    Introspection,
}

impl Validation {
    /// Whether tokens are verified by signature.
    pub(super) fn needs_keys(self) -> bool {
        match self {
            Self::Jwks | Self::Both => true,
            Self::Userinfo | Self::Introspection => false,
        }
    }

    /// Whether opaque tokens can be validated.
    #[must_use]
    pub fn takes_opaque(self) -> bool {
        match self {
            Self::Jwks => false,
            Self::Both | Self::Userinfo | Self::Introspection => true,
        }
    }
}

/// `oidc.*`, as far as tokens are concerned.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How its tokens are validated.
    pub validation: Validation,
    /// `oidc.introspection_ttl`: how long an answer of the provider is kept. Default 30 s.
    pub introspection_ttl: Duration,
    /// What a token must be.
    pub token: token::Settings,
    /// How long keys are trusted.
    pub keyring: keyring::Settings,
}

/// Turns tokens of one issuer into identities.
pub struct Issuer<K> {
    validation: Validation,
    verifier: Verifier<K>,
    answers: Answers<K>,
}

impl<K: KeySource> Issuer<K> {
    /// An issuer that has asked its provider for nothing yet.
    pub fn new(source: K, settings: Settings) -> Self {
        let keyring = Keyring::new(source, settings.keyring, &settings.token.algorithms);
        let answers = Answers::new(keyring.clone(), settings.introspection_ttl);
        Self { validation: settings.validation, verifier: Verifier::new(keyring, settings.token), answers }
    }

    /// Checks signatures only within this limit.
    pub(super) fn limited(self, limit: VerificationLimit) -> Self {
        Self { verifier: self.verifier.limited(limit), ..self }
    }

    /// `iss` of its tokens.
    pub(super) fn name(&self) -> &str {
        &self.verifier.rules().issuer
    }

    pub(super) fn validation(&self) -> Validation {
        self.validation
    }

    pub(super) fn keyring(&self) -> &Keyring<K> {
        self.verifier.keyring()
    }

    pub(super) fn sweep(&self) {
        self.answers.sweep();
    }

    /// Whether keys are in hand or can be had now, where they are needed.
    pub(super) async fn ready(&self) -> Result<(), KeyError> {
        if self.validation.needs_keys() { self.keyring().ready().await } else { Ok(()) }
    }

    /// The caller that a token stands for. `now` is the wall clock.
    pub async fn verify(&self, token: &str, now: SystemTime) -> Result<Verified, Error> {
        jws::bounded(token)?;
        match self.validation {
            Validation::Jwks => self.verifier.verify(token, now).await,
            Validation::Both if jws::is_signed(token) => self.completed(token, now).await,
            Validation::Both | Validation::Userinfo => self.by_userinfo(token, now).await,
            Validation::Introspection => self.by_introspection(token, now).await,
        }
    }

    /// A signed token, and what it does not say. Only a claim that decides about access is worth a question: what is merely
    /// shown would make every request wait for the provider, and fail with it.
    async fn completed(&self, token: &str, now: SystemTime) -> Result<Verified, Error> {
        let Signed { mut claims, key, times } = self.verifier.signed(token, now).await?;
        let (mut as_of, mut until) = (AsOf::At(times.issued), self.verifier.rules().end(times.expires));
        let mapping = self.verifier.mapping();
        if mapping.deciding().any(|name| claims.find(name).is_none()) {
            // its signature is right: it is not made up
            let ends = Some(times.expires);
            let answer = self.answers.about(Question::Userinfo, token, Priority::Known, ends, now).await?;
            // Core §5.3.2: else it may be about another user
            if answer.claims.subject()? != claims.subject()? {
                return Err(Error::OtherSubject);
            }
            if claims.find(&mapping.groups).is_none() {
                as_of = AsOf::Answered(answer.asked);
            }
            until = until.min(answer.until);
            claims.add(&answer.claims);
        }
        let identity = self.verifier.identity(&claims, as_of, times.expires)?;
        Ok(Verified::by_key(identity, key, until))
    }

    /// The person that a login's tokens stand for. The ID token is verified by its signature, whatever `oidc.token_validation`
    /// says: it is made for this client. Where userinfo is asked about callers' tokens, it adds here, too, what decides and the
    /// ID token lacks.
    pub(super) async fn sign_in(
        &self,
        tokens: SignInTokens<'_>,
        expected: Expected<'_>,
        now: SystemTime,
    ) -> Result<SignedIn, Error> {
        let Authentic { mut claims, algorithm, .. } = self.verifier.authentic(tokens.id_token, jws::Kind::Id).await?;
        let times = self.verifier.rules().check_id_token(&claims, expected.client_id, now)?;
        sign_in::check_binding(&claims, algorithm, tokens, expected)?;
        let sid = claims.text("sid").map(str::to_owned);
        match self.validation {
            Validation::Both | Validation::Userinfo => self.add_userinfo(&mut claims, tokens.access_token, now).await?,
            Validation::Jwks | Validation::Introspection => {}
        }
        let identity = self.verifier.identity(&claims, AsOf::At(times.issued), times.expires)?;
        Ok(SignedIn::new(identity, sid, times.issued, times.expires))
    }

    async fn add_userinfo(&self, claims: &mut Claims, access_token: &str, now: SystemTime) -> Result<(), Error> {
        if self.verifier.mapping().deciding().all(|name| claims.find(name).is_some()) {
            return Ok(());
        }
        // the provider has just made it: it is not made up
        let answer = self.answers.about(Question::Userinfo, access_token, Priority::Known, None, now).await?;
        // Core §5.3.2: else it may be about another user
        if answer.claims.subject()? != claims.subject()? {
            return Err(Error::OtherSubject);
        }
        claims.add(&answer.claims);
        Ok(())
    }

    /// Which sessions a logout token ends; what it says is verified as any other token is. Every error but an outage is
    /// [`Error::LogoutToken`].
    pub(super) async fn logout_token(
        &self,
        client_id: &str,
        token: &str,
        now: SystemTime,
    ) -> Result<LogoutNotice, Error> {
        let authentic = self.verifier.authentic(token, jws::Kind::Logout).await;
        authentic
            .and_then(|Authentic { claims, .. }| logout_token::read(self.verifier.rules(), &claims, client_id, now))
            .map_err(logout_token::of_a_logout_token)
    }

    /// The endpoint does not say for which client a token was made. Where the token itself does, that is believed, since the
    /// provider has just accepted it; an opaque one may have been made for any client of the provider.
    async fn by_userinfo(&self, token: &str, now: SystemTime) -> Result<Verified, Error> {
        let readable = jws::unverified_claims(token).map(Claims::verified);
        let ends = readable.as_ref().and_then(|claims| claims.time("exp").ok()?).map(|(ends, _)| ends);
        let answer = self.answers.about(Question::Userinfo, token, Priority::New, ends, now).await?;
        if let Some(claims) = &readable {
            self.verifier.rules().check_readable(claims, now)?;
        }
        self.answered(&answer)
    }

    async fn by_introspection(&self, token: &str, now: SystemTime) -> Result<Verified, Error> {
        let answer = self.answers.about(Question::Introspection, token, Priority::New, None, now).await?;
        self.verifier.rules().check_introspected(&answer.claims, now)?;
        self.answered(&answer)
    }

    fn answered(&self, answer: &Arc<Accepted>) -> Result<Verified, Error> {
        let identity = self.verifier.identity(&answer.claims, AsOf::Answered(answer.asked), answer.until)?;
        Ok(Verified::by_answer(identity, answer.until))
    }
}

#[cfg(test)]
mod tests;
