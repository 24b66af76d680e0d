//! A person with a browser and several tabs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use elastauth_support::process::PATIENCE;
use elastauth_support::random::Random;
use elastauth_support::web::{Browser, SESSION, WebReply, WebRequest, parameter};
use futures_util::future::join_all;

use crate::record::{Asked, Outcome, Session};
use crate::world::{HOST, REPLICAS, World};

/// Longer than any deadline of elastauth's: what takes longer was held up by a replica that is frozen.
const HELD_UP: Duration = Duration::from_secs(8);

pub struct Person {
    pub random: Random,
    world: Arc<World>,
    number: usize,
    browser: Browser,
    /// The place of the session whose cookie the browser has.
    session: Option<usize>,
    /// The cookies of sessions that were ended.
    former: Vec<(usize, String)>,
}

impl Person {
    pub fn new(world: Arc<World>, number: usize, random: Random) -> Self {
        let browser = Browser::with(world.http.clone(), HOST, &format!("person-{number}"));
        Self { random, world, number, browser, session: None, former: Vec::new() }
    }

    /// Does one thing.
    pub async fn step(&mut self) {
        match self.random.below(100) {
            0..=3 if self.session.is_some() => self.log_out().await,
            4..=6 if self.session.is_some() => self.logged_out_by_provider().await,
            7..=14 if !self.former.is_empty() => self.haunt().await,
            15..=74 if self.session.is_some() => {
                let count = if self.random.chance(40) { 2 + self.random.below(5) } else { 1 };
                let method = if self.random.chance(20) { "POST" } else { "GET" };
                self.scripts(method, count).await;
            }
            _ => self.go().await,
        }
    }

    /// Scripts of several tabs ask at once, at any replica.
    async fn scripts(&mut self, method: &'static str, count: usize) {
        let Some(session) = self.session else { return };
        let replicas: Vec<_> = (0..count).map(|_| self.random.below(REPLICAS)).collect();
        let asks = replicas.into_iter().map(|replica| {
            let request = self.browser.own(WebRequest::script(method, HOST, "/api/of/the/application"));
            ask(&self.world, session, replica, request)
        });
        let outcomes = join_all(asks).await;
        if outcomes.contains(&Outcome::Out) {
            self.is_out(session);
        }
    }

    /// Goes to a page, and through the login where that is asked for.
    async fn go(&mut self) {
        // sometimes two tabs are opened at once
        let tabs = if self.random.chance(20) { 2 } else { 1 };
        let mut redirects = Vec::new();
        for _ in 0..tabs {
            let replica = self.random.below(REPLICAS);
            let request = self.browser.own(WebRequest::navigation(HOST, "/app"));
            let reply = match self.session {
                Some(session) => {
                    let (outcome, reply) = ask_for_reply(&self.world, session, replica, request).await;
                    if outcome == Outcome::Out {
                        self.is_out(session);
                    }
                    reply
                }
                None => send(&self.world, replica, request).await,
            };
            if let Some(reply) = reply
                && reply.status == 302
            {
                self.browser.take(&reply);
                redirects.push(reply);
            }
        }
        for redirect in redirects {
            self.log_in(&redirect).await;
        }
    }

    /// Goes on at the provider, and comes back.
    async fn log_in(&mut self, redirect: &WebReply) {
        let Some(callback) = self.browser.try_at_provider(redirect).await else { return };
        let code = parameter(&format!("https://{HOST}{callback}"), "code").unwrap();
        let sid = self.world.provider.sid(&code).unwrap();
        let began = Instant::now();
        // the login ends the session that the browser has meanwhile
        let former = self.session.map(|former| (former, self.world.ending(former, "another login")));
        let request = self.browser.own(Browser::returning(HOST, &callback));
        let Some(reply) = send(&self.world, self.random.below(REPLICAS), request).await else { return };
        match reply.status {
            303 => {
                self.browser.take(&reply);
                // logins are more frequent here than those that are taken for a loop
                self.browser.forget("__Host-elastauth-logins");
                if let Some((former, end)) = former {
                    // without Redis it is not ended; it is not asked for any more either
                    self.world.sessions.lock().unwrap()[former].ends[end].how = "maybe another login";
                }
                let (known, ends) = (Instant::now(), Vec::new());
                let session = Session { person: self.number, sid, began, known, ends };
                let mut sessions = self.world.sessions.lock().unwrap();
                sessions.push(session);
                self.session = Some(sessions.len() - 1);
            }
            503 => {}
            status => {
                let why = format!("person {}: a login ended with {status}: {}", self.number, reply.body);
                self.world.failed_logins.lock().unwrap().push(why);
            }
        }
    }

