//! Decides requests to hosts where people log in with a browser: by a token if there is one, else by the session that their cookie
//! names.

use std::time::SystemTime;

use super::open::OpenVisit;
use super::{Authorizer, Because, Decision, Open, Reason, Refusal, Request, Respond};
use crate::credentials::broker::Miss;
use crate::credentials::{Provisioner, Store};
use crate::login::{self, IdentityProvider, Login, Notice, Page, Response, Route, Session, Visitor};

impl<K: IdentityProvider, S: Store, P: Provisioner> Authorizer<K, S, P> {
    /// The request as the login sees it, where it is to one of the login's hosts.
    pub(super) fn visitor<'a>(&'a self, request: &'a Request) -> Option<(&'a Login<K, S>, Visitor<'a>)> {
        let login = self.login.as_ref()?;
        let site = login.site(request.host.as_bytes())?;
        let visitor = Visitor {
            site,
            method: request.method.as_bytes(),
            path: request.path.as_bytes(),
            visit: &request.visit,
            cookies: &request.attributes.cookies,
            request_id: request.request_id.as_str(),
        };
        Some((login, visitor))
    }

    /// Decides from memory alone.
    pub(super) fn begin_visit(
        &self,
        login: &Login<K, S>,
        visitor: &Visitor<'_>,
        request: &Request,
    ) -> Result<Decision, Open> {
        if let Route::Own(page) = login.route(visitor) {
            return Err(Open::Visit(OpenVisit::Page(page)));
        }
        match self.recall(request) {
            Ok(Ok(obtained)) => return Ok(Decision::Allow(obtained)),
            Ok(Err(open)) => return Err(open),
            // no token: the session decides
            Err(Refusal::NoCredentials) => {}
            Err(refusal) => return Ok(Decision::Deny(refusal)),
        }
        let digest = match login.session_cookie(visitor) {
            Ok(Some(digest)) => digest,
            Ok(None) => {
                let page = |page| Open::Visit(OpenVisit::Page(page));
                return without_session(login, visitor, Refusal::NoCredentials).map_err(page);
            }
            Err(_repeated) => return Ok(refuse(login, visitor, Refusal::SeveralCredentials, None)),
        };
        if !visitor.is_of_this_site() {
            return Ok(refuse(login, visitor, Refusal::CrossSite, None));
        }
        if login.logs_out(visitor) {
            return Err(Open::Visit(OpenVisit::Page(Page::Logout)));
        }
        match login.recall(&digest, SystemTime::now()) {
            None => Err(Open::Visit(OpenVisit::Unknown(digest))),
            Some(session) => {
                let admitted = self.admit(login, visitor, &session, request);
                admitted.map_err(|miss| Open::Visit(OpenVisit::Known(session, miss)))
            }
        }
    }

    pub(super) async fn finish_visit(&self, open: OpenVisit, request: &Request) -> Decision {
        let Some((login, visitor)) = self.visitor(request) else { return Decision::Deny(Refusal::NoCredentials) };
        match open {
            OpenVisit::Page(page) => self.page(login, &visitor, page).await,
            OpenVisit::Known(session, miss) => self.credential(login, &visitor, request, &session, miss).await,
            OpenVisit::Unknown(digest) => match login.find(&digest, SystemTime::now()).await {
                Ok(Some(session)) => match self.admit(login, &visitor, &session, request) {
                    Ok(decision) => decision,
                    Err(miss) => self.credential(login, &visitor, request, &session, miss).await,
                },
                Ok(None) => match without_session(login, &visitor, Refusal::SessionEnded) {
                    Ok(decision) => decision,
                    Err(page) => self.page(login, &visitor, page).await,
                },
                Err(error) => refuse(login, &visitor, Refusal::Login(error), None),
            },
        }
    }

    /// Answers a provider that says that sessions have ended, where it does not come through Envoy's check. None where
    /// `login.enabled` is off.
    pub async fn back_channel_logout(&self, body: &[u8]) -> Option<Respond> {
        let ended = self.login.as_ref()?.logged_out(body, SystemTime::now()).await;
        Some(match ended {
            Ok((response, step)) => Respond { response, because: Because::Login(step) },
            Err(error) => {
                let refusal = Refusal::Login(error);
                let verdict = refusal.verdict();
                // the provider may try again where elastauth, or what it needs, is at fault (§2.8)
                let response = Response::error(verdict.http, verdict.reason, verdict.text, "");
                Respond { response, because: Because::Refused(refusal) }
            }
        })
    }

    async fn page(&self, login: &Login<K, S>, visitor: &Visitor<'_>, page: Page) -> Decision {
        match login.answer(page, visitor, SystemTime::now()).await {
            Ok((response, step)) => respond(response, Because::Login(step)),
            Err(error) => {
                let mut decision = refuse(login, visitor, Refusal::Login(error), None);
                if let (Page::Logout, Decision::Respond(respond)) = (page, &mut decision) {
                    // the person is logged out in this browser, although the session may still be there
                    let cookie = login::cookies::end(login::cookies::SESSION);
                    respond.response.headers.push(("set-cookie", cookie));
                }
                decision
            }
        }
    }

    async fn credential(
        &self,
        login: &Login<K, S>,
        visitor: &Visitor<'_>,
        request: &Request,
        session: &Session,
        miss: Miss,
    ) -> Decision {
        // a session without roles has no credential to miss
        let Ok(caller) = &session.caller else { return Decision::Deny(Refusal::NoCredentials) };
        match self.obtain_after(miss, caller, request).await {
            Ok(obtained) => Decision::Allow(obtained),
            Err(refusal) => refuse(login, visitor, refusal, Some(session)),
        }
    }

    /// Lets the session's caller in with the credential that memory has, or refuses it by the rules; else what is left to do.
    fn admit(
        &self,
        login: &Login<K, S>,
        visitor: &Visitor<'_>,
        session: &Session,
        request: &Request,
    ) -> Result<Decision, Miss> {
        let granted = match &session.caller {
            Ok(caller) => self.grant(caller, request),
            Err(none) => Err(none.clone().into()),
        };
        match granted {
            Ok(recalled) => recalled.map(Decision::Allow),
            Err(refusal) => Ok(refuse(login, visitor, refusal, Some(session))),
        }
    }
}

