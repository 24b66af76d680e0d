//! Browser sessions: people log in at the identity provider, and elastauth keeps who they are on the server, behind one small cookie.
//!
//! ```text
//! Visitor ──▶ Login ─┬─▶ start      attempt, sealed into a cookie          ─▶ 302 to the provider
//!                    ├─▶ callback   Redeemer: code ─▶ ID token ─▶ Identity ─▶ Session
//!                    ├─▶ recall     Sessions: cookie ─▶ near ─▶ Store      ─▶ Caller
//!                    └─▶ logout, logged out by the provider                ─▶ the record is gone
//! ```
//!
//! | file | what it is for |
//! |---|---|
//! | `settings`, `sites` | `login.*`, and what of `oidc.*` the login uses; which host a visitor names |
//! | `token_endpoint` | the seam to the provider: where people log in, and where codes and refresh tokens are redeemed |
//! | `visitor`, `visit`, `cross_site` | a request as the login sees it; whether a person navigates; whether a cookie may count |
//! | `attempt`, `callback`, `return_path`, `recent_logins` | a login that was begun; what the provider answers; where the person wanted to go; loops |
//! | `redeemer` | redeems codes and refresh tokens, and verifies the ID tokens |
//! | `sessions` | the sessions: found, begun, renewed in time, ended |
//! | `session_id`, `session`, `session_store` | the id in the cookie and its digest; a session as replicas share it; how it is stored |
//! | `near_sessions` | this process's cache of sessions |
//! | `refresh`, `refresh_run`, `renew` | one redemption of a refresh token for all replicas: the state machine, its driver, the seam to the provider |
//! | `provider_condition` | whether the provider answers |
//! | `markers` | logouts at the provider |
//! | `cookies`, `pages`, `response` | what browsers get: cookies, pages, JSON |
//! | `step`, `error` | what happened |
//! | `administer` | listing and ending sessions, for commands |

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use url::{Url, form_urlencoded};

use crate::clock::{seconds_rounded_up, wall_clock};
use crate::credentials::seal::Seal;
use crate::credentials::{Caller, Invalidations, Store};
use crate::identity::Identity;
use crate::identity::issuers::Issuers;
use crate::roles::NoRoles;
use attempt::Attempt;
use callback::{Answer, Callback};
use recent_logins::RecentLogins;
use redeemer::Redeemer;
use return_path::ReturnPath;

pub mod administer;
mod attempt;
mod callback;
pub mod cookies;
pub mod cross_site;
mod error;
mod markers;
mod near_sessions;
pub mod pages;
mod provider_condition;
mod recent_logins;
mod redeemer;
pub mod refresh;
mod refresh_run;
mod renew;
pub mod response;
mod return_path;
mod session;
mod session_id;
mod session_store;
pub mod sessions;
pub mod settings;
mod sites;
mod step;
#[cfg(test)]
mod testing;
pub mod token_endpoint;
pub mod visit;
mod visitor;

pub use callback::NoCallback;
pub use error::Error;
pub use markers::{LoggedOut, LogoutNotice};
pub use near_sessions::LiveSession;
pub use renew::{Renew, RenewError, Renewed, SignedIn};
pub use response::Response;
pub use session::{Claim, ClaimId};
pub use session_id::{SessionDigest, SessionId};
pub use sessions::{EndedSession, NewSession, REFRESHES, SessionError, Sessions};
pub use settings::{Settings, Site};
pub use step::Step;
pub use token_endpoint::{Endpoints, Grant, IdentityProvider, RedeemError, TokenEndpoint, Tokens, Unavailable};
pub use visit::Visit;
pub use visitor::Visitor;

/// The session of a person, with the caller that it stands for, or with the refusal where its groups give no role.
pub type Session = LiveSession<Result<Caller, NoRoles>>;

/// Where a request to one of `login.hosts` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// elastauth answers it.
    Own(Page),
    /// To the system behind Envoy, if it may.
    Application,
}

/// What elastauth answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Sends the browser to the provider; afterwards the person is where it wanted to go.
    Start,
    /// `login`: the same, with the place in `return_to`.
    Login,
    /// `callback`: where the provider sends the browser back.
    Callback,
    /// `logout`, or one of `login.logout_paths`.
    Logout,
    /// `logged-out`: the page after a logout.
    Farewell,
    /// `session`: who the session is of, as JSON.
    Session,
    /// `backchannel-logout`: where the provider says that sessions have ended.
    BackChannelLogout,
    /// There is no such page.
    Unknown,
}