    async fn log_out(&mut self) {
        let Some(session) = self.session else { return };
        let end = self.world.ending(session, "logout");
        let replica = self.random.below(REPLICAS);
        let request = self.browser.own(WebRequest::script("POST", HOST, "/.elastauth/logout"));
        if let Some(reply) = send(&self.world, replica, request).await
            && reply.status == 200
        {
            self.world.ended(session, end);
            self.is_out(session);
        }
    }

    async fn logged_out_by_provider(&mut self) {
        let Some(session) = self.session else { return };
        let mut claims = self.world.provider.logout_claims();
        let by_subject = self.random.chance(30);
        if by_subject {
            claims["sub"] = format!("id-of-{}", self.browser.user).into();
        } else {
            claims["sid"] = self.world.sessions.lock().unwrap()[session].sid.as_str().into();
        }
        let body = format!("logout_token={}", self.world.provider.sign_logout(&claims));
        let how = if by_subject { "logout of the subject" } else { "logout at the provider" };
        let end = self.world.ending(session, how);
        let request = WebRequest::new("POST", HOST, "/.elastauth/backchannel-logout").form(&body);
        if let Some(reply) = send(&self.world, self.random.below(REPLICAS), request).await
            && reply.status == 200
        {
            self.world.ended(session, end);
            // the browser knows nothing of it, and keeps the cookie until it is told
            self.former.extend(self.browser.cookie(SESSION).map(|cookie| (session, cookie)));
        }
    }

    /// Asks with the cookie of a session that was ended.
    async fn haunt(&mut self) {
        let (session, cookie) = self.random.pick(&self.former).clone();
        let request = WebRequest::script("GET", HOST, "/app").with("cookie", &format!("{SESSION}={cookie}"));
        ask(&self.world, session, self.random.below(REPLICAS), request).await;
    }

    /// The browser knows that the session has ended.
    fn is_out(&mut self, session: usize) {
        if self.session == Some(session) {
            self.former.extend(self.browser.cookie(SESSION).map(|cookie| (session, cookie)));
            self.browser.forget(SESSION);
            self.session = None;
        }
    }

    /// Goes to a page when nothing fails any more: the person is in, after one redirect at most. Answers what is wrong.
    pub async fn last_word(&mut self) -> Option<String> {
        let ends = Instant::now() + PATIENCE;
        let mut said = String::new();
        let mut logins = 0;
        while Instant::now() < ends {
            let request = self.browser.own(WebRequest::navigation(HOST, "/app"));
            let Some(reply) = send(&self.world, self.random.below(REPLICAS), request).await else { continue };
            match reply.status {
                200 if reply.user.as_deref() == Some(&*self.browser.user) && logins <= 1 => return None,
                200 => return Some(format!("person {}: in as {:?} after {logins} logins", self.number, reply.user)),
                302 => {
                    self.browser.take(&reply);
                    self.session = None;
                    self.log_in(&reply).await;
                    logins += usize::from(self.session.is_some());
                }
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
            said = format!("{reply:?}");
        }
        Some(format!("person {}: not back after {logins} logins: {said}", self.number))
    }
}

async fn send(world: &World, replica: usize, request: WebRequest) -> Option<WebReply> {
    let reply = world.checker(replica).check(request.encode());
    let reply = tokio::time::timeout(HELD_UP, reply).await.ok()?.ok()?;
    Some(WebReply::read(&reply))
}

async fn ask(world: &World, session: usize, replica: usize, request: WebRequest) -> Outcome {
    ask_for_reply(world, session, replica, request).await.0
}

/// Sends a request with the cookie of a session, and notes what came of it.
async fn ask_for_reply(
    world: &World,
    session: usize,
    replica: usize,
    request: WebRequest,
) -> (Outcome, Option<WebReply>) {
    let began = Instant::now();
    let reply = send(world, replica, request).await;
    let outcome = match &reply {
        None => Outcome::Lost,
        Some(WebReply { user: Some(user), .. }) => Outcome::In(user.clone()),
        Some(reply) if matches!(reply.status, 302 | 401) => Outcome::Out,
        Some(reply) if reply.status == 503 => Outcome::Unavailable,
        Some(reply) => Outcome::Odd(format!("{} {}", reply.status, reply.body)),
    };
    let asked = Asked { session, replica, began, ended: Instant::now(), outcome: outcome.clone() };
    world.asked.lock().unwrap().push(asked);
    (outcome, reply)
}
