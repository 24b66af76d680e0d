//! Decides whether a request is let through, and with which credential: [`Request`] → [`Decision`].
//!
//! - `authz.rs` puts the stages together: token or headers → identity → roles → rules → credential;
//! - [`bearer`] finds the token in a request, [`policy`] has the operator's rules, `rules` those and the mapping of groups to roles;
//! - `request` is a request as decisions need it, `open` what is left to do for one that memory does not answer;
//! - `visits` decides requests to hosts where people log in with a browser, by [`crate::login`];
//! - `refusal` has the ways in which one request fails, `reason` the table of their names, answers and cures.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::credentials::broker::{Broker, Miss};
use crate::credentials::{CacheKey, Caller, Obtained, Provisioner, RequestContext, Store, StoreError};
use crate::identity::attributes::{AttributeSelection, Header, RequestAttributes};
use crate::identity::issuers::Issuers;
use crate::identity::token_cache::{self, TokenCache, TokenDigest};
use crate::identity::{Username, Validity, Verified, headers};
use crate::login::{self, IdentityProvider, Login};
use crate::{spans, sweep};
use bearer::{Found, Sources};

pub mod bearer;
mod open;
pub mod policy;
mod reason;
mod refusal;
mod request;
mod rules;
#[cfg(test)]
pub(crate) mod testing;
mod visits;

pub use open::Open;
pub use reason::{Reason, Verdict};
pub use refusal::Refusal;
pub use request::{Request, Text};
pub use rules::Rules;

/// The answer to one request.
#[derive(Debug)]
pub enum Decision {
    /// The request is let through with this credential.
    Allow(Obtained),
    /// A CORS preflight request: let through without any credential.
    Preflight,
    /// The request is refused.
    Deny(Refusal),
    /// elastauth answers the request itself, as a step of the login or with a page that says why it is refused.
    Respond(Box<Respond>),
}

/// An answer of elastauth's own, on a host where people log in.
#[derive(Debug)]
pub struct Respond {
    /// What the client gets.
    pub response: login::Response,
    /// What it is for.
    pub because: Because,
}

/// Why elastauth answers a request itself.
#[derive(Debug)]
pub enum Because {
    /// The request is refused, and the client is told so in a form that suits it.
    Refused(Refusal),
    /// The request is a step of a login or of its end.
    Login(login::Step),
}

/// What names the caller: `auth_provider`.
#[expect(clippy::large_enum_variant, reason = "there is one in the process")]
pub enum Callers<K> {
    /// `oidc`: a token that the caller sends.
    Tokens(Arc<Issuers<K>>, Sources),
    /// `authelia`: headers or metadata of a login proxy in front of Envoy, or of a filter in it.
    Headers(headers::Reader),
}

/// Decides requests: all stages of a decision with what they keep between requests.
pub struct Authorizer<K: IdentityProvider, S, P> {
    callers: Callers<K>,
    /// The callers of verified tokens, and the tokens that were refused.
    tokens: TokenCache<Caller>,
    rules: Arc<Rules>,
    broker: Broker<S, P>,
    /// None where `login.enabled` is off.
    login: Option<Login<K, S>>,
    /// One permit for each request that needs more than memory: a crowd of new callers must not lock out known ones.
    slots: Semaphore,
    max_in_flight: usize,
}

impl<K: IdentityProvider, S: Store, P: Provisioner> Authorizer<K, S, P> {
    /// Puts the stages together. At most `max_tokens` verified tokens are kept, and a tenth as many refused ones. At most
    /// `max_in_flight` requests at once may need more than memory.
    pub fn new(
        callers: Callers<K>,
        max_tokens: usize,
        rules: Arc<Rules>,
        broker: Broker<S, P>,
        login: Option<Login<K, S>>,
        max_in_flight: usize,
    ) -> Self {
        let (tokens, slots) = (TokenCache::new(max_tokens), Semaphore::new(max_in_flight));
        Self { callers, tokens, rules, broker, login, slots, max_in_flight }
    }

    /// The attributes that are to be read of each request.
    #[must_use]
    pub fn selection(&self) -> AttributeSelection {
        let callers = match &self.callers {
            Callers::Tokens(_, sources) => sources.selection(),
            Callers::Headers(reader) => reader.wanted(),
        };
        let visit = callers.visit || self.login.is_some();
        AttributeSelection { cookies: callers.cookies || visit, visit, ..callers }
    }