/// What metrics show of sessions.
#[derive(Clone, Debug)]
pub struct Vitals {
    /// How many sessions this process has in memory: those that were used here of late.
    pub sessions: usize,
    /// How often attempts to renew the tokens of a session ended so, since the start of the process.
    pub refreshes: [(&'static str, u64); REFRESHES],
}

/// What a refused client is told.
#[derive(Clone, Copy, Debug)]
pub struct Notice {
    /// The HTTP status.
    pub status: u16,
    /// The reason's name, as logs and the documentation have it.
    pub reason: &'static str,
    /// One constant text, which reveals nothing about the request.
    pub text: &'static str,
    /// What a person is told on a page: one constant sentence.
    pub told: &'static str,
    /// `WWW-Authenticate`, where the status is 401.
    pub challenge: Option<&'static str>,
    /// Whether it is a loop of logins that ends here.
    pub is_loop: bool,
    /// For how long to wait, after an outage.
    pub retry_after: Option<Duration>,
}

/// Logs people in, keeps their sessions, and ends them.
pub struct Login<K, S> {
    settings: Settings,
    redeemer: Arc<Redeemer<K>>,
    seal: Seal,
    sessions: Sessions<S, Arc<Redeemer<K>>, Result<Caller, NoRoles>>,
}

/// What the login needs besides its settings.
pub struct Parts<K, S> {
    /// The provider where people log in.
    pub provider: K,
    /// The issuers of tokens, one of which is the provider.
    pub issuers: Arc<Issuers<K>>,
    /// Where sessions are kept.
    pub store: S,
    /// What seals the sessions and the attempts to log in.
    pub seal: Seal,
    /// What the store reports changes to.
    pub invalidations: Arc<Invalidations>,
}

impl<K: IdentityProvider, S: Store> Login<K, S> {
    /// Asks neither the provider nor the store yet. `caller` gives an identity its roles.
    pub fn new(
        settings: Settings,
        parts: Parts<K, S>,
        sessions: sessions::Settings,
        caller: impl Fn(&Identity) -> Result<Caller, NoRoles> + Send + Sync + 'static,
    ) -> Self {
        let Parts { provider, issuers, store, seal, invalidations } = parts;
        let (at, client_id) = (settings.issuer, settings.client_id.clone());
        let redeemer = Arc::new(Redeemer { provider, issuers, at, client_id });
        let sessions = Sessions::new(store, seal.clone(), invalidations, Arc::clone(&redeemer), sessions, caller);
        Self { settings, redeemer, seal, sessions }
    }

    /// The site of this host, if people log in there.
    pub fn site(&self, host: &[u8]) -> Option<&Site> {
        sites::named(&self.settings.hosts, host)
    }

    /// Where a request to one of the sites goes.
    pub fn route(&self, visitor: &Visitor<'_>) -> Route {
        let Some(own) = visitor.path.strip_prefix(self.settings.path.as_bytes()) else { return Route::Application };
        Route::Own(match own {
            b"/login" => Page::Login,
            b"/callback" => Page::Callback,
            b"/logout" => Page::Logout,
            b"/logged-out" => Page::Farewell,
            b"/session" => Page::Session,
            b"/backchannel-logout" => Page::BackChannelLogout,
            b"" | [b'/', ..] => Page::Unknown,
            // another path that begins in the same way
            _ => return Route::Application,
        })
    }

    /// Whether the application's path means a logout.
    pub fn logs_out(&self, visitor: &Visitor<'_>) -> bool {
        self.settings.logout_paths.iter().any(|path| path.as_bytes() == visitor.path)
    }

    /// The session that the cookies of a request name; none where there is no cookie, or one that elastauth does not make.
    pub fn session_cookie(&self, visitor: &Visitor<'_>) -> Result<Option<SessionDigest>, Repeated> {
        match crate::cookies::find(visitor.cookies, cookies::SESSION)[..] {
            [] => Ok(None),
            [value] => Ok(SessionId::parse(value).map(|id| id.digest_at(&visitor.site.host))),
            // one of them may be an attacker's
            [_, _, ..] => Err(Repeated),
        }
    }

    /// The session, if memory has it and it may be served without asking the store. Waits for nothing.
    pub fn recall(&self, digest: &SessionDigest, now: SystemTime) -> Option<Arc<Session>> {
        self.sessions.recall(digest, now)
    }

    /// The session as the store has it; waits for new tokens where its own have ended. None where it has ended.
    pub async fn find(&self, digest: &SessionDigest, now: SystemTime) -> Result<Option<Arc<Session>>, Error> {
        Ok(self.sessions.find(digest, now).await?)
    }

    /// What this process knows of sessions; it asks for nothing.
    pub fn vitals(&self) -> Vitals {
        Vitals { sessions: self.sessions.kept(), refreshes: self.sessions.refreshes().counts() }
    }

    /// Drops what is kept in memory and will not be used any more.
    pub fn sweep(&self) {
        self.sessions.sweep();
    }

    /// Resolves when nothing goes on in the background, for the end of the process.
    pub async fn idle(&self) {
        self.sessions.idle().await;
    }

    /// Answers a request to one of the pages, at this time by the wall clock.
    pub async fn answer(&self, page: Page, visitor: &Visitor<'_>, now: SystemTime) -> Result<(Response, Step), Error> {
        match page {
            Page::Start => self.start(visitor, self.return_path(visitor), now).await,
            Page::Login if visitor.navigates() => self.start(visitor, self.wanted(visitor), now).await,
            // a script cannot follow a redirect to the provider
            Page::Login if visitor.is_get() => Err(Error::NoSession),
            Page::Callback if visitor.method == b"GET" => self.callback(visitor, now).await,
            Page::Logout if visitor.is_get() || visitor.is_post() => self.logout(visitor).await,
            Page::Farewell if visitor.is_get() => Ok((pages::logged_out(&self.settings.path), Step::Farewell)),
            Page::Session if visitor.is_get() => self.show(visitor, now).await,
            Page::BackChannelLogout if visitor.is_post() => self.logged_out(&visitor.visit.body, now).await,
            Page::Login
            | Page::Callback
            | Page::Logout
            | Page::Farewell
            | Page::Session
            | Page::BackChannelLogout
            | Page::Unknown => Err(Error::NoSuchPage),
        }
    }

    /// The place that the person navigates to.
    fn return_path(&self, visitor: &Visitor<'_>) -> ReturnPath {
        let query = &visitor.visit.query;
        let whole = if query.is_empty() { visitor.path.to_vec() } else { [visitor.path, b"?", query].concat() };
        // it would log the person out again
        if self.logs_out(visitor) { ReturnPath::default() } else { ReturnPath::of(&whole, &self.settings.path) }
    }

    /// The place to which the login leads that a callback belongs to.
    fn place_of_attempt(&self, visitor: &Visitor<'_>) -> ReturnPath {
        let callback = Callback::read(&visitor.visit.query).ok();
        let attempt = callback.and_then(|callback| {
            Attempt::find(&self.seal, visitor.site, visitor.cookies, &callback.state, wall_clock())
        });
        attempt.map(|attempt| attempt.return_path().clone()).unwrap_or_default()
    }

    /// The place in the parameter `return_to`.
    fn wanted(&self, visitor: &Visitor<'_>) -> ReturnPath {
        let mut pairs = form_urlencoded::parse(&visitor.visit.query);
        let wanted = pairs.find(|(name, _)| name == "return_to").map(|(_, path)| path.into_owned());
        ReturnPath::of(wanted.unwrap_or_default().as_bytes(), &self.settings.path)
    }

    async fn start(
        &self,
        visitor: &Visitor<'_>,
        return_path: ReturnPath,
        now: SystemTime,
    ) -> Result<(Response, Step), Error> {
        if RecentLogins::of(visitor.cookies, now).are_too_many() {
            return Err(Error::Loop);
        }
        let endpoints = self.endpoints().await?;
        let attempt = Attempt::start(visitor.site, return_path, now).map_err(internal)?;
        let cookies = attempt.cookies(&self.seal, visitor.site, visitor.cookies, now).map_err(internal)?;
        let to = attempt.authorization_url(&endpoints, &self.settings, visitor.site);
        Ok((Response::redirect(302, to.as_str()).with_cookies(cookies), Step::Started))
    }

    async fn endpoints(&self) -> Result<Endpoints, Error> {
        self.redeemer.provider.endpoints().await.map_err(|Unavailable(why)| Error::ProviderUnavailable(why))
    }

    async fn callback(&self, visitor: &Visitor<'_>, now: SystemTime) -> Result<(Response, Step), Error> {
        let callback = Callback::read(&visitor.visit.query)?;
        let attempt = Attempt::find(&self.seal, visitor.site, visitor.cookies, &callback.state, now);
        let Some(attempt) = attempt else { return self.without_attempt(visitor, now).await };
        let endpoints = self.endpoints().await?;
        callback
            .is_of(self.redeemer.issuer(), endpoints.names_itself)
            .map_err(|error| Error::Issuer(error.to_string()))?;
        let code = match callback.answer {
            Answer::Code(code) => code,
            Answer::Error { error, description } => return Err(Error::Provider { error, description }),
        };
        let redirect_uri = attempt::redirect_uri(&self.settings, visitor.site);
        let verifier = self.settings.pkce.then(|| attempt.verifier());
        let (host, nonce) = (&visitor.site.host, attempt.nonce());
        let session = self.redeemer.code(&code, host, &redirect_uri, verifier.as_ref(), &nonce, now).await?;
        let (user, issuer) = (session.identity.username.clone(), session.identity.owner.issuer.clone());
        let id = self.sessions.begin(session).await?;
        if let Ok(Some(former)) = self.session_cookie(visitor) {
            self.end_former(former);
        }
        tracing::info!(user = user.as_str(), issuer = &*issuer, request_id = visitor.request_id, "Logged in");
        let logins = RecentLogins::of(visitor.cookies, now).and(attempt.started(), now);
        let set = [cookies::set(cookies::SESSION, &id.expose()), cookies::end(&attempt.state().cookie())];
        let to = Response::redirect(303, attempt.return_path().as_str());
        Ok((to.with_cookies(set.into_iter().chain(logins)), Step::LoggedIn))
    }

    /// Ends the session that the browser had before. The cookie of the new one replaces its cookie, so that no logout would end it.
    fn end_former(&self, former: SessionDigest) {
        let sessions = self.sessions.clone();
        tokio::spawn(async move {
            tokio::time::sleep(FORMER).await;
            if let Err(error) = sessions.end(&former).await {
                tracing::debug!(%error, "The browser's former session was not ended");
            }
        });
    }

    /// The callback of a login that this browser did not begin, or too long ago. Where it is logged in already, as in another of
    /// many tabs that were opened at once, that is as good.
    async fn without_attempt(&self, visitor: &Visitor<'_>, now: SystemTime) -> Result<(Response, Step), Error> {
        let Ok(Some(digest)) = self.session_cookie(visitor) else { return Err(Error::State) };
        match self.find(&digest, now).await? {
            Some(_session) => Ok((Response::redirect(303, "/"), Step::LoggedInAlready)),
            None => Err(Error::State),
        }
    }

    async fn logout(&self, visitor: &Visitor<'_>) -> Result<(Response, Step), Error> {
        // a page of another site can make the browser come here, too
        let meant = match visitor.method {
            b"POST" => visitor.is_of_this_site(),
            // a page of this site, and not an image on it
            b"GET" => visitor.is_same_origin() && visitor.navigates(),
            _ => false,
        };
        if !meant {
            return Ok((pages::confirm_logout(&self.settings.path), Step::LogoutAsked));
        }
        let mut hint = None;
        for value in crate::cookies::find(visitor.cookies, cookies::SESSION).into_iter().take(MOST_ENDED) {
            let Some(id) = SessionId::parse(value) else { continue };
            if let Some(ended) = self.sessions.end(&id.digest_at(&visitor.site.host)).await? {
                tracing::info!(user = ended.username.as_str(), request_id = visitor.request_id, "Logged out");
                hint = Some(ended.id_token);
            }
        }
        // no script may get the ID token, which counts as a token until its end
        let hint = hint.filter(|_| visitor.navigates() || visitor.sends_form());
        let to = self.after_logout(visitor, hint.as_ref()).await?;
        let by_form = visitor.sends_form() || (visitor.is_post() && matches!(self.route(visitor), Route::Own(_)));
        let (response, step) = if visitor.navigates() {
            (Response::redirect(303, to.as_str()), Step::LoggedOut)
        } else if by_form {
            (pages::logging_out(&to), Step::LoggedOutByForm)
        } else {
            let told = json!({ "logged_out": true, "location": to.as_str() });
            (Response::json(200, &told), Step::LoggedOutByScript)
        };
        Ok((response.with_cookies([cookies::end(cookies::SESSION)]), step))
    }

    /// Where a browser goes after its session has ended: to the provider, so that its session ends too, or where the operator says.
    async fn after_logout(&self, visitor: &Visitor<'_>, id_token: Option<&SecretString>) -> Result<Url, Error> {
        let farewell = || Url::parse(&format!("{}{}/logged-out", visitor.site.origin, self.settings.path));
        let after = self.settings.after_logout.clone().map_or_else(farewell, Ok).map_err(internal)?;
        // the session has ended, whether or not the provider can be found
        let Some(mut url) = self.endpoints().await.ok().and_then(|endpoints| endpoints.end_session) else {
            return Ok(after);
        };
        let mut query = url.query_pairs_mut();
        if let Some(hint) = id_token.filter(|hint| hint.expose_secret().len() <= LONGEST_HINT) {
            query.append_pair("id_token_hint", hint.expose_secret());
        }
        query
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("post_logout_redirect_uri", after.as_str());
        drop(query);
        Ok(url)
    }

    async fn show(&self, visitor: &Visitor<'_>, now: SystemTime) -> Result<(Response, Step), Error> {
        let Ok(Some(digest)) = self.session_cookie(visitor) else { return Err(Error::NoSession) };
        let session = match self.recall(&digest, now) {
            Some(session) => session,
            None => self.find(&digest, now).await?.ok_or(Error::NoSession)?,
        };
        let roles: Vec<_> = session.caller.iter().flat_map(|caller| caller.roles().iter()).collect();
        let ends = humantime::format_rfc3339_seconds(session.ends).to_string();
        let shown = json!({ "user": session.username.as_str(), "full_name": session.full_name, "email": session.email,
                            "issuer": self.redeemer.issuer(), "roles": roles, "ends": ends });
        Ok((Response::json(200, &shown), Step::SessionShown))
    }

    /// A logout that the provider tells of, with the body of its request (`OpenID` Connect Back-Channel Logout 1.0 §2.5).
    pub async fn logged_out(&self, body: &[u8], now: SystemTime) -> Result<(Response, Step), Error> {
        if body.is_empty() {
            return Err(Error::LogoutToken(
                "there is no body: route this path to `listen`, or let Envoy's filter pass bodies on",
            ));
        }
        let mut tokens = form_urlencoded::parse(body).filter(|(name, _)| name == "logout_token");
        let (Some((_, token)), None) = (tokens.next(), tokens.next()) else {
            return Err(Error::LogoutToken("the body is no form with one logout_token"));
        };
        let notice = self.redeemer.logout_notice(&token, now).await?;
        self.sessions.logged_out(&notice).await?;
        tracing::info!(issuer = notice.issuer, "Logged out by the identity provider");
        Ok((Response::new(200), Step::BackChannelLogout))
    }

    /// Refuses in the form that suits the client: a page for a person, JSON for a program. `session` is the one that may not come in.
    pub fn refused(&self, visitor: &Visitor<'_>, notice: &Notice, session: Option<&Session>) -> Response {
        let Notice { status, reason, text, told, challenge, is_loop, retry_after } = *notice;
        let own = matches!(self.route(visitor), Route::Own(_));
        let response = if visitor.navigates() {
            let place = if own { self.place_of_attempt(visitor) } else { self.return_path(visitor) };
            let again = pages::login_at(&self.settings.path, &place);
            let request_id = visitor.request_id;
            match (session, retry_after) {
                (_, Some(after)) => pages::unavailable(reason, request_id, &place, &self.settings.path, after),
                (Some(session), None) => {
                    pages::not_let_in(session.username.as_str(), reason, told, request_id, &self.settings.path)
                }
                (None, None) if is_loop => pages::too_many_logins(reason, request_id, &again),
                (None, None) => pages::login_failed(status, reason, told, request_id, &again),
            }
        } else {
            let response = Response::error(status, reason, text, visitor.request_id);
            retry_after
                .into_iter()
                .fold(response, |response, after| response.with("retry-after", seconds_rounded_up(after)))
        };
        challenge.into_iter().fold(response, |response, challenge| response.with("www-authenticate", challenge))
    }
}

/// The longest ID token that is shown to the provider at a logout: longer addresses are refused on the way. The provider then asks
/// the person.
const LONGEST_HINT: usize = 4096;

/// The most session cookies of one browser that a logout ends.
const MOST_ENDED: usize = 4;

/// How long the browser's former session lets in requests that were on their way when the person logged in anew.
const FORMER: Duration = Duration::from_secs(10);

/// Several cookies of one name.
#[derive(Clone, Copy, Debug)]
pub struct Repeated;

fn internal(error: impl std::fmt::Display) -> Error {
    Error::Internal(error.to_string())
}