/// A request without a session: a person who navigates is sent to the provider, anything else is refused.
fn without_session<K: IdentityProvider, S: Store>(
    login: &Login<K, S>,
    visitor: &Visitor<'_>,
    refusal: Refusal,
) -> Result<Decision, Page> {
    if visitor.navigates() { Err(Page::Start) } else { Ok(refuse(login, visitor, refusal, None)) }
}

/// Refuses in the form that suits the client: a page for a person, JSON for a program.
fn refuse<K: IdentityProvider, S: Store>(
    login: &Login<K, S>,
    visitor: &Visitor<'_>,
    refusal: Refusal,
    session: Option<&Session>,
) -> Decision {
    let verdict = refusal.verdict();
    let notice = Notice {
        status: verdict.http,
        reason: verdict.reason,
        text: verdict.text,
        told: told(refusal.reason()),
        challenge: refusal.challenge(),
        is_loop: matches!(refusal, Refusal::Login(login::Error::Loop)),
        retry_after: refusal.is_outage().then(|| refusal.retry_after()),
    };
    let response = login.refused(visitor, &notice, session);
    respond(response, Because::Refused(refusal))
}

/// What a person is told, as far as it helps: one constant sentence, without anything of the request.
fn told(reason: Reason) -> &'static str {
    match reason {
        Reason::RolesNone => "None of your groups gives you a role in Elasticsearch.",
        Reason::PolicyDenied => "The rules of this site do not let you in here.",
        Reason::UserDisabled => "Your user is disabled in Elasticsearch.",
        Reason::UsernameTaken | Reason::UserOfAnotherSubject => "Your user name belongs to another account.",
        Reason::UserNotManaged => "There is a user of your name already, which this login may not use.",
        Reason::UsernameRefused | Reason::UsernameReserved => "Elasticsearch can have no user of your name.",
        Reason::TokenClaimValue | Reason::EmailUnverified => {
            "Your account at the identity provider is not allowed in here."
        }
        Reason::LoginStateUnknown => "This browser did not begin the login, or more than ten minutes ago.",
        Reason::LoginRefused => "Your identity provider refused the login.",
        Reason::LoginCodeRefused => "Your identity provider did not accept the end of the login.",
        Reason::LoginPathUnknown => "There is no such page.",
        Reason::CrossSite => "The request came from a page of another site.",
        _ => "You cannot be let in.",
    }
}

fn respond(response: Response, because: Because) -> Decision {
    Decision::Respond(Box::new(Respond { response, because }))
}