    /// Decides from memory alone, without waiting. Most requests end here; [`Self::finish`] decides the others.
    pub fn begin(&self, request: &Request) -> Result<Decision, Open> {
        if request.preflight && self.rules.policy.passes_preflight() {
            return Ok(Decision::Preflight);
        }
        if let Some((login, visitor)) = self.visitor(request) {
            return self.begin_visit(login, &visitor, request);
        }
        match self.recall(request) {
            Ok(Ok(obtained)) => Ok(Decision::Allow(obtained)),
            Ok(Err(open)) => Err(open),
            Err(refusal) => Ok(Decision::Deny(refusal)),
        }
    }

    /// Decides a request that memory does not answer, or refuses it where `max_in_flight` others are being decided. May be
    /// cancelled at any time.
    pub async fn finish(&self, open: Open, request: &Request) -> Decision {
        let Ok(_slot) = self.slots.try_acquire() else { return Decision::Deny(Refusal::Overload) };
        match open {
            Open::Visit(open) => self.finish_visit(open, request).await,
            open => self.obtain(open, request).await.map_or_else(Decision::Deny, Decision::Allow),
        }
    }

    /// How many requests are being decided at this moment that need more than memory.
    pub fn in_flight(&self) -> usize {
        self.max_in_flight.saturating_sub(self.slots.available_permits())
    }

    /// Whether [`Self::finish`] needs more of the request than the log shows.
    pub fn needs_whole_requests(&self) -> bool {
        self.rules.policy.has_rules() || self.login.is_some()
    }

    /// The credential that memory has for a request, or what remains to be done for it.
    fn recall(&self, request: &Request) -> Result<Result<Obtained, Open>, Refusal> {
        let (attributes, now) = (&request.attributes, SystemTime::now());
        match &self.callers {
            Callers::Tokens(_, sources) => {
                let found = sources.token(attributes).map_err(|refusal| self.or_own_credential(refusal, attributes))?;
                let Found { token, by_cookie } = found;
                let (method, host) = (request.method.as_bytes(), request.host.as_bytes());
                if by_cookie && !login::cross_site::allowed_at(method, host, &request.visit) {
                    return Err(Refusal::CrossSite);
                }
                let name = TokenDigest::of(&token);
                match self.tokens.lookup(&name, now) {
                    token_cache::Lookup::Verified(caller) => {
                        Ok(self.grant(&caller.1, request)?.map_err(|miss| Open::Known(caller, miss)))
                    }
                    token_cache::Lookup::Refused(error) => Err(Refusal::Token(error)),
                    token_cache::Lookup::Unknown => {
                        Ok(Err(Open::New { name, token: SecretString::from(&*token), now }))
                    }
                }
            }
            Callers::Headers(reader) => {
                let caller = self.rules.caller(reader.identify(attributes, now).map_err(Refusal::Headers)?)?;
                Ok(self.grant(&caller, request)?.map_err(|miss| Open::Named(Box::new(caller), miss)))
            }
        }
    }

    async fn obtain(&self, open: Open, request: &Request) -> Result<Obtained, Refusal> {
        let verified;
        let named;
        let (caller, miss) = match open {
            // a visitor has no token, and has its own way
            Open::Visit(_) => return Err(Refusal::NoCredentials),
            Open::Named(caller, miss) => {
                named = caller;
                (&*named, miss)
            }
            Open::Known(caller, miss) => {
                verified = caller;
                (&verified.1, miss)
            }
            Open::New { name, token, now } => {
                verified = self.verify(name, token.expose_secret(), now).await?;
                match self.grant(&verified.1, request)? {
                    Ok(obtained) => return Ok(obtained),
                    Err(miss) => (&verified.1, miss),
                }
            }
        };
        self.obtain_after(miss, caller, request).await
    }

    async fn obtain_after(&self, miss: Miss, caller: &Caller, request: &Request) -> Result<Obtained, Refusal> {
        let context = || RequestContext::new(request.request_id.as_str(), request.traceparent.as_str());
        self.broker.obtain_after(miss, caller, context).await.map_err(Refusal::Credentials)
    }

    /// The credential, or a miss of the near cache, if the policy lets the caller through.
    fn grant(&self, caller: &Caller, request: &Request) -> Result<Result<Obtained, Miss>, Refusal> {
        if let Some(rule) = self.rules.policy.judge(caller.identity(), request).map_err(Refusal::Policy)? {
            tracing::debug!(user = caller.identity().username.as_str(), %rule, "Policy allows");
        }
        Ok(self.broker.recall(caller))
    }

