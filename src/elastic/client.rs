//! One request to one of several nodes.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::Settings;
use crate::identity::Username;
use crate::outbound::{self, Error};

/// Everything but the unreserved characters of RFC 3986 §2.3.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A user's answer is a kilobyte; nothing legitimate comes near this.
const MAX_ANSWER: usize = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A node that failed is left alone this long at first, doubling up to the second figure.
const BACK_OFF: Duration = Duration::from_secs(1);
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// The HTTP client and what is known of the nodes.
pub(super) struct Client {
    http: reqwest::Client,
    nodes: Vec<Node>,
    next: AtomicUsize,
    username: String,
    password: SecretString,
}

struct Node {
    base: Url,
    health: Mutex<Health>,
}

#[derive(Clone, Copy, Default)]
struct Health {
    failures: u32,
    rests_until: Option<Instant>,
}

/// An answer, whatever its status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    body: Vec<u8>,
}

/// No answer.
pub(super) struct Lost {
    pub(super) why: String,
    /// Whether the request may have reached a node.
    pub(super) sent: bool,
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let http = outbound::client(settings.ca_file.as_deref(), &settings.hosts)?;
        let http = http.connect_timeout(CONNECT_TIMEOUT).build()?;
        let nodes = settings.hosts.iter().map(|base| Node { base: base.clone(), health: Mutex::default() }).collect();
        let (username, password) = (settings.username.clone(), settings.password.clone());
        Ok(Self { http, nodes, next: AtomicUsize::new(0), username, password })
    }

    /// Tries the nodes in turn until one answers, under one total deadline. A write goes on to the next node only while
    /// it certainly has not been sent.
    pub(super) async fn send(
        &self,
        method: Method,
        user: &Username,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<Answer, Lost> {
        let admin = (self.username.as_str(), self.password.expose_secret());
        self.exchange(admin, limit, body.is_some(), |base| {
            let mut request = self.http.request(method.clone(), user_url(base, user, body.is_some())?);
            if let Some(body) = body {
                request = request.json(body);
            }
            Some(request)
        })
        .await
    }

    /// Asks who this is.
    pub(super) async fn authenticate(&self, user: &str, password: &str, limit: Duration) -> Result<Answer, Lost> {
        self.exchange((user, password), limit, false, |base| {
            let mut url = base.clone();
            url.set_path(&format!("{}/_security/_authenticate", base.path().trim_end_matches('/')));
            Some(self.http.get(url))
        })
        .await
    }

    async fn exchange(
        &self,
        (username, password): (&str, &str),
        limit: Duration,
        write: bool,
        request: impl Fn(&Url) -> Option<RequestBuilder>,
    ) -> Result<Answer, Lost> {
        let ends = Instant::now() + limit;
        let mut last = Lost { why: "no node".into(), sent: false };
        for node in self.in_turn() {
            let Some(request) = request(&node.base) else {
                return Err(Lost { why: "the username does not fit into a URL".into(), sent: false });
            };
            let request = request.basic_auth(username, Some(password));
            match tokio::time::timeout_at(ends, exchange(request)).await {
                Ok(Ok(answer)) if busy(answer.status) && !write => {
                    node.failed();
                    last = Lost { why: answer.describe(), sent: true };
                }
                Ok(Ok(answer)) => {
                    node.answered();
                    return Ok(answer);
                }
                Ok(Err(lost)) => {
                    node.failed();
                    let stop = lost.sent && write;
                    last = lost;
                    if stop {
                        break;
                    }
                }
                Err(_) => {
                    node.failed();
                    return Err(Lost { why: format!("no answer within {limit:?}"), sent: true });
                }
            }
        }
        Err(last)
    }

    /// Round robin over the nodes that are not resting; when all are, the one whose rest ends first.
    fn in_turn(&self) -> Vec<&Node> {
        let (now, start) = (Instant::now(), self.next.fetch_add(1, Ordering::Relaxed));
        let all = (0..self.nodes.len()).filter_map(|i| self.nodes.get((start.wrapping_add(i)) % self.nodes.len()));
        let (awake, mut resting): (Vec<_>, Vec<_>) = all.partition(|node| node.health().rests_until <= Some(now));
        if awake.is_empty() {
            resting.sort_by_key(|node| node.health().rests_until);
            resting.truncate(1);
            return resting;
        }
        awake
    }
}

impl Node {
    fn health(&self) -> Health {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = Health::default();
    }

    fn failed(&self) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = BACK_OFF.saturating_mul(1 << health.failures.min(5)).min(MAX_BACK_OFF);
        health.failures = health.failures.saturating_add(1);
        health.rests_until = Some(Instant::now() + rest);
    }
}

fn busy(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// The URL of a user. `url::Url` normalises `..` away, so the result is compared with what was meant.
fn user_url(base: &Url, user: &Username, write: bool) -> Option<Url> {
    let encoded = utf8_percent_encode(user.as_str(), ENCODED).to_string();
    let path = format!("{}/_security/user/{encoded}", base.path().trim_end_matches('/'));
    let mut url = base.clone();
    url.set_path(&path);
    // a refresh matters to searches only
    url.set_query(write.then_some("refresh=false"));
    (url.path() == path).then_some(url)
}

async fn exchange(request: RequestBuilder) -> Result<Answer, Lost> {
    let response = request.send().await.map_err(|error| {
        let sent = !error.is_connect();
        Lost { why: outbound::chain(error), sent }
    })?;
    let status = response.status();
    let body = outbound::body(response, MAX_ANSWER).await;
    let body = body.map_err(|why| Lost { why: format!("{}, then: {why}", status.as_u16()), sent: true })?;
    Ok(Answer { status, body })
}

impl Answer {
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// `error.reason`, a bare `error` string, or the text; at most 200 characters.
    pub(super) fn reason(&self) -> String {
        let text = match self.json() {
            Some(body) => {
                let error = &body["error"];
                let reason = error["reason"].as_str().or_else(|| error.as_str());
                reason.map_or_else(|| body.to_string(), str::to_owned)
            }
            None => String::from_utf8_lossy(&self.body).into_owned(),
        };
        text.chars().filter(|c| !c.is_control()).take(200).collect()
    }

    pub(super) fn describe(&self) -> String {
        format!("{} {}", self.status.as_u16(), self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_username_is_one_path_segment_whatever_it_holds() {
        let url = |base: &str, user: &str| {
            let url = user_url(&Url::parse(base).unwrap(), &Username::parse(user).unwrap(), false);
            url.map(|url| url.to_string())
        };
        assert_eq!(url("http://h:9200", "a@b+c").unwrap(), "http://h:9200/_security/user/a%40b%2Bc");
        assert_eq!(url("http://h/es/", "j.d-x_1").unwrap(), "http://h/es/_security/user/j.d-x_1");
        assert_eq!(url("http://h", "a..b").unwrap(), "http://h/_security/user/a..b");
    }
}