    /// The caller that this token names; the token is not in the cache of tokens yet.
    async fn verify(
        &self,
        name: TokenDigest,
        token: &str,
        now: SystemTime,
    ) -> Result<Arc<(Validity, Caller)>, Refusal> {
        let Callers::Tokens(issuers, _) = &self.callers else { return Err(Refusal::NoCredentials) };
        let span = spans::span!("verify token", elastauth.reason = Empty, error.type = Empty, otel.status_code = Empty);
        let verified = issuers.verify(token, now).instrument(span.clone()).await;
        let Verified { identity, validity } = verified.map_err(|error| {
            self.tokens.insert_refusal(name, &error);
            let refusal = Refusal::Token(error);
            let reason = refusal.verdict().reason;
            span.record("elastauth.reason", reason);
            if refusal.is_outage() {
                spans::failed(&span, reason);
            }
            refusal
        })?;
        Ok(self.tokens.insert(name, validity, self.rules.caller(identity)?))
    }

    /// Removes expired entries from the caches of this process, from time to time, for as long as the process lives. To be run
    /// as a task.
    pub async fn sweep(self: Arc<Self>) {
        sweep::every_pause(move || {
            self.tokens.sweep(SystemTime::now());
            if let Callers::Tokens(issuers, _) = &self.callers {
                issuers.sweep();
            }
            if let Some(login) = &self.login {
                login.sweep();
            }
            self.broker.sweep();
        })
        .await;
    }

    /// Resolves when nothing goes on in the background without a request, for the end of the process.
    pub async fn idle(&self) {
        tokio::join!(self.broker.idle(), async {
            if let Some(login) = &self.login {
                login.idle().await;
            }
        });
    }

    /// Recognises a credential that elastauth injected: it comes back when Envoy follows a redirect itself and asks again with
    /// the changed request.
    fn or_own_credential(&self, refusal: Refusal, attributes: &RequestAttributes) -> Refusal {
        let ours = |value: &[u8]| std::str::from_utf8(value).is_ok_and(|basic| self.broker.issued(basic));
        match (&refusal, &attributes.authorization) {
            (Refusal::NoBearer, Header::One(value)) if ours(value) => Refusal::OwnCredential,
            _ => refusal,
        }
    }

    /// Notes that a request with the credential of this user was answered 401 by the system behind Envoy: the password is tried
    /// at the user's next request, at most once a minute. It does not wait, and changes nothing by itself.
    pub fn rejected(&self, username: &Username) {
        self.broker.hint(&CacheKey::of(username));
    }

    /// What `/ready` reports: the store answers and takes writes, and keys are known or can be fetched.
    pub async fn readiness(&self) -> Readiness {
        let keys = async {
            match &self.callers {
                Callers::Tokens(issuers, _) => issuers.ready().await,
                Callers::Headers(_) => Ok(()),
            }
        };
        let (cache, keys) = tokio::join!(self.broker.reachable(), keys);
        let (cache, writes) = match cache {
            Err(StoreError::WriteRefused(why)) => (Ok(()), Err(why)),
            other => (other.map_err(|error| error.to_string()), Ok(())),
        };
        let elasticsearch = self.broker.condition();
        Readiness { cache, writes, keys: keys.map_err(|error| error.to_string()), elasticsearch }
    }

    /// What this process knows at this moment about the parts that requests need; it sends no request.
    pub fn vitals(&self) -> Vitals {
        let keys = match &self.callers {
            Callers::Tokens(issuers, _) => issuers.key_ages(),
            Callers::Headers(_) => Vec::new(),
        };
        let login = self.login.as_ref().map(Login::vitals);
        Vitals { cache: self.broker.store_answers(), elasticsearch: self.broker.condition().is_ok(), keys, login }
    }
}

/// Whether requests can be served.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// Whether the store answers.
    pub cache: Result<(), String>,
    /// Whether the store takes writes too. While it refuses them, users with a record are served, and no other replica does
    /// better: a replica with such a store is degraded, and ready.
    pub writes: Result<(), String>,
    /// Whether the keys that verify tokens are known or can be fetched.
    pub keys: Result<(), String>,
    /// What the last check in the background found. While Elasticsearch is down, cached users are served all the same, and no
    /// other replica does better: a replica without it is degraded, and ready.
    pub elasticsearch: Result<(), String>,
}

/// The states that metrics show beside counts and durations.
#[derive(Debug, Clone)]
pub struct Vitals {
    /// Whether the store is used: not while it does not answer.
    pub cache: bool,
    /// Whether the last check of Elasticsearch in the background found no fault.
    pub elasticsearch: bool,
    /// Each issuer, and the age of its key set.
    pub keys: Vec<(String, Duration)>,
    /// Sessions, where people log in with a browser.
    pub login: Option<login::Vitals>,
}
